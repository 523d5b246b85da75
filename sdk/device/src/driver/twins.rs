//! Sends twin requests and handles their responses and desired patches.
//!
//! Requests are sent with QoS 0, because the response acknowledges them. Requests without a response when the
//! connection ends are sent again on the next one, in order, before all others. The hub may merge a patch twice then,
//! with the same result. A patch with a condition on the version fails instead.

use std::collections::BTreeMap;

use ferrohub_model::ErrorResponse;
use ferrohub_model::topic::{self, TwinResponse};
use ferrohub_model::twin::{Properties, VERSION};
use ferrohub_mqtt::{Publish, QoS};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::connect::send_error;
use super::link::Link;
use super::{Driver, Mode};
use crate::error::{Error, ErrorKind};
use crate::feature::Feature;
use crate::twins::{
    DesiredUpdate, DeviceTwin, Requester, TwinOperation, TwinReply, TwinRequest, TwinSection,
};

/// The most requests without a response.
const MAX_IN_FLIGHT: usize = 16;
/// The most queued updates. If there are more, the full section replaces them.
const MAX_UPDATES: usize = 64;

/// The requests without a response.
pub(super) struct TwinRequests {
    next_id: u64,
    /// By request id, in the order of sending.
    in_flight: BTreeMap<u64, TwinRequest>,
}

impl Default for TwinRequests {
    fn default() -> Self {
        // Random, because a session may contain responses to requests of an earlier process.
        Self { next_id: rand::random::<u64>() >> 16, in_flight: BTreeMap::new() }
    }
}

impl TwinRequests {
    /// Returns whether no caller in the application waits for a response.
    pub(super) fn is_empty(&self) -> bool {
        self.in_flight
            .values()
            .all(|request| matches!(request.requester, Requester::DesiredStream) || request.is_cancelled())
    }

    fn insert(&mut self, request: TwinRequest) -> String {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.in_flight.insert(id, request);
        format!("{id:x}")
    }

    fn remove(&mut self, request_id: &str) -> Option<TwinRequest> {
        self.in_flight.remove(&u64::from_str_radix(request_id, 16).ok()?)
    }

    /// The task has ended.
    pub(super) fn fail(&mut self, error: &Error) {
        for request in std::mem::take(&mut self.in_flight).into_values() {
            request.fail(error.clone());
        }
    }
}

impl Driver {
    /// Sends queued requests, within the limits of the connection.
    pub(super) fn send_twin_requests(&mut self, link: &mut Link) {
        if self.subscriptions.refused.contains(Feature::TwinResponses) {
            let error = Error::new(ErrorKind::Rejected, "the hub refused the subscription to twin responses");
            while let Some(request) = self.shared.twin.pop() {
                request.fail(error.clone());
            }
            return;
        }
        if !self.subscriptions.granted.contains(Feature::TwinResponses) {
            return;
        }
        let now = Instant::now();
        if self.can_read_twin() && self.desired.is_due(now) {
            self.desired.read_sent(now + self.shared.config.request_timeout);
            self.send_twin_request(
                link,
                TwinRequest { operation: TwinOperation::Get, requester: Requester::DesiredStream },
            );
        }
        self.twin.in_flight.retain(|_, request| !request.is_cancelled());
        while self.twin.in_flight.len() < MAX_IN_FLIGHT
            && link.can_send()
            && let Some(request) = self.shared.twin.pop()
        {
            self.send_twin_request(link, request);
        }
    }

    /// Returns whether the twin can be read for the stream of desired properties. Only after the subscription to
    /// patches: a patch between the read and the subscription would be missed.
    pub(super) fn can_read_twin(&self) -> bool {
        let granted = self.subscriptions.granted;
        self.mode == Mode::Serving
            && granted.contains(Feature::Desired)
            && granted.contains(Feature::TwinResponses)
    }

    fn send_twin_request(&mut self, link: &mut Link, request: TwinRequest) {
        let operation = request.operation.clone();
        let request_id = self.twin.insert(request);
        let request_id = request_id.as_str();
        let (topic, payload) = match operation {
            TwinOperation::Get => (topic::TwinRequest::Get { request_id }, bytes::Bytes::new()),
            TwinOperation::Report { patch, if_version } => {
                (topic::TwinRequest::Report { request_id, if_version }, patch)
            }
        };
        if let Err(error) = link.mqtt.publish(topic, QoS::AtMostOnce, payload)
            && let Some(request) = self.twin.remove(request_id)
        {
            request.fail(send_error(error));
        }
    }

    pub(super) fn handle_twin_response(&mut self, response: TwinResponse<'_>, publish: &Publish) {
        let Some(request) = self.twin.remove(response.request_id) else {
            debug!(request_id = response.request_id, "twin response without a request");
            return;
        };
        let response = match response.status {
            200..300 => Ok(TwinReply { version: response.version, payload: publish.payload.clone() }),
            status => Err(Error::from_response(
                "the hub refused the twin request",
                ErrorResponse::parse(status, None, None, &publish.payload),
            )),
        };
        match request.requester {
            Requester::Application(reply) => {
                // Fails if the caller has dropped its future.
                let _ = reply.send(response);
            }
            Requester::DesiredStream => self.handle_desired_read(response),
        }
    }

    fn handle_desired_read(&mut self, response: Result<TwinReply, Error>) {
        let now = Instant::now();
        match response.and_then(|response| DeviceTwin::from_json(&response.payload)) {
            Ok(twin) => {
                if self.desired.accept_full(twin.desired.version(), now) {
                    // It replaces all updates before it.
                    self.shared.desired.clear();
                    self.push_update(DesiredUpdate::Full(twin.desired));
                }
            }
            Err(error) => {
                warn!(%error, "reading the twin failed; retrying");
                self.desired.read_failed(now);
            }
        }
    }

    pub(super) fn handle_desired_patch(&mut self, version: u64, payload: &[u8]) {
        let now = Instant::now();
        let Ok(mut patch) = serde_json::from_slice::<Properties>(payload) else {
            warn!(version, "desired patch is not JSON");
            return self.desired.schedule_read(now);
        };
        patch.insert(VERSION.to_owned(), version.into());
        if let Some(section) = TwinSection::new(patch)
            && self.desired.accept_patch(version, now)
        {
            self.push_update(DesiredUpdate::Patch(section));
        }
    }

    fn push_update(&mut self, update: DesiredUpdate) {
        if self.shared.desired.push(update, MAX_UPDATES).is_err() {
            debug!("queue of desired updates is full");
            self.shared.desired.clear();
            self.desired.queue_overflowed(Instant::now());
        }
    }

    /// Queues the requests without a response again, because the connection has ended.
    pub(super) fn resend_twin_requests(&mut self) {
        let requests = std::mem::take(&mut self.twin.in_flight).into_values();
        let (again, failed): (Vec<_>, Vec<_>) = requests
            .filter(|request| matches!(request.requester, Requester::Application(_)))
            .partition(TwinRequest::is_repeatable);
        for request in failed {
            request.fail(Error::new(
                ErrorKind::Connection,
                "the connection was lost before the hub responded: the patch may have been applied",
            ));
        }
        self.shared.twin.requeue(again.into_iter());
    }
}
