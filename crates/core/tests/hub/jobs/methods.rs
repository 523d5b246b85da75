//! Method jobs.

use ferrohub_core::close_reason::CloseReason;
use ferrohub_model::job::{DeviceJobStatus, JobStatus, JobType};
use ferrohub_model::{DeviceId, Timestamp};
use serde_json::json;

use super::{COMPLETED, answer, failed, method_job, next_call};
use crate::test_hub::{START, TestHub, pass, run_ready_tasks, seconds};

#[tokio::test(start_paused = true)]
async fn connected_devices_are_called_at_once_and_the_others_when_they_connect() {
    let hub = TestHub::start().await;
    for name in ["a", "b", "c"] {
        hub.create(name).await;
    }
    let first = hub.listen("a").await;
    let created = hub.create_job(method_job("j", "deviceId IN ['a', 'b']")).await;
    assert_eq!((created.status, created.end_time), (JobStatus::Queued, None));
    assert_eq!(created.device_job_statistics.unwrap().device_count, 0, "not selected yet");
    assert_eq!(hub.status("j").await, JobStatus::Running);
    assert_eq!(hub.counts("j").await, [0, 0, 1, 1]);
    assert_eq!(hub.end_of("j", "b").await, (DeviceJobStatus::Scheduled, None));
    let call = next_call(&first).await.unwrap();
    // A device that answers with an error has done its part.
    answer(&first, call, 404).await;
    assert_eq!(hub.end_of("j", "a").await, COMPLETED);
    assert_eq!(hub.counts("j").await, [0, 1, 0, 1]);
    pass(seconds(20)).await;
    let second = hub.connect("b").await;
    run_ready_tasks().await;
    assert!(next_call(&second).await.is_none(), "it is not subscribed yet");
    assert_eq!(hub.counts("j").await, [0, 1, 0, 1]);
    let second = hub.listen("b").await;
    let call = next_call(&second).await.unwrap();
    answer(&second, call, 200).await;
    let job = hub.job("j").await;
    assert_eq!((job.status, job.job_type.as_str()), (JobStatus::Completed, "scheduleDeviceMethod"));
    assert_eq!(job.end_time, Some(START.plus_millis(20_000)));
    assert_eq!(hub.counts("j").await, [0, 2, 0, 0]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(job.cloud_to_device_method.unwrap().get()).unwrap(),
        json!({ "methodName": "reboot", "payload": { "delay": 1.0 }, "responseTimeoutInSeconds": 30,
            "connectTimeoutInSeconds": 0 })
    );
    let rows = hub.rows("j").await;
    let response = rows[0].outcome.device_method_response.clone().unwrap();
    assert_eq!((response.status, response.payload), (404, json!({ "ok": true })));
    assert_eq!(rows[1].outcome.device_method_response.as_ref().unwrap().status, 200);
    assert_eq!((rows[0].job_type, rows[0].job_id.as_str()), (JobType::DeviceMethod, "j"));
    assert_eq!((rows[0].start_time_utc, rows[0].end_time_utc), (START, START.plus_millis(60_000)));
    assert_eq!(rows[1].last_updated_date_time_utc, START.plus_millis(20_000));
    assert!(next_call(&first).await.is_none() && next_call(&second).await.is_none(), "each is called once");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_without_an_answer_fails_its_device_and_is_not_repeated() {
    let hub = TestHub::start().await;
    for name in ["lost", "silent", "taken-over", "bad"] {
        hub.create(name).await;
    }
    let (lost, silent) = (hub.listen("lost").await, hub.listen("silent").await);
    let (old, bad) = (hub.listen("taken-over").await, hub.listen("bad").await);
    hub.create_job(method_job("j", "*")).await;
    next_call(&lost).await.unwrap();
    lost.disconnected(CloseReason::Lost).await;
    next_call(&silent).await.unwrap();
    next_call(&old).await.unwrap();
    let new = hub.listen("taken-over").await;
    let call = next_call(&bad).await.unwrap();
    let not_json = ferrohub_core::node::MethodReply { status: 200, payload: "{".into() };
    bad.answer_method(call, Ok(not_json));
    pass(seconds(29)).await;
    assert_eq!(hub.counts("j").await, [3, 0, 1, 0]);
    pass(seconds(1)).await;
    let ends = hub.ends("j").await;
    assert_eq!(ends["lost"], failed("DeviceNotOnline"));
    assert_eq!(ends["silent"], failed("GatewayTimeout"));
    assert_eq!(ends["taken-over"], failed("ConnectionForcefullyClosedOnNewConnection"));
    assert_eq!(ends["bad"], failed("GenericBadGateway"));
    for row in hub.rows("j").await.iter().filter(|row| row.device_id != "bad") {
        let text = &row.error.as_ref().unwrap().description;
        assert!(text.ends_with("The method may have run."), "{text}");
    }
    assert_eq!(hub.status("j").await, JobStatus::Completed);
    assert!(next_call(&new).await.is_none());
    let again = hub.listen("lost").await;
    assert!(next_call(&again).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_not_sent_is_made_on_the_next_connection() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    let device = hub.listen("d").await;
    hub.create_job(method_job("j", "*")).await;
    // The device disconnects before its protocol handler takes the call.
    device.disconnected(CloseReason::ClientDisconnect).await;
    run_ready_tasks().await;
    assert_eq!(hub.end_of("j", "d").await, (DeviceJobStatus::Scheduled, None));
    assert_eq!(hub.counts("j").await, [0, 0, 0, 1]);
    pass(seconds(10)).await;
    let device = hub.listen("d").await;
    let call = next_call(&device).await.unwrap();
    answer(&device, call, 200).await;
    assert_eq!(hub.status("j").await, JobStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn modules_are_called_by_a_condition_on_modules() {
    let hub = TestHub::start().await;
    for name in ["d", "e", "d/m", "d/n", "e/m"] {
        hub.create(name).await;
    }
    let modules = [hub.listen("d/m").await, hub.listen("e/m").await];
    let others = [hub.listen("d").await, hub.listen("d/n").await];
    hub.create_job(method_job("j", "FROM devices.modules WHERE moduleId = 'm'")).await;
    for module in &modules {
        let call = next_call(module).await.unwrap();
        answer(module, call, 200).await;
    }
    for other in &others {
        assert!(next_call(other).await.is_none());
    }
    let ends = hub.ends("j").await;
    assert_eq!(ends.keys().map(String::as_str).collect::<Vec<_>>(), ["d/m", "e/m"]);
    assert_eq!(hub.status("j").await, JobStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_device_fails_at_once_and_a_device_that_is_created_again_is_not_called() {
    let hub = TestHub::start().await;
    for name in ["deleted", "again", "module", "module/m", "disabled"] {
        hub.create(name).await;
    }
    hub.create_job(method_job("j", "deviceId != 'module'")).await;
    hub.create_job(method_job("m", "FROM devices.modules")).await;
    let service = hub.service().await;
    let any = ferrohub_core::registry::IfMatch::Any;
    for name in ["deleted", "again", "module"] {
        service.delete_device(&DeviceId::new(name).unwrap(), &any).await.unwrap();
    }
    hub.create("again").await;
    let again = hub.listen("again").await;
    assert!(next_call(&again).await.is_none());
    let body = serde_json::from_value(json!({ "deviceId": "disabled", "status": "disabled" })).unwrap();
    service.put_device(&DeviceId::new("disabled").unwrap(), &body, Some(&any)).await.unwrap();
    run_ready_tasks().await;
    let ends = hub.ends("j").await;
    assert_eq!(ends["deleted"], failed("DeviceNotFound"));
    assert_eq!(ends["again"], failed("DeviceNotFound"), "another device has this id");
    assert_eq!(ends["disabled"], (DeviceJobStatus::Scheduled, None), "it may be enabled again");
    assert_eq!(hub.end_of("m", "module/m").await, failed("ModuleNotFound"));
    assert_eq!(hub.status("m").await, JobStatus::Completed);
    pass(seconds(60)).await;
    assert_eq!(hub.end_of("j", "disabled").await, failed("JobRunPreconditionFailed"));
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_matches_nothing_gives_a_completed_job() {
    let hub = TestHub::start().await;
    for (id, condition) in [("devices", "tags.x = 1"), ("modules", "FROM devices.modules")] {
        hub.create_job(method_job(id, condition)).await;
        assert_eq!((hub.status(id).await, hub.counts(id).await), (JobStatus::Completed, [0; 4]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_starts_at_its_time_with_the_devices_of_that_time() {
    let hub = TestHub::start().await;
    hub.create("a").await;
    let start = Some(START.plus_millis(3_600_000));
    hub.create_job(ferrohub_core::jobs::NewJob { start, ..method_job("later", "*") }).await;
    assert_eq!((hub.status("later").await, hub.counts("later").await), (JobStatus::Scheduled, [0; 4]));
    let device = hub.listen("a").await;
    pass(seconds(3599)).await;
    assert!(next_call(&device).await.is_none());
    hub.create("b").await;
    pass(seconds(1)).await;
    let call = next_call(&device).await.unwrap();
    answer(&device, call, 200).await;
    assert_eq!(hub.counts("later").await, [0, 1, 0, 1]);
    hub.create("c").await;
    hub.listen("c").await;
    pass(seconds(59)).await;
    assert_eq!(hub.status("later").await, JobStatus::Running);
    pass(seconds(1)).await;
    assert_eq!(hub.counts("later").await, [1, 1, 0, 0], "the devices are those of the start");
    // A start in the past is now, and the time of the job begins now.
    let start = Some(Timestamp::from_unix_seconds(0));
    let job = hub.create_job(ferrohub_core::jobs::NewJob { start, ..method_job("past", "*") }).await;
    assert_eq!((job.start_time, job.max_execution_time_in_seconds), (Some(hub.now()), Some(60)));
    assert_eq!(hub.status("past").await, JobStatus::Running);
}
