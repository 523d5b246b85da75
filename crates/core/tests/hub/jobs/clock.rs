//! A wall clock that is set forward or back while a job runs.

use ferrohub_core::jobs::NewJob;
use ferrohub_model::job::JobStatus;

use super::{COMPLETED, answer, failed, method_job, next_call, twin_job};
use crate::test_hub::{START, TestHub, pass, run_ready_tasks, seconds};

const DAY: i64 = 24 * 3600 * 1000;
/// Longer than the hub sleeps without a look at the clock.
const SOON: u64 = 11;

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_forward_ends_a_job_whose_time_is_over() {
    let hub = TestHub::start().await;
    for name in ["a", "offline"] {
        hub.create(name).await;
    }
    let device = hub.listen("a").await;
    hub.create_job(NewJob { max_seconds: 600, ..method_job("j", "*") }).await;
    next_call(&device).await.unwrap();
    hub.clock.adjust(DAY);
    // The call that the device has goes on to its own time-out, which does not depend on the clock.
    pass(seconds(30 + SOON)).await;
    assert_eq!((hub.status("j").await, hub.counts("j").await), (JobStatus::Completed, [2, 0, 0, 0]));
    assert_eq!(hub.end_of("j", "a").await, failed("GatewayTimeout"));
    assert_eq!(hub.end_of("j", "offline").await, failed("JobRunPreconditionFailed"));
    let offline = hub.listen("offline").await;
    assert!(next_call(&offline).await.is_none() && next_call(&device).await.is_none());
    // The hub works with its new time.
    hub.create_job(twin_job("later", "*")).await;
    assert_eq!(hub.counts("later").await, [0, 2, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_prolongs_a_job_and_repeats_nothing() {
    let hub = TestHub::start().await;
    for name in ["a", "late"] {
        hub.create(name).await;
    }
    let device = hub.listen("a").await;
    hub.create_job(NewJob { max_seconds: 60, ..method_job("j", "*") }).await;
    let call = next_call(&device).await.unwrap();
    hub.clock.adjust(-DAY);
    answer(&device, call, 200).await;
    pass(seconds(600)).await;
    assert_eq!(hub.status("j").await, JobStatus::Running, "its end is a time of the clock");
    assert_eq!(hub.counts("j").await, [0, 1, 0, 1]);
    let late = hub.listen("late").await;
    let call = next_call(&late).await.unwrap();
    answer(&late, call, 200).await;
    pass(seconds(SOON)).await;
    assert_eq!((hub.status("j").await, hub.counts("j").await), (JobStatus::Completed, [0, 2, 0, 0]));
    assert!(next_call(&device).await.is_none() && next_call(&late).await.is_none(), "one call each");
    hub.create_job(twin_job("later", "*")).await;
    assert_eq!(hub.counts("later").await, [0, 2, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_starts_in_the_past_starts_at_once_and_has_all_its_time() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    let start = Some(START.plus_millis(-DAY));
    hub.create_job(NewJob { start, max_seconds: 60, ..method_job("j", "*") }).await;
    assert_eq!(hub.status("j").await, JobStatus::Running);
    pass(seconds(59)).await;
    let device = hub.listen("d").await;
    let call = next_call(&device).await.unwrap();
    answer(&device, call, 200).await;
    run_ready_tasks().await;
    assert_eq!((hub.status("j").await, hub.end_of("j", "d").await), (JobStatus::Completed, COMPLETED));
}
