//! Jobs: the ends of a job and of its devices, in each state of the devices, the job and the hub.

mod cancelling;
mod clock;
mod crashes;
mod deadlines;
mod limits;
mod methods;
mod queries;
mod twins;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use ferrohub_core::ConnectedDevice;
use ferrohub_core::jobs::{JobWork, NewJob};
use ferrohub_core::methods::MethodCall;
use ferrohub_core::node::{MethodReply, Outgoing, RequestId};
use ferrohub_core::queries::{QueryItems, QueryRequest};
use ferrohub_core::session::{Session, Subscription};
use ferrohub_model::job::{DeviceJob, DeviceJobStatus, Job, JobStatus};
use ferrohub_model::method::MethodName;
use ferrohub_model::{HubError, JobId};
use serde_json::{Value, json};

use crate::test_hub::{TestHub, run_ready_tasks};

/// A method job over a condition, which may run for a minute.
fn method_job(id: &str, condition: &str) -> NewJob {
    let call = MethodCall {
        name: MethodName::new("reboot").unwrap(),
        payload: Some(Bytes::from_static(b"{\"delay\":1.0}")),
        response_timeout: 30,
        connect_timeout: 0,
    };
    job(id, condition, JobWork::Method(call))
}

/// A job that sets the tag `floor` and the desired property `fan` to 1.
fn twin_job(id: &str, condition: &str) -> NewJob {
    let change = json!({ "tags": { "floor": 1 }, "properties": { "desired": { "fan": 1 } } });
    job(id, condition, JobWork::Twin(serde_json::from_value(change).unwrap()))
}

fn job(id: &str, condition: &str, work: JobWork) -> NewJob {
    let condition = condition.to_owned();
    NewJob { id: JobId::new(id).unwrap(), work, condition, start: None, max_seconds: 60 }
}

impl TestHub {
    async fn create_job(&self, job: NewJob) -> Job {
        let job = self.try_create_job(job).await.unwrap();
        run_ready_tasks().await;
        job
    }

    async fn try_create_job(&self, job: NewJob) -> Result<Job, HubError> {
        self.service().await.create_job(job).await
    }

    async fn job(&self, id: &str) -> Job {
        let job = self.service().await.get_job(&JobId::new(id).unwrap()).await.unwrap();
        let counts = job.device_job_statistics.unwrap();
        let sum = counts.failed_count + counts.succeeded_count + counts.running_count + counts.pending_count;
        assert_eq!(counts.device_count, sum, "{counts:?}");
        job
    }

    async fn status(&self, id: &str) -> JobStatus {
        self.job(id).await.status
    }

    async fn cancel_job(&self, id: &str) -> Job {
        let job = self.service().await.cancel_job(&JobId::new(id).unwrap()).await.unwrap();
        run_ready_tasks().await;
        job
    }

    /// Returns the numbers of devices that failed, succeeded, are running and are pending.
    async fn counts(&self, id: &str) -> [u64; 4] {
        let counts = self.job(id).await.device_job_statistics.unwrap();
        [counts.failed_count, counts.succeeded_count, counts.running_count, counts.pending_count]
    }

    /// Returns the rows of a job, in the order of devices.
    async fn rows(&self, id: &str) -> Vec<DeviceJob> {
        let rows = self.query_jobs(&format!("SELECT * FROM devices.jobs WHERE jobId = '{id}'")).await;
        rows.into_iter().map(|row| serde_json::from_value(row).unwrap()).collect()
    }

    async fn query_jobs(&self, text: &str) -> Vec<Value> {
        let request = QueryRequest { text: text.to_owned(), ..QueryRequest::default() };
        let page = self.service().await.query_twins(request).await.unwrap();
        assert_eq!(page.item_type.as_str(), "DeviceJob");
        let QueryItems::Rows(rows) = page.items else { panic!("not rows") };
        rows.into_iter().map(Value::from).collect()
    }

    /// Returns the states of the rows of a job by device or module, and the codes of their errors.
    async fn ends(&self, id: &str) -> BTreeMap<String, (DeviceJobStatus, Option<String>)> {
        let end = |row: DeviceJob| {
            let name =
                row.module_id.map_or(row.device_id.clone(), |module| format!("{}/{module}", row.device_id));
            (name, (row.status, row.error.map(|error| error.code)))
        };
        self.rows(id).await.into_iter().map(end).collect()
    }

    async fn end_of(&self, id: &str, device: &str) -> (DeviceJobStatus, Option<String>) {
        self.ends(id).await.remove(device).unwrap()
    }

    /// Connects a device that listens for calls.
    async fn listen(&self, device: &str) -> ConnectedDevice {
        let device = self.connect(device).await;
        let session = Session::default().with(Subscription::Methods, false);
        device.set_session(session, true).await.unwrap();
        run_ready_tasks().await;
        device
    }
}

fn failed(code: &str) -> (DeviceJobStatus, Option<String>) {
    (DeviceJobStatus::Failed, Some(code.to_owned()))
}

const COMPLETED: (DeviceJobStatus, Option<String>) = (DeviceJobStatus::Completed, None);

/// Returns the next call of a device, if there is one now.
async fn next_call(device: &ConnectedDevice) -> Option<RequestId> {
    run_ready_tasks().await;
    loop {
        let next = poll_fn(|cx| Poll::Ready(device.connection().poll_outgoing(cx))).await;
        match next {
            Poll::Ready(Outgoing::Method(method)) => {
                assert_eq!(method.name.as_str(), "reboot");
                assert_eq!(method.payload.as_deref(), Some(&b"{\"delay\":1.0}"[..]), "as it was sent");
                return Some(method.request_id);
            }
            Poll::Ready(Outgoing::Close(_)) | Poll::Pending => return None,
            Poll::Ready(_) => {}
        }
    }
}

async fn answer(device: &ConnectedDevice, call: RequestId, status: i32) {
    let reply = MethodReply { status, payload: Bytes::from_static(b"{\"ok\":true}") };
    device.answer_method(call, Ok(reply));
    run_ready_tasks().await;
}
