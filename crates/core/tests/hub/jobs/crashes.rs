//! A job goes on after its hub was killed, in any state, and calls no device twice.

use std::collections::BTreeMap;
use std::task::Poll;

use ferrohub_core::node::Outgoing;
use ferrohub_model::job::{DeviceJobStatus, JobStatus};

use super::{COMPLETED, answer, failed, method_job, next_call, twin_job};
use crate::test_hub::{TestHub, id, pass, run_ready_tasks, seconds};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

async fn hub_with_devices() -> TestHub {
    let hub = TestHub::start_with(|settings| {
        settings.limits.queries.page_rows = 2;
        settings.limits.jobs.concurrent_devices = 2;
    })
    .await;
    for name in NAMES {
        hub.create(name).await;
    }
    hub
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_cut_has_failed_and_devices_that_were_not_called_are_called() {
    let hub = hub_with_devices().await;
    let first = hub.listen("a").await;
    hub.create_job(method_job("j", "*")).await;
    next_call(&first).await.unwrap();
    assert_eq!(hub.counts("j").await, [0, 0, 1, 4]);
    let hub = hub.crash().await;
    run_ready_tasks().await;
    assert_eq!(hub.end_of("j", "a").await, failed("ServerError"));
    let text = hub.rows("j").await[0].error.as_ref().unwrap().description.clone();
    assert!(text.contains("may have run"), "{text}");
    assert_eq!((hub.status("j").await, hub.counts("j").await), (JobStatus::Running, [1, 0, 0, 4]));
    for name in NAMES {
        let device = hub.listen(name).await;
        match next_call(&device).await {
            Some(call) => answer(&device, call, 200).await,
            None => assert_eq!(name, "a", "{name} is called"),
        }
    }
    assert_eq!((hub.status("j").await, hub.counts("j").await), (JobStatus::Completed, [1, 4, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn the_calls_of_a_cancelled_job_end_after_a_crash_too() {
    let hub = hub_with_devices().await;
    let first = hub.listen("a").await;
    hub.create_job(method_job("j", "*")).await;
    next_call(&first).await.unwrap();
    hub.cancel_job("j").await;
    let hub = hub.crash().await;
    run_ready_tasks().await;
    assert_eq!((hub.status("j").await, hub.counts("j").await), (JobStatus::Cancelled, [1, 0, 0, 4]));
    assert_eq!(hub.end_of("j", "b").await, (DeviceJobStatus::Canceled, None));
}

#[tokio::test(start_paused = true)]
async fn a_restart_waits_for_calls_and_the_job_goes_on_after_it() {
    let hub = hub_with_devices().await;
    let first = hub.listen("a").await;
    hub.create_job(method_job("j", "*")).await;
    let call = next_call(&first).await.unwrap();
    let answering = tokio::spawn(async move {
        tokio::time::sleep(seconds(2)).await;
        answer(&first, call, 200).await;
    });
    let hub = hub.restart().await;
    answering.await.unwrap();
    run_ready_tasks().await;
    assert_eq!(hub.counts("j").await, [0, 1, 0, 4], "the answer is stored");
    let second = hub.listen("b").await;
    let call = next_call(&second).await.unwrap();
    answer(&second, call, 200).await;
    assert_eq!(hub.end_of("j", "b").await, COMPLETED);
}

/// The number of steps is more than a job of this size takes, so that every moment is hit.
#[tokio::test(start_paused = true)]
async fn at_every_step_a_killed_hub_goes_on_and_each_device_has_one_call_and_one_change() {
    for steps in 0..60 {
        let hub = hub_with_devices().await;
        let mut calls = BTreeMap::<&str, u32>::new();
        let mut devices = Vec::new();
        for name in ["a", "b", "d"] {
            devices.push((name, hub.listen(name).await));
        }
        hub.try_create_job(method_job("method", "*")).await.unwrap();
        hub.try_create_job(twin_job("twin", "*")).await.unwrap();
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        // What the hub has handed to devices when it is killed. Nothing else runs until its store is copied.
        for (name, device) in &devices {
            let next = std::future::poll_fn(|cx| Poll::Ready(device.connection().poll_outgoing(cx))).await;
            if matches!(next, Poll::Ready(Outgoing::Method(_))) {
                *calls.entry(name).or_default() += 1;
            }
        }
        let hub = hub.crash().await;
        let mut again = Vec::new();
        for name in NAMES {
            again.push((name, hub.listen(name).await));
        }
        for _ in 0..3 {
            for (name, device) in &again {
                while let Some(call) = next_call(device).await {
                    *calls.entry(name).or_default() += 1;
                    answer(device, call, 200).await;
                }
            }
        }
        pass(seconds(61)).await;
        assert_eq!(hub.status("method").await, JobStatus::Completed, "{steps}");
        assert_eq!(hub.status("twin").await, JobStatus::Completed, "{steps}");
        assert_eq!(hub.counts("twin").await, [0, 5, 0, 0], "{steps}");
        let [failed, succeeded, running, pending] = hub.counts("method").await;
        assert_eq!((failed + succeeded, running, pending), (5, 0, 0), "{steps}");
        assert!(calls.values().all(|calls| *calls == 1), "{steps}: {calls:?}");
        for name in NAMES {
            let twin = hub.service().await.get_twin(&id(name)).await.unwrap();
            let desired = twin.properties.unwrap().desired.unwrap();
            assert_eq!(desired["$version"], 2, "{steps} {name}");
        }
    }
}
