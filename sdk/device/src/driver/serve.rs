//! Serves a connection: handles packets of the hub and sends what the application has queued.

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::topic;
use ferrohub_mqtt::client::Event;
use ferrohub_mqtt::{Publish, QoS};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::connect::{Connected, send_error};
use super::link::Link;
use super::methods::FinishedCall;
use super::{Driver, ExitReason, Mode};
use crate::feature::Feature;
use crate::methods::{MethodRequest, MethodResponse, MethodRoute, Responder};

/// Packet identifiers that are reserved for SUBSCRIBE and UNSUBSCRIBE.
pub(super) const RESERVED_PACKET_IDS: usize = 4;

impl Driver {
    /// Serves until the connection is lost or the application disconnects, across token renewals.
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

    /// Serves until `goal` is ready.
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

    /// Serves until no operation is open and no call has arrived for the time `quiet`. Returns false if that takes
    /// longer than `deadline`.
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

    /// Waits for one thing: the goal, an event of the hub, a finished call, a change of the shared state, or a command.
    async fn step<T>(
        &mut self,
        link: &mut Link,
        goal: Pin<&mut impl Future<Output = T>>,
    ) -> Result<Option<T>, ExitReason> {
        self.send(link);
        let can_send = link.mqtt.in_flight() + RESERVED_PACKET_IDS < self.shared.config.mqtt.max_in_flight;
        let shared = self.shared.clone();
        let reading = self.desired.next_read_at().filter(|_| self.can_read_twin());
        tokio::select! {
            reached = goal => return Ok(Some(reached)),
            event = link.next() => {
                let event = event.map_err(ExitReason::Lost)?;
                self.handle(link, event);
            }
            Some(finished) = self.calls.next(), if can_send => self.send_response(link, finished),
            () = shared.wake.notified() => {}
            () = sleep_until(reading.unwrap_or_else(Instant::now)), if reading.is_some() => {}
            _ = self.commands.recv(), if self.mode != Mode::Draining => return Err(ExitReason::Requested),
        }
        Ok(None)
    }

    /// Sends what the application has queued.
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

    /// Returns whether the end of the connection would interrupt nothing.
    fn is_idle(&self, link: &Link) -> bool {
        let calls = self.has_no_calls() && link.mqtt.in_flight() == self.events.len();
        let requests = self.events.len() == 0 && self.twin.is_empty();
        match self.mode {
            // Everything else continues on the next connection.
            Mode::Serving => calls,
            Mode::Renewing => calls && requests,
            Mode::Draining => {
                calls && requests && self.shared.event_queue.is_empty() && self.shared.twin.is_empty()
            }
        }
    }

    /// Returns whether no call is open and no response is unacknowledged.
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
            // Acknowledged when the application completes it.
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
            debug!(topic, "message on an unknown topic");
        }
    }

    fn handle_call(&mut self, link: &mut Link, name: String, request_id: &str, payload: &[u8]) {
        // QoS 1 may deliver a call twice; the handler runs once.
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
                    "the payload is not UTF-8",
                );
            }
        };
        let permit = self.shared.permits.clone().try_acquire_owned();
        let limit = self.shared.config.max_concurrent_methods;
        let Some(permit) = permit.ok().filter(|_| self.calls.len() < limit) else {
            warn!(method = name, limit, "method call refused: too many concurrent calls");
            let message = format!("the device has {limit} open calls already; try again later");
            return send_error_response(link, request_id, 429, "TooManyCalls", &message);
        };
        let (responder, response) = Responder::new(permit);
        let responder = Arc::new(responder);
        let request =
            MethodRequest::new(name.clone(), request_id.to_owned(), payload.to_owned(), responder.clone());
        match self.shared.handlers.route(&name) {
            MethodRoute::Handler(handler) => {
                // In its own task: it may block or panic. It is not aborted after a disconnect: an interrupted reboot
                // is worse than a response without a receiver.
                tokio::spawn(async move {
                    let response = handler(request).await;
                    if responder.send(response).is_none() {
                        debug!("response of a handler dropped: the call has been answered or has ended");
                    }
                });
            }
            // The stream has capacity for every permit. If it was just closed, the call is dropped and answered with
            // 500.
            MethodRoute::Stream(stream) => drop(stream.try_send(request)),
            MethodRoute::Unhandled => {
                let message = format!("this device has no method {name:?}");
                return send_error_response(link, request_id, 404, "MethodNotFound", &message);
            }
        }
        self.calls.insert(request_id.to_owned(), name, response);
    }

    fn send_response(&mut self, link: &mut Link, finished: FinishedCall) {
        let Some(response) = finished.response else {
            warn!(
                method = finished.name,
                "method call without response: the request was dropped or the handler panicked"
            );
            let message = format!("the method {:?} ended without a response", finished.name);
            return send_error_response(link, &finished.request_id, 500, "NoAnswer", &message);
        };
        let topic = topic::method_response(response.response.status(), &finished.request_id);
        match link.mqtt.publish(topic, QoS::AtLeastOnce, response.response.into_payload()) {
            Ok(Some(packet_id)) => self.calls.response_sent(packet_id, response.acknowledged),
            Ok(None) => {}
            Err(error) => {
                warn!(method = finished.name, %error, "response cannot be sent");
                let _ = response.acknowledged.send(Err(send_error(error)));
            }
        }
    }
}

/// Sends a response of the client itself, with QoS 0, because no caller waits for its PUBACK.
fn send_error_response(link: &mut Link, request_id: &str, status: i32, error: &str, message: &str) {
    let payload = MethodResponse::error_response(status, error, message).into_payload();
    if let Err(error) =
        link.mqtt.publish(topic::method_response(status, request_id), QoS::AtMostOnce, payload)
    {
        warn!(%error, "response cannot be sent");
    }
}
