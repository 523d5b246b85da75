//! The work of a job that calls a method.
//!
//! A run reads the open rows page by page, and begins with those whose devices can be called now. The others it leaves
//! alone: a device that connects or subscribes is offered to the job. One write at a time has all the changes that have
//! come together since the one before, so that many calls share a commit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ferrohub_model::method::{DEFAULT_RESPONSE_TIMEOUT, MethodInvocation, MethodName, Seconds};
use ferrohub_model::{ErrorCode, HubError, IdentityId};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::create_job::payload_bytes;
use super::run::{Interruption, JobRun};
use super::store::{DeviceChange, DeviceEnd, DeviceState, JobDevice, JobEnd};
use crate::hub::Hub;
use crate::methods::NotAnswered;
use crate::node::OutgoingCall;
use crate::panics::catch_panic;
use crate::registry::not_found;

/// Number of rows that are read at once.
const PAGE: usize = 512;
/// When a call that could not be sent is tried again, if nothing else wakes the job for its device.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Maximum sleep, because the wall clock may be changed meanwhile.
const MAX_SLEEP: Duration = Duration::from_secs(10);

/// The call of a job.
struct Call {
    name: MethodName,
    payload: Option<Bytes>,
    response_timeout: Duration,
}

impl Call {
    /// Reads the call from the JSON of the job.
    fn read(body: &str) -> Option<Self> {
        let invocation: MethodInvocation<'_> = serde_json::from_str(body).ok()?;
        let seconds = match invocation.response_timeout_in_seconds {
            Some(Seconds::Valid(seconds)) => u64::try_from(seconds).ok()?,
            _ => DEFAULT_RESPONSE_TIMEOUT.into(),
        };
        Some(Self {
            name: MethodName::new(&invocation.method_name?).ok()?,
            payload: invocation.payload.map(payload_bytes),
            response_timeout: Duration::from_secs(seconds),
        })
    }
}

/// How a call ended.
enum Outcome {
    /// The device did not get the call.
    NotSent,
    Ended(DeviceEnd),
}

impl Hub {
    /// Calls a device for a job, once.
    async fn call_for_job(&self, device: &JobDevice, call: OutgoingCall) -> Outcome {
        let is_other = |generation: &str| generation != device.generation_id;
        if self.connections.get(&device.id).is_none_or(|connection| is_other(&connection.generation_id)) {
            return Outcome::NotSent;
        }
        Outcome::Ended(match self.invoke_once(&device.id, call).await {
            Ok(reply) => {
                let payload = match &*reply.payload {
                    b"" => "null".to_owned(),
                    payload => String::from_utf8_lossy(payload).into_owned(),
                };
                DeviceEnd::Answered { status: reply.status, payload }
            }
            Err(NotAnswered::NotSent) => return Outcome::NotSent,
            Err(NotAnswered::BadReply(error)) => failed(&error),
            Err(NotAnswered::MayHaveRun(error)) => {
                let reason = error.message.trim_end_matches('.');
                failed(&HubError::new(error.code, format!("{reason}. The method may have run.")))
            }
        })
    }
}

/// Returns the end of a row with an error.
pub(super) fn failed(error: &HubError) -> DeviceEnd {
    DeviceEnd::Failed { code: error.code.name().to_owned(), description: error.message.to_string() }
}

/// Where the next page of open rows begins.
enum Scan {
    From(Option<IdentityId>),
    Done,
}

/// The state of a run.
struct Calls<'r> {
    run: &'r JobRun,
    call: Call,
    scan: Scan,
    /// Devices that could be called when they were found.
    candidates: VecDeque<JobDevice>,
    in_flight: JoinSet<(IdentityId, Outcome)>,
    /// What the next write writes.
    changes: Vec<DeviceChange>,
    /// Devices whose call could not be sent, and when to look at them again.
    retries: VecDeque<(Instant, IdentityId)>,
    /// The number of rows without an end, once it is known.
    unended: Option<u64>,
}

/// Whether a device can be called.
enum Ready {
    Yes,
    No,
    /// This generation of the device does not exist any more.
    Gone,
}

impl JobRun {
    /// Calls the devices of the job, until all rows have ended, or the job has.
    pub(super) async fn call_devices(&self, body: &str) -> Result<(), Interruption> {
        let Some(call) = Call::read(body) else {
            return Err(self.fail("The stored method call of the job cannot be read.".to_owned()).await);
        };
        let calls = Calls {
            run: self,
            call,
            scan: Scan::From(None),
            candidates: VecDeque::new(),
            in_flight: JoinSet::new(),
            changes: Vec::new(),
            retries: VecDeque::new(),
            unended: None,
        };
        calls.run().await
    }

    fn readiness(&self, device: &JobDevice) -> Ready {
        match self.node.connections.get(&device.id) {
            _ if !device.exists => Ready::Gone,
            Some(connection)
                if connection.generation_id == device.generation_id && connection.listens_for_methods() =>
            {
                Ready::Yes
            }
            _ => Ready::No,
        }
    }
}

impl Calls<'_> {
    async fn run(mut self) -> Result<(), Interruption> {
        loop {
            self.collect();
            let may_begin = !self.run.must_not_begin();
            let mut is_blocked = false;
            let mut begun = Vec::new();
            if may_begin {
                self.find_candidates().await?;
                (begun, is_blocked) = self.choose();
            }
            if !self.changes.is_empty() || !begun.is_empty() {
                self.write(begun).await?;
                continue;
            }
            if may_begin && self.may_find_more() {
                continue;
            }
            if self.in_flight.is_empty() && (!may_begin || self.has_ended_all().await?) {
                return self.end().await;
            }
            self.wait(may_begin, is_blocked).await;
        }
    }

    fn free(&self) -> usize {
        self.run.node.limits.concurrent_devices.max(1).saturating_sub(self.in_flight.len())
    }

    fn may_find_more(&self) -> bool {
        matches!(self.scan, Scan::From(_)) && self.candidates.len() < self.free()
    }

    /// Takes the calls that have ended.
    fn collect(&mut self) {
        while let Some(ended) = self.in_flight.try_join_next() {
            self.ended(ended);
        }
    }

    fn ended(&mut self, ended: Result<(IdentityId, Outcome), tokio::task::JoinError>) {
        // Panics are caught inside, and nobody aborts a call but the run itself.
        let Ok((id, outcome)) = ended else { return };
        self.changes.push(match outcome {
            Outcome::Ended(end) => DeviceChange::End(id, end),
            Outcome::NotSent => {
                self.retries.push_back((Instant::now() + RETRY_DELAY, id.clone()));
                DeviceChange::GiveBack(id)
            }
        });
    }

    /// Looks for devices that can be called: those that the job was told of, and those of the next page.
    async fn find_candidates(&mut self) -> Result<(), Interruption> {
        let now = Instant::now();
        while let Some((_, id)) = self.retries.pop_front_if(|(due, _)| *due <= now) {
            self.run.node.active.device_changed(&id);
        }
        if self.run.active.take_rescan() {
            self.scan = Scan::From(None);
        }
        // Those that are not taken now stay where they are, and their number is limited there.
        if self.candidates.len() < PAGE {
            self.candidates.extend(self.run.active.take_candidates());
        }
        let Scan::From(after) = &self.scan else { return Ok(()) };
        if !self.may_find_more() {
            return Ok(());
        }
        let number = self.run.held.lease.number;
        let page =
            self.run.retry(|| self.run.node.store.open_job_devices(number, after.as_ref(), PAGE)).await?;
        self.scan = match page.last() {
            Some(last) if page.len() == PAGE => Scan::From(Some(last.id.clone())),
            _ => Scan::Done,
        };
        for device in page {
            self.consider(device);
        }
        Ok(())
    }

    /// Makes a device a candidate, if it can be called.
    fn consider(&mut self, device: JobDevice) {
        match self.run.readiness(&device) {
            Ready::Yes => self.candidates.push_back(device),
            Ready::Gone => {
                let end = failed(&not_found(&device.id));
                self.changes.push(DeviceChange::End(device.id, end));
            }
            Ready::No if device.state == DeviceState::Pending => {
                self.changes.push(DeviceChange::Wait(device.id));
            }
            Ready::No => {}
        }
    }

    /// Chooses the candidates to call, and whether others wait because the node works on too many devices.
    fn choose(&mut self) -> (Vec<(JobDevice, OwnedSemaphorePermit)>, bool) {
        let mut chosen = Vec::new();
        while chosen.len() < self.free() {
            let Some(device) = self.candidates.pop_front() else { break };
            if !matches!(self.run.readiness(&device), Ready::Yes) {
                self.consider(device);
                continue;
            }
            match self.run.node.active.devices.clone().try_acquire_owned() {
                Ok(permit) => chosen.push((device, permit)),
                Err(_) => {
                    self.candidates.push_front(device);
                    return (chosen, true);
                }
            }
        }
        (chosen, false)
    }

    /// Writes all changes and the begin of the chosen calls, and then sends these calls.
    async fn write(&mut self, begun: Vec<(JobDevice, OwnedSemaphorePermit)>) -> Result<(), Interruption> {
        let mut changes = std::mem::take(&mut self.changes);
        let first = changes.len();
        changes.extend(begun.iter().map(|(device, _)| DeviceChange::Begin(device.id.clone())));
        let written = self.run.write(changes).await?;
        self.unended = Some(written.counts.open() + written.counts.running);
        for ((device, permit), made) in begun.into_iter().zip(written.made.into_iter().skip(first)) {
            if made {
                self.send(device, permit)?;
            }
        }
        if written.phase.is_ended() {
            // It was cancelled by another node.
            self.run.node.active.cancelled(self.run.held.lease.number);
        }
        Ok(())
    }

    fn send(&mut self, device: JobDevice, permit: OwnedSemaphorePermit) -> Result<(), Interruption> {
        let hub: Arc<Hub> = self.run.node.hub()?;
        let call = OutgoingCall {
            name: self.call.name.clone(),
            payload: self.call.payload.clone(),
            // The device was connected a moment ago.
            connect_timeout: Duration::ZERO,
            response_timeout: self.call.response_timeout.min(self.run.left()),
        };
        let panics = self.run.node.metrics.panics.clone();
        self.in_flight.spawn(async move {
            let called = catch_panic(panics, "job", hub.call_for_job(&device, call)).await;
            drop(permit);
            let outcome = called.unwrap_or_else(|_| {
                let text = "The hub failed while the device had the call. The method may have run.";
                Outcome::Ended(failed(&HubError::new(ErrorCode::ServerError, text)))
            });
            (device.id, outcome)
        });
        Ok(())
    }

    /// Returns whether all rows have ended, when no call is in flight.
    async fn has_ended_all(&mut self) -> Result<bool, Interruption> {
        if matches!(self.scan, Scan::From(_)) || !self.candidates.is_empty() {
            return Ok(false);
        }
        let unended = match self.unended {
            Some(unended) => unended,
            // Nothing was written since the devices were selected.
            None => {
                let (node, id) = (&self.run.node, &self.run.held.job.definition.id);
                let job = self.run.retry(|| node.store.job(id)).await?.ok_or(Interruption::Lost)?;
                job.counts.open() + job.counts.running
            }
        };
        self.unended = Some(unended);
        Ok(unended == 0)
    }

    async fn end(self) -> Result<(), Interruption> {
        let run = self.run;
        if run.active.is_cancelled() {
            return Ok(());
        }
        if run.stop.is_requested() || run.node.is_stopping() {
            return Err(Interruption::Stopped);
        }
        run.end(JobEnd::Completed).await
    }

    /// Waits until there is something to do.
    async fn wait(&mut self, may_begin: bool, is_blocked: bool) {
        let now = Instant::now();
        let mut wake = now + MAX_SLEEP;
        if may_begin {
            wake = wake.min(now + self.run.left());
            wake = self.retries.front().map_or(wake, |(due, _)| wake.min(*due));
        }
        let devices = self.run.node.active.devices.clone();
        let mut stop = self.run.stop.clone();
        tokio::select! {
            Some(ended) = self.in_flight.join_next() => self.ended(ended),
            () = self.run.active.notified() => {}
            Ok(permit) = devices.acquire(), if is_blocked && may_begin => drop(permit),
            () = stop.requested(), if may_begin => {}
            () = sleep_until(wake) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_of_a_job_is_read_as_it_was_written() {
        let call = Call::read(
            r#"{"methodName":"m","payload":{ "a":1.0 },"responseTimeoutInSeconds":7,"connectTimeoutInSeconds":0}"#,
        )
        .unwrap();
        assert_eq!((call.name.as_str(), call.payload.as_deref()), ("m", Some(&br#"{ "a":1.0 }"#[..])));
        assert_eq!(call.response_timeout, Duration::from_secs(7));
        let call = Call::read(r#"{"methodName":"m"}"#).unwrap();
        assert_eq!((call.payload, call.response_timeout), (None, Duration::from_secs(30)));
        assert!(Call::read("{}").is_none() && Call::read("").is_none());
        assert_eq!(
            failed(&HubError::new(ErrorCode::GatewayTimeout, "late")),
            DeviceEnd::Failed { code: "GatewayTimeout".to_owned(), description: "late".to_owned() }
        );
    }
}
