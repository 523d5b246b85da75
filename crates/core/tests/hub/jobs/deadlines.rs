//! The deadline of a job, in every state.

use ferrohub_core::jobs::NewJob;
use ferrohub_model::job::{DeviceJobStatus, JobStatus};

use super::{COMPLETED, answer, failed, method_job, next_call, twin_job};
use crate::test_hub::{START, TestHub, pass, run_ready_tasks, seconds};

#[tokio::test(start_paused = true)]
async fn devices_that_do_not_connect_fail_at_the_deadline_and_calls_end_with_it() {
    let hub = TestHub::start().await;
    for name in ["answers", "late", "offline"] {
        hub.create(name).await;
    }
    let (answers, late) = (hub.listen("answers").await, hub.listen("late").await);
    hub.create_job(NewJob { max_seconds: 20, ..method_job("j", "*") }).await;
    let call = next_call(&answers).await.unwrap();
    next_call(&late).await.unwrap();
    pass(seconds(19)).await;
    answer(&answers, call, 200).await;
    assert_eq!((hub.status("j").await, hub.counts("j").await), (JobStatus::Running, [0, 1, 1, 1]));
    pass(seconds(1)).await;
    let job = hub.job("j").await;
    assert_eq!(job.status, JobStatus::Completed, "devices that failed do not fail the job");
    let ended = job.end_time.unwrap().unix_millis() - START.unix_millis();
    assert!((20_000..21_000).contains(&ended), "{ended}");
    let ends = hub.ends("j").await;
    assert_eq!(ends["answers"], COMPLETED);
    assert_eq!(ends["late"], failed("GatewayTimeout"), "the call may take 30 s, but not longer than the job");
    assert_eq!(ends["offline"], failed("JobRunPreconditionFailed"));
    assert_eq!(hub.counts("j").await, [2, 1, 0, 0]);
    let offline = &hub.rows("j").await[2];
    assert_eq!(
        offline.error.as_ref().unwrap().description,
        "The job did not start within specified period: either device did not come online or invalid endTime \
         specified."
    );
    assert_eq!(offline.last_updated_date_time_utc, job.end_time.unwrap());
    let device = hub.listen("offline").await;
    assert!(next_call(&device).await.is_none(), "it is too late");
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_time_was_over_while_the_hub_was_down_ends_with_its_devices() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    let start = Some(START.plus_millis(100_000));
    hub.create_job(NewJob { start, ..method_job("method", "*") }).await;
    hub.create_job(NewJob { start, ..twin_job("twin", "*") }).await;
    hub.create_job(NewJob { max_seconds: 300, ..method_job("running", "*") }).await;
    assert_eq!(hub.end_of("running", "d").await, (DeviceJobStatus::Scheduled, None));
    let hub = {
        let clock_runs_on = hub.crash();
        clock_runs_on.await
    };
    hub.hub.background().stop().await;
    pass(seconds(3600)).await;
    let hub = hub.crash().await;
    run_ready_tasks().await;
    for id in ["method", "twin", "running"] {
        assert_eq!(
            (hub.status(id).await, hub.counts(id).await),
            (JobStatus::Completed, [1, 0, 0, 0]),
            "{id}"
        );
        assert_eq!(hub.end_of(id, "d").await, failed("JobRunPreconditionFailed"), "{id}");
    }
    let twin = hub.service().await.get_twin(&crate::test_hub::id("d")).await.unwrap();
    assert!(twin.tags.unwrap().is_empty(), "nothing is done after the deadline");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_connects_in_the_last_second_is_called() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    hub.create_job(method_job("j", "*")).await;
    pass(seconds(59)).await;
    let device = hub.listen("d").await;
    let call = next_call(&device).await.unwrap();
    answer(&device, call, 200).await;
    assert_eq!((hub.status("j").await, hub.end_of("j", "d").await), (JobStatus::Completed, COMPLETED));
}
