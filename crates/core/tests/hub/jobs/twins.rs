//! Twin jobs.

use ferrohub_core::jobs::JobWork;
use ferrohub_core::node::Outgoing;
use ferrohub_core::registry::IfMatch;
use ferrohub_core::session::{Session, Subscription};
use ferrohub_model::DeviceId;
use ferrohub_model::job::JobStatus;
use serde_json::{Value, json};

use super::{COMPLETED, failed, job, method_job, twin_job};
use crate::test_hub::{TestHub, id, run_ready_tasks};

async fn twin(hub: &TestHub, name: &str) -> Value {
    serde_json::to_value(hub.service().await.get_twin(&id(name)).await.unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_selected_twin_is_changed_once_and_its_device_notified() {
    let hub = TestHub::start().await;
    for name in ["a", "b", "c", "b/m"] {
        hub.create(name).await;
    }
    let device = hub.connect("a").await;
    let session = Session::default().with(Subscription::DesiredProperties, false);
    device.set_session(session, true).await.unwrap();
    hub.create_job(twin_job("j", "deviceId < 'c'")).await;
    let job = hub.job("j").await;
    assert_eq!(job.status, JobStatus::Completed);
    let body: Value = serde_json::from_str(job.update_twin.unwrap().get()).unwrap();
    assert_eq!(
        body,
        json!({ "etag": "*", "tags": { "floor": 1 }, "properties": { "desired": { "fan": 1 } } })
    );
    assert!(job.cloud_to_device_method.is_none());
    for name in ["a", "b"] {
        let twin = twin(&hub, name).await;
        assert_eq!((&twin["tags"]["floor"], &twin["properties"]["desired"]["fan"]), (&json!(1), &json!(1)));
        assert_eq!(twin["properties"]["desired"]["$version"], 2, "one change");
        assert_eq!(hub.end_of("j", name).await, COMPLETED);
    }
    assert_eq!(twin(&hub, "c").await["tags"], json!({}));
    let notices = std::future::poll_fn(|cx| device.connection().poll_outgoing(cx));
    assert!(matches!(notices.await, Outgoing::Messages | Outgoing::Desired(_)));
    hub.create_job(twin_job("m", "FROM devices.modules WHERE deviceId = 'b'")).await;
    assert_eq!(twin(&hub, "b/m").await["tags"]["floor"], 1);
    assert_eq!(hub.counts("m").await, [0, 1, 0, 0]);
    let row = &hub.rows("m").await[0];
    assert_eq!((row.module_id.as_deref(), row.outcome.device_method_response.is_none()), (Some("m"), true));
}

#[tokio::test(start_paused = true)]
async fn more_devices_than_fit_into_a_page_or_a_batch_are_all_changed() {
    let hub = TestHub::start_with(|settings| settings.limits.queries.page_rows = 7).await;
    for number in 0..150 {
        hub.create(&format!("d{number}")).await;
    }
    hub.create_job(twin_job("j", "*")).await;
    for _ in 0..100 {
        run_ready_tasks().await;
    }
    assert_eq!((hub.status("j").await, hub.counts("j").await), (JobStatus::Completed, [0, 150, 0, 0]));
    for name in ["d0", "d77", "d149"] {
        assert_eq!(twin(&hub, name).await["properties"]["desired"]["$version"], 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_disabled_device_is_changed_and_a_deleted_or_full_one_fails() {
    let hub = TestHub::start().await;
    for name in ["a-gone", "disabled", "full"] {
        hub.create(name).await;
    }
    let service = hub.service().await;
    let body = serde_json::from_value(json!({ "deviceId": "disabled", "status": "disabled" })).unwrap();
    service.put_device(&DeviceId::new("disabled").unwrap(), &body, Some(&IfMatch::Any)).await.unwrap();
    let fill = |from: usize| {
        let tags: serde_json::Map<String, Value> =
            (from..from + 12).map(|number| (format!("t{number}"), "x".repeat(500).into())).collect();
        serde_json::from_value(json!({ "tags": tags })).unwrap()
    };
    service.patch_twin(&id("full"), fill(0), IfMatch::Any).await.unwrap();
    // The job is created and begins only when the tasks of the hub run.
    let work = JobWork::Twin(fill(100));
    hub.try_create_job(job("j", "*", work)).await.unwrap();
    hub.service().await.delete_device(&DeviceId::new("a-gone").unwrap(), &IfMatch::Any).await.unwrap();
    run_ready_tasks().await;
    let ends = hub.ends("j").await;
    assert_eq!(ends["disabled"], COMPLETED);
    assert_eq!(ends["full"], failed("ArgumentInvalid"), "its tags would be too large");
    assert!(ends.get("a-gone").is_none_or(|end| *end == failed("DeviceNotFound")));
    assert_eq!(hub.status("j").await, JobStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn what_no_twin_and_no_method_can_have_is_refused_at_once() {
    use ferrohub_model::ErrorCode::{ArgumentInvalid, ArgumentNull, JobAlreadyExists, MessageTooLarge};
    let hub = TestHub::start().await;
    let change = |value: Value| JobWork::Twin(serde_json::from_value(value).unwrap());
    let mut large = method_job("large", "*");
    if let JobWork::Method(call) = &mut large.work {
        call.payload = Some(format!("\"{}\"", "x".repeat(200_000)).into());
    }
    hub.create_job(twin_job("taken", "*")).await;
    let ahead = hub.now().plus_millis(11 * 365 * 24 * 3600 * 1000);
    for (job, code) in [
        (job("j", "*", change(json!({}))), ArgumentNull),
        (job("j", "*", change(json!({ "tags": { "a.b": 1 } }))), ArgumentInvalid),
        (twin_job("j", "SELECT * FROM devices"), ArgumentInvalid),
        (twin_job("j", ""), ArgumentInvalid),
        (twin_job("j", "FROM devices.jobs"), ArgumentInvalid),
        (twin_job("j", "deviceId = 'x'; DROP TABLE job"), ArgumentInvalid),
        (large, MessageTooLarge),
        (twin_job("taken", "*"), JobAlreadyExists),
        (ferrohub_core::jobs::NewJob { max_seconds: 0, ..twin_job("j", "*") }, ArgumentInvalid),
        (ferrohub_core::jobs::NewJob { max_seconds: u64::MAX, ..twin_job("j", "*") }, ArgumentInvalid),
        (ferrohub_core::jobs::NewJob { start: Some(ahead), ..twin_job("j", "*") }, ArgumentInvalid),
    ] {
        let text = format!("{job:?}");
        assert_eq!(hub.try_create_job(job).await.unwrap_err().code, code, "{text}");
    }
    let jobs = hub.service().await.list_jobs(&ferrohub_core::jobs::JobFilter::default()).await.unwrap().jobs;
    assert_eq!(jobs.len(), 1);
}
