//! A connection at work: what the hub sends comes in, what the application sends goes out.

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::topic;
use ferrohub_mqtt::client::Event;
use ferrohub_mqtt::{Publish, QoS};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::calls::Done;
use super::connect::{Connected, send_error};
use super::link::Link;
use super::{Driver, Ending, Mode};
use crate::feature::Feature;
use crate::method::{MethodRequest, MethodResponse, Reply, Taker};

/// Acknowledgements that SUBSCRIBE and UNSUBSCRIBE may need while answers wait for theirs.
pub(super) const RESERVED_IDS: usize = 4;

impl Driver {
    /// Serves until the connection is lost or not wanted any more; over all renewals.
    pub(super) async fn serve(&mut self, connected: &mut Connected) -> Ending {
        loop {
            let outcome = match connected.renewal {
                Some((begin, latest)) => self.renew(connected, begin, latest).await,
                None => self.pump(&mut connected.link, pending()).await,
            };
            if let Err(ending) = outcome {
                return ending;
            }
        }
    }

    /// Serves until `goal` is reached.
    pub(super) async fn pump<T>(
        &mut self,
        link: &mut Link,
        goal: impl Future<Output = T>,
    ) -> Result<T, Ending> {
        let mut goal = pin!(goal);
        loop {
            if let Some(reached) = self.step(link, goal.as_mut()).await? {
                return Ok(reached);
            }
        }
    }

    /// Serves until there is nothing to wait for, and no call came for the time `quiet`; false if that is not before
    /// `deadline`.
    pub(super) async fn pump_until_idle(
        &mut self,
        link: &mut Link,
        quiet: Duration,
        deadline: Instant,
    ) -> Result<bool, Ending> {
        let (mut since, mut calls) = (Instant::now(), self.calls.count());
        loop {
            let idle = self.is_idle(link);
            if !idle || calls != self.calls.count() {
                (since, calls) = (Instant::now(), self.calls.count());
            }
            let wake = if idle { deadline.min(since + quiet) } else { deadline };
            if self.step(link, pin!(sleep_until(wake))).await?.is_some() {
                return Ok(idle);
            }
        }
    }

    /// One thing at a time: the goal, what the hub did, an answer, or the application's wish to end.
    async fn step<T>(
        &mut self,
        link: &mut Link,
        goal: Pin<&mut impl Future<Output = T>>,
    ) -> Result<Option<T>, Ending> {
        self.send(link);
        let room = link.machine.in_flight() + RESERVED_IDS < self.shared.config.machine.max_in_flight;
        let shared = self.shared.clone();
        let reading = self.desired.wake().filter(|_| self.can_read_twin());
        tokio::select! {
            reached = goal => return Ok(Some(reached)),
            event = link.next() => {
                let event = event.map_err(Ending::Lost)?;
                self.handle(link, event);
            }
            Some(done) = self.calls.next(), if room => self.answer(link, done),
            () = shared.wake.notified() => {}
            () = sleep_until(reading.unwrap_or_else(Instant::now)), if reading.is_some() => {}
            _ = self.commands.recv(), if self.mode != Mode::Leaving => return Err(Ending::Requested),
        }
        Ok(None)
    }

    /// Sends what the application has for the hub.
    fn send(&mut self, link: &mut Link) {
        let refused = self.subscriptions.refused;
        if refused.contains(Feature::Desired) || refused.contains(Feature::TwinAnswers) {
            self.shared.desired.dismiss();
        }
        if self.subscriptions.refused.contains(Feature::Messages) {
            self.shared.messages.dismiss();
        }
        self.acknowledge_messages(link);
        self.desired.follow(self.shared.desired.reader(), Instant::now());
        self.subscribe_wanted(link);
        if self.mode != Mode::Renewing {
            self.ask_twin(link);
            self.send_events(link);
        }
    }

    /// Whether nothing is under way that the end of the connection would cut off.
    fn is_idle(&self, link: &Link) -> bool {
        let calls = self.is_without_calls() && link.machine.in_flight() == self.events.len();
        let requests = self.events.len() == 0 && self.twin.is_empty();
        match self.mode {
            // The next connection can take the rest over.
            Mode::Serving => calls,
            Mode::Renewing => calls && requests,
            Mode::Leaving => {
                calls && requests && self.shared.outbox.is_empty() && self.shared.twin.is_empty()
            }
        }
    }

    /// Whether no call is worked on, and the hub has all answers.
    pub(super) fn is_without_calls(&self) -> bool {
        self.calls.len() == 0 && self.calls.unacknowledged().next().is_none()
    }

    fn handle(&mut self, link: &mut Link, event: Event) {
        match event {
            Event::Publish(publish) => self.receive(link, &publish),
            Event::PubAck(packet_id) => {
                self.calls.acknowledge(packet_id);
                self.events.acknowledge(packet_id);
            }
            Event::SubAck { packet_id, codes } => self.subscriptions.answered(packet_id, &codes),
            Event::UnsubAck(_) | Event::Connected { .. } | Event::Refused(_) => {}
        }
    }

    fn receive(&mut self, link: &mut Link, publish: &Publish) {
        let topic = publish.topic.as_str();
        if let Some((input, properties)) = topic::parse_message(topic, &self.shared.config.identity) {
            // Acknowledged when the application is done with it.
            return self.message(publish, input, properties);
        }
        if let Some(packet_id) = publish.packet_id {
            link.machine.puback(packet_id);
        }
        if let Some((name, request_id)) = topic::parse_method_request(topic) {
            self.call(link, name, request_id, &publish.payload);
        } else if let Some(response) = topic::parse_twin_response(topic) {
            self.twin_answered(response, publish);
        } else if let Some(change) = topic::parse_desired_patch(topic) {
            self.desired_changed(change.version, &publish.payload);
        } else {
            debug!(topic, "a message that this client did not ask for");
        }
    }

    fn call(&mut self, link: &mut Link, name: String, request_id: &str, payload: &[u8]) {
        // Delivered twice with QoS 1; called at most once.
        if self.calls.contains(request_id) {
            return;
        }
        let payload = match std::str::from_utf8(payload) {
            Ok("") => "null",
            Ok(payload) => payload,
            Err(_) => return refuse(link, request_id, 400, "InvalidPayload", "the payload is not text"),
        };
        let permit = self.shared.permits.clone().try_acquire_owned();
        let limit = self.shared.config.max_concurrent_methods;
        let Some(permit) = permit.ok().filter(|_| self.calls.len() < limit) else {
            warn!(method = name, limit, "a call was refused: too many at once");
            let message = format!("this device works on {limit} calls already; try again later");
            return refuse(link, request_id, 429, "TooManyCalls", &message);
        };
        let (reply, answer) = Reply::new(permit);
        let reply = Arc::new(reply);
        let request =
            MethodRequest::new(name.clone(), request_id.to_owned(), payload.to_owned(), reply.clone());
        match self.shared.handlers.taker(&name) {
            Taker::Handler(handler) => {
                // In a task of its own: what blocks or panics in it is not our end. Nobody waits for it after a
                // disconnect, and it is not aborted: half a reboot is worse than an answer that nobody reads.
                tokio::spawn(async move {
                    let response = handler(request).await;
                    if reply.send(response).is_none() {
                        debug!("the call was answered before, or is over");
                    }
                });
            }
            // It has room for every permit. Should it be closed by now, the call is dropped and answered as such.
            Taker::Stream(stream) => drop(stream.try_send(request)),
            Taker::Nobody => {
                let message = format!("this device has no method {name:?}");
                return refuse(link, request_id, 404, "MethodNotFound", &message);
            }
        }
        self.calls.insert(request_id.to_owned(), name, answer);
    }

    fn answer(&mut self, link: &mut Link, done: Done) {
        let Some(answer) = done.answer else {
            warn!(method = done.name, "a call was dropped without an answer, or its handler panicked");
            let message = format!("the method {:?} ended without an answer", done.name);
            return refuse(link, &done.request_id, 500, "NoAnswer", &message);
        };
        let topic = topic::method_response(answer.response.status(), &done.request_id);
        match link.machine.publish(topic, QoS::AtLeastOnce, answer.response.into_payload()) {
            Ok(Some(packet_id)) => self.calls.sent(packet_id, answer.acknowledged),
            Ok(None) => {}
            Err(error) => {
                warn!(method = done.name, %error, "an answer cannot be sent");
                let _ = answer.acknowledged.send(Err(send_error(error)));
            }
        }
    }
}

/// The client's own answer. QoS 0: nobody in the application waits for its acknowledgement, so none is kept for it.
fn refuse(link: &mut Link, request_id: &str, status: i32, error: &str, message: &str) {
    let payload = MethodResponse::failure(status, error, message).into_payload();
    if let Err(error) =
        link.machine.publish(topic::method_response(status, request_id), QoS::AtMostOnce, payload)
    {
        warn!(%error, "an answer cannot be sent");
    }
}
