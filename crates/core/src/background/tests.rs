use std::sync::atomic::AtomicU32;

use tokio::time::{Instant, sleep};

use super::*;
use crate::metrics::counter;

/// Counts how often a task was started.
fn counting(starts: &Arc<AtomicU32>) -> u32 {
    starts.fetch_add(1, Ordering::SeqCst) + 1
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_is_started_again_counted_and_named_until_it_has_run_well() {
    let background = Background::default();
    let starts = Arc::new(AtomicU32::new(0));
    background.start("one", {
        let starts = starts.clone();
        move |mut stop| {
            let start = counting(&starts);
            async move {
                assert_ne!(start, 1, "planted");
                stop.requested().await;
            }
        }
    });
    sleep(FIRST_BACKOFF / 2).await;
    let down = background.problems().pop().unwrap();
    assert!(down.starts_with("the background task one is down: ") && down.contains("planted"), "{down}");
    assert!(down.ends_with("; the hub starts it again after 0.1 s"), "{down}");
    sleep(FIRST_BACKOFF).await;
    let again = background.problems().pop().unwrap();
    assert!(again.starts_with("the background task one was started again after a failure: "), "{again}");
    sleep(RECOVERED_AFTER).await;
    assert_eq!(background.problems(), [""; 0]);
    assert_eq!(counter(&background.shared.failures, "one").get(), 1);
    assert_eq!(starts.load(Ordering::SeqCst), 2);
    background.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_although_nobody_stopped_it_is_started_again() {
    let background = Background::default();
    background.start("short", |_| async {});
    sleep(FIRST_BACKOFF / 2).await;
    let problem = background.problems().pop().unwrap();
    assert_eq!(problem, "the background task short is down: it ended; the hub starts it again after 0.1 s");
    background.stop().await;
    let failures = counter(&background.shared.failures, "short").get();
    sleep(MAX_BACKOFF * 2).await;
    assert_eq!(counter(&background.shared.failures, "short").get(), failures, "a stopped task stays down");
}

#[tokio::test(start_paused = true)]
async fn the_back_off_doubles_up_to_its_maximum_and_begins_again_after_the_task_has_run_well() {
    let background = Background::default();
    let runs = Arc::new(Mutex::new(Vec::new()));
    let (began, times) = (Instant::now(), runs.clone());
    background.start("failing", move |_| {
        let start = {
            let mut times = times.lock().unwrap();
            times.push(began.elapsed());
            times.len()
        };
        async move {
            if start == 12 {
                sleep(RECOVERED_AFTER * 2).await;
            }
            panic!("planted")
        }
    });
    sleep(Duration::from_secs(600)).await;
    background.stop().await;
    let runs = runs.lock().unwrap();
    let delays: Vec<u64> =
        runs.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64().round() as u64).collect();
    let expected = [0, 0, 0, 1, 2, 3, 6, 13, 26, 30, 30];
    assert_eq!(delays[..11], expected, "{runs:?}");
    assert_eq!(delays[11], 20, "it ran well, and its back-off was the first one");
    assert_eq!(delays[12..15], [0, 0, 1], "{runs:?}");
}

#[tokio::test(start_paused = true)]
async fn a_function_that_panics_before_it_returns_the_task_is_called_again() {
    let background = Background::default();
    let starts = Arc::new(AtomicU32::new(0));
    background.start("eager", {
        let starts = starts.clone();
        move |mut stop| {
            assert_ne!(counting(&starts), 1, "planted");
            async move { stop.requested().await }
        }
    });
    sleep(FIRST_BACKOFF * 2).await;
    assert_eq!(starts.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_the_end_of_a_task_but_not_for_ever() {
    let background = Background::default();
    let ended = Arc::new(AtomicU32::new(0));
    background.start("polite", {
        let ended = ended.clone();
        move |mut stop| {
            let ended = ended.clone();
            async move {
                stop.requested().await;
                sleep(STOP_TIMEOUT / 2).await;
                counting(&ended);
            }
        }
    });
    background.start("deaf", |_| std::future::pending());
    tokio::task::yield_now().await;
    let began = Instant::now();
    background.stop().await;
    assert_eq!(began.elapsed(), STOP_TIMEOUT);
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    assert_eq!(background.problems(), [""; 0], "a task that was stopped has not failed");
    assert_eq!(Arc::strong_count(&background.shared), 1, "no task is left");
}

#[tokio::test(start_paused = true)]
async fn a_supervised_future_ends_when_its_own_stop_is_requested() {
    let background = Background::default();
    let stop = watch::Sender::new(false);
    let starts = Arc::new(AtomicU32::new(0));
    let task = background.supervise("listener", stop.subscribe().into(), {
        let starts = starts.clone();
        move |mut stop: Stop| {
            let start = counting(&starts);
            async move {
                assert_ne!(start, 1, "planted");
                stop.requested().await;
            }
        }
    });
    let task = tokio::spawn(task);
    sleep(FIRST_BACKOFF * 2).await;
    background.stop().await;
    assert!(!task.is_finished());
    stop.send_replace(true);
    task.await.unwrap();
    assert_eq!(starts.load(Ordering::SeqCst), 2);
}
