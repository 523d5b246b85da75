//! The limits of jobs.

use ferrohub_core::jobs::{JobFilter, NewJob};
use ferrohub_model::job::{JobStatus, JobType};
use ferrohub_model::{ErrorCode, JobId};

use super::{answer, method_job, next_call, twin_job};
use crate::test_hub::{START, TestHub, hours, pass, run_ready_tasks, seconds};

#[tokio::test(start_paused = true)]
async fn the_refusal_of_one_job_too_many_names_the_limit() {
    let hub = TestHub::start_with(|settings| settings.limits.jobs.active = 2).await;
    hub.create("d").await;
    let start = Some(START.plus_millis(3_600_000));
    hub.create_job(method_job("running", "*")).await;
    hub.create_job(NewJob { start, ..twin_job("scheduled", "*") }).await;
    let refused = hub.try_create_job(twin_job("refused", "*")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ThrottlingMaxActiveJobCountExceeded);
    assert!(refused.message.contains("2 (jobs.max_active)"), "{refused}");
    hub.cancel_job("scheduled").await;
    hub.create_job(twin_job("refused", "*")).await;
    assert_eq!(hub.status("refused").await, JobStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_job_and_a_node_call_a_limited_number_of_devices_at_the_same_time() {
    let hub = TestHub::start_with(|settings| {
        settings.limits.jobs.concurrent_devices = 2;
        settings.limits.jobs.concurrent_devices_per_node = 3;
    })
    .await;
    let mut devices = Vec::new();
    for number in 0..8 {
        let name = format!("d{number}");
        hub.create(&name).await;
        devices.push(hub.listen(&name).await);
    }
    hub.create_job(method_job("first", "deviceId < 'd4'")).await;
    hub.create_job(method_job("second", "deviceId >= 'd4'")).await;
    let mut in_flight = Vec::new();
    for round in 0..4 {
        for (index, device) in devices.iter().enumerate() {
            while let Some(call) = next_call(device).await {
                in_flight.push((index, call));
            }
        }
        let running = hub.counts("first").await[2] + hub.counts("second").await[2];
        assert!(running <= 3 && running == in_flight.len() as u64, "{round}: {running}");
        for (index, call) in in_flight.drain(..) {
            answer(&devices[index], call, 200).await;
        }
    }
    assert_eq!((hub.counts("first").await, hub.counts("second").await), ([0, 4, 0, 0], [0, 4, 0, 0]));
    assert_eq!(hub.status("second").await, JobStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn an_ended_job_and_its_rows_are_removed_after_their_time() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    hub.create_job(twin_job("old", "*")).await;
    pass(hours(24)).await;
    hub.create_job(twin_job("newer", "*")).await;
    pass(hours(29 * 24 - 1)).await;
    assert_eq!(hub.status("old").await, JobStatus::Completed);
    pass(hours(2)).await;
    let gone = hub.service().await.get_job(&JobId::new("old").unwrap()).await.unwrap_err();
    assert_eq!(gone.code, ErrorCode::JobNotFound);
    assert!(hub.rows("old").await.is_empty() && hub.rows("newer").await.len() == 1);
    hub.create_job(twin_job("old", "*")).await;
}

#[tokio::test(start_paused = true)]
async fn jobs_are_listed_by_type_and_state_in_pages_the_newest_first() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    let start = Some(START.plus_millis(3_600_000));
    for number in 0..3 {
        hub.create_job(twin_job(&format!("twin{number}"), "*")).await;
    }
    hub.create_job(method_job("method", "*")).await;
    hub.create_job(NewJob { start, ..method_job("later", "*") }).await;
    hub.create_job(method_job("cancelled", "*")).await;
    hub.cancel_job("cancelled").await;
    let service = hub.service().await;
    let list = async |filter: JobFilter| {
        let page = service.list_jobs(&filter).await.unwrap();
        (page.jobs.into_iter().map(|job| job.job_id).collect::<Vec<_>>(), page.next)
    };
    let all = ["cancelled", "later", "method", "twin2", "twin1", "twin0"];
    assert_eq!(list(JobFilter::default()).await.0, all);
    let by_type = |job_type| JobFilter { job_type: Some(job_type), ..JobFilter::default() };
    let by_status = |status| JobFilter { status: Some(status), ..JobFilter::default() };
    assert_eq!(list(by_type(JobType::UpdateTwin)).await.0, all[3..]);
    assert_eq!(list(by_type(JobType::DeviceMethod)).await.0, all[..3]);
    for (status, expected) in [
        (JobStatus::Scheduled, &all[1..2]),
        (JobStatus::Queued, &[]),
        (JobStatus::Running, &all[2..3]),
        (JobStatus::Completed, &all[3..]),
        (JobStatus::Failed, &[]),
        (JobStatus::Cancelled, &all[..1]),
        (JobStatus::Unknown, &[]),
        (JobStatus::Enqueued, &[]),
    ] {
        assert_eq!(list(by_status(status)).await.0, expected, "{status:?}");
    }
    for size in 1..7 {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let (jobs, next) = list(JobFilter { top: Some(size), before, ..JobFilter::default() }).await;
            assert!(!jobs.is_empty() && jobs.len() <= size);
            found.extend(jobs);
            before = next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(found, all, "{size}");
    }
    run_ready_tasks().await;
    pass(seconds(1)).await;
}
