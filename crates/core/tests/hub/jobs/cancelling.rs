//! Cancelling a job at every moment of its life.

use ferrohub_core::jobs::NewJob;
use ferrohub_model::job::{DeviceJobStatus, JobStatus};
use ferrohub_model::{ErrorCode, JobId};

use super::{COMPLETED, answer, method_job, next_call, twin_job};
use crate::test_hub::{START, TestHub, pass, run_ready_tasks, seconds};

#[tokio::test(start_paused = true)]
async fn a_job_that_has_not_begun_never_begins() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    let device = hub.listen("d").await;
    let start = Some(START.plus_millis(10_000));
    hub.create_job(NewJob { start, ..method_job("j", "*") }).await;
    let cancelled = hub.cancel_job("j").await;
    assert_eq!((cancelled.status, cancelled.end_time), (JobStatus::Cancelled, Some(START)));
    pass(seconds(20)).await;
    assert!(next_call(&device).await.is_none());
    assert_eq!(hub.counts("j").await, [0; 4]);
    // Before the tasks of the hub have run even once.
    hub.try_create_job(method_job("at-once", "*")).await.unwrap();
    assert_eq!(hub.cancel_job("at-once").await.status, JobStatus::Cancelled);
    pass(seconds(20)).await;
    assert!(next_call(&device).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn calls_that_were_sent_go_on_to_their_end_and_no_others_begin() {
    let hub = TestHub::start().await;
    for name in ["offline", "sent"] {
        hub.create(name).await;
    }
    let sent = hub.listen("sent").await;
    hub.create_job(method_job("j", "*")).await;
    let call = next_call(&sent).await.unwrap();
    pass(seconds(1)).await;
    assert_eq!(hub.cancel_job("j").await.status, JobStatus::Cancelled);
    assert_eq!(hub.counts("j").await, [0, 0, 1, 1]);
    let ends = hub.ends("j").await;
    assert_eq!(ends["offline"], (DeviceJobStatus::Canceled, None));
    assert_eq!(ends["sent"], (DeviceJobStatus::Running, None));
    let offline = hub.listen("offline").await;
    assert!(next_call(&offline).await.is_none());
    answer(&sent, call, 200).await;
    assert_eq!(hub.end_of("j", "sent").await, COMPLETED);
    assert_eq!(hub.counts("j").await, [0, 1, 0, 1]);
    let rows = hub.rows("j").await;
    assert_eq!(rows[0].last_updated_date_time_utc, START.plus_millis(1000));
    assert_eq!(hub.job("j").await.end_time, Some(START.plus_millis(1000)));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_has_ended_stays_as_it_is() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    hub.create_job(twin_job("j", "*")).await;
    pass(seconds(5)).await;
    assert_eq!(hub.cancel_job("j").await.status, JobStatus::Completed);
    hub.create_job(method_job("m", "*")).await;
    let first = hub.cancel_job("m").await.end_time;
    pass(seconds(5)).await;
    let second = hub.cancel_job("m").await;
    assert_eq!((second.status, second.end_time), (JobStatus::Cancelled, first));
    let unknown = hub.service().await.cancel_job(&JobId::new("unknown").unwrap()).await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::JobNotFound);
}

/// The number of steps is more than a job of this size takes, so that every moment is hit.
#[tokio::test(start_paused = true)]
async fn at_every_step_of_a_job_rows_end_once_and_statistics_add_up() {
    for steps in 0..60 {
        let hub = TestHub::start_with(|settings| {
            settings.limits.queries.page_rows = 2;
            settings.limits.jobs.concurrent_devices = 2;
        })
        .await;
        let mut devices = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            hub.create(name).await;
            if name != "c" {
                devices.push(hub.listen(name).await);
            }
        }
        hub.try_create_job(method_job("method", "*")).await.unwrap();
        hub.try_create_job(twin_job("twin", "*")).await.unwrap();
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        for id in ["method", "twin"] {
            hub.cancel_job(id).await;
        }
        let mut called = 0;
        for device in &devices {
            if let Some(call) = next_call(device).await {
                answer(device, call, 200).await;
                called += 1;
            }
            assert!(next_call(device).await.is_none());
        }
        pass(seconds(100)).await;
        let (method, twin) = (hub.counts("method").await, hub.counts("twin").await);
        assert_eq!((method[0], method[1], method[2]), (0, called, 0), "{steps}");
        assert_eq!((twin[0], twin[2]), (0, 0), "{steps}");
        let mut changed = 0;
        for name in ["a", "b", "c", "d", "e"] {
            let twin = hub.service().await.get_twin(&crate::test_hub::id(name)).await.unwrap();
            changed += u64::from(!twin.tags.unwrap().is_empty());
        }
        assert_eq!(twin[1], changed, "{steps}");
        run_ready_tasks().await;
    }
}
