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

use super::calls::FinishedCall;
use super::connect::{Connected, send_error};
use super::link::Link;
use super::{Driver, ExitReason, Mode};
use crate::feature::Feature;
use crate::method::{MethodRequest, MethodResponse, MethodRoute, Responder};

/// Acknowledgements that SUBSCRIBE and UNSUBSCRIBE may need while answers wait for theirs.
pub(super) const RESERVED_PACKET_IDS: usize = 4;

impl Driver {
    /// Serves until the connection is lost or not wanted any more; over all renewals.
    pub(super) async fn serve(&mut self, connected: &mut Connected) -> ExitReason {
        loop {
            let outcome = match connected.renewal {
                Some((begin, latest)) => self.renew(connected, begin, latest).await,
                None => self.serve_until(&mut connected.link, pending()).await,
            };
            if let Err(ending) = outcome {
                return ending;
            }
        }
    }

    /// Serves until `goal` is reached.
    pub(super) async fn serve_until<T>(
        &mut self,
        link: &mut Link,
        goal: impl Future<Output = T>,
    ) -> Result<T, ExitReason> {
        let mut goal = pin!(goal);
        loop {
            if let Some(reached) = self.step(link, goal.as_mut()).await? {
                return Ok(reached);
            }
        }
    }

    /// Serves until there is nothing to wait for, and no call came for the time `quiet`; false if that is not before
    /// `deadline`.
    pub(super) async fn serve_until_idle(
        &mut self,
        link: &mut Link,
        quiet: Duration,
        deadline: Instant,
    ) -> Result<bool, ExitReason> {
        let (mut since, mut calls) = (Instant::now(), self.calls.total());
        loop {
            let idle = self.is_idle(link);
            if !idle || calls != self.calls.total() {
                (since, calls) = (Instant::now(), self.calls.total());
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
    ) -> Result<Option<T>, ExitReason> {
        self.send(link);
        let room = link.mqtt.in_flight() + RESERVED_PACKET_IDS < self.shared.config.mqtt.max_in_flight;
        let shared = self.shared.clone();
        let reading = self.desired.next_read_at().filter(|_| self.can_read_twin());
        tokio::select! {
            reached = goal => return Ok(Some(reached)),
            event = link.next() => {
                let event = event.map_err(ExitReason::Lost)?;
                self.handle(link, event);
            }
            Some(done) = self.calls.next(), if room => self.send_response(link, done),
            () = shared.wake.notified() => {}
            () = sleep_until(reading.unwrap_or_else(Instant::now)), if reading.is_some() => {}
            _ = self.commands.recv(), if self.mode != Mode::Draining => return Err(ExitReason::Requested),
        }
        Ok(None)
    }

    /// Sends what the application has for the hub.
    fn send(&mut self, link: &mut Link) {
        let refused = self.subscriptions.refused;
        if refused.contains(Feature::Desired) || refused.contains(Feature::TwinResponses) {
            self.shared.desired.close_receiver();
        }
        if self.subscriptions.refused.contains(Feature::Messages) {
            self.shared.messages.close_receiver();
        }
        self.acknowledge_messages(link);
        self.desired.set_receiver(self.shared.desired.receiver_id(), Instant::now());
        self.subscribe_wanted(link);
        if self.mode != Mode::Renewing {
            self.send_twin_requests(link);
            self.send_events(link);
        }
    }

    /// Whether nothing is under way that the end of the connection would cut off.
    fn is_idle(&self, link: &Link) -> bool {
        let calls = self.has_no_calls() && link.mqtt.in_flight() == self.events.len();
        let requests = self.events.len() == 0 && self.twin.is_empty();
        match self.mode {
            // The next connection can take the rest over.
            Mode::Serving => calls,
            Mode::Renewing => calls && requests,
            Mode::Draining => {
                calls && requests && self.shared.event_queue.is_empty() && self.shared.twin.is_empty()
            }
        }
    }

    /// Whether no call is worked on, and the hub has all answers.
    pub(super) fn has_no_calls(&self) -> bool {
        self.calls.len() == 0 && self.calls.unacknowledged().next().is_none()
    }

    fn handle(&mut self, link: &mut Link, event: Event) {
        match event {
            Event::Publish(publish) => self.receive(link, &publish),
            Event::PubAck(packet_id) => {
                self.calls.acknowledge(packet_id);
                self.events.acknowledge(packet_id);
            }
            Event::SubAck { packet_id, codes } => self.subscriptions.handle_suback(packet_id, &codes),
            Event::UnsubAck(_) | Event::Connected { .. } | Event::Refused(_) => {}
        }
    }

    fn receive(&mut self, link: &mut Link, publish: &Publish) {
        let topic = publish.topic.as_str();
        if let Some((input, properties)) = topic::parse_message(topic, &self.shared.config.identity) {
            // Acknowledged when the application is done with it.
            return self.handle_message(publish, input, properties);
        }
        if let Some(packet_id) = publish.packet_id {
            link.mqtt.puback(packet_id);
        }
        if let Some((name, request_id)) = topic::parse_method_request(topic) {
            self.handle_call(link, name, request_id, &publish.payload);
        } else if let Some(response) = topic::parse_twin_response(topic) {
            self.handle_twin_response(response, publish);
        } else if let Some(change) = topic::parse_desired_patch(topic) {
            self.handle_desired_patch(change.version, &publish.payload);
        } else {
            debug!(topic, "a message that this client did not ask for");
        }
    }

    fn handle_call(&mut self, link: &mut Link, name: String, request_id: &str, payload: &[u8]) {
        // Delivered twice with QoS 1; called at most once.
        if self.calls.contains(request_id) {
            return;
        }
        let payload = match std::str::from_utf8(payload) {
            Ok("") => "null",
            Ok(payload) => payload,
            Err(_) => {
                return send_error_response(
                    link,
                    request_id,
                    400,
                    "InvalidPayload",
                    "the payload is not text",
                );
            }
        };
        let permit = self.shared.permits.clone().try_acquire_owned();
        let limit = self.shared.config.max_concurrent_methods;
        let Some(permit) = permit.ok().filter(|_| self.calls.len() < limit) else {
            warn!(method = name, limit, "a call was refused: too many at once");
            let message = format!("this device works on {limit} calls already; try again later");
            return send_error_response(link, request_id, 429, "TooManyCalls", &message);
        };
        let (responder, response) = Responder::new(permit);
        let responder = Arc::new(responder);
        let request =
            MethodRequest::new(name.clone(), request_id.to_owned(), payload.to_owned(), responder.clone());
        match self.shared.handlers.route(&name) {
            MethodRoute::Handler(handler) => {
                // In a task of its own: what blocks or panics in it is not our end. Unhandled waits for it after a
                // disconnect, and it is not aborted: half a reboot is worse than an answer that nobody reads.
                tokio::spawn(async move {
                    let response = handler(request).await;
                    if responder.send(response).is_none() {
                        debug!("the call was answered before, or is over");
                    }
                });
            }
            // It has room for every permit. Should it be closed by now, the call is dropped and answered as such.
            MethodRoute::Stream(stream) => drop(stream.try_send(request)),
            MethodRoute::Unhandled => {
                let message = format!("this device has no method {name:?}");
                return send_error_response(link, request_id, 404, "MethodNotFound", &message);
            }
        }
        self.calls.insert(request_id.to_owned(), name, response);
    }

    fn send_response(&mut self, link: &mut Link, done: FinishedCall) {
        let Some(response) = done.response else {
            warn!(method = done.name, "a call was dropped without an answer, or its handler panicked");
            let message = format!("the method {:?} ended without an answer", done.name);
            return send_error_response(link, &done.request_id, 500, "NoAnswer", &message);
        };
        let topic = topic::method_response(response.response.status(), &done.request_id);
        match link.mqtt.publish(topic, QoS::AtLeastOnce, response.response.into_payload()) {
            Ok(Some(packet_id)) => self.calls.response_sent(packet_id, response.acknowledged),
            Ok(None) => {}
            Err(error) => {
                warn!(method = done.name, %error, "an answer cannot be sent");
                let _ = response.acknowledged.send(Err(send_error(error)));
            }
        }
    }
}

/// The client's own response. QoS 0: nobody in the application waits for its acknowledgement, so none is kept for it.
fn send_error_response(link: &mut Link, request_id: &str, status: i32, error: &str, message: &str) {
    let payload = MethodResponse::error_response(status, error, message).into_payload();
    if let Err(error) =
        link.mqtt.publish(topic::method_response(status, request_id), QoS::AtMostOnce, payload)
    {
        warn!(%error, "an answer cannot be sent");
    }
}
