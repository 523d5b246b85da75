//! Jobs and their rows.

use ferrohub_core::jobs::{
    AddedDevices, ChangedDevices, CreateJobOutcome, DeviceChange, DeviceEnd, DeviceState, HeldJob, JobAction,
    JobCounts, JobDefinition, JobEnd, JobLease, JobPhase, JobsRequest, StoredJob, TakeJobs,
};
use ferrohub_core::store::{Change, Refusal, Store};
use ferrohub_model::job::JobType;
use ferrohub_model::{DeviceId, JobId, Timestamp};

use super::OpenStore;
use super::twins::set;
use crate::changes::{apply, create, delete};
use crate::samples::{id, identity};

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_seconds(second)
}

fn job_id(text: &str) -> JobId {
    JobId::new(text).unwrap()
}

/// A method job from second 10 to second 70.
fn definition(id: &str) -> JobDefinition {
    JobDefinition {
        id: job_id(id),
        action: JobAction { job_type: JobType::DeviceMethod, body: r#"{"methodName":"é"}"#.to_owned() },
        condition: "tags.x = 'ü'".to_owned(),
        created: at(5),
        start: at(10),
        deadline: at(70),
    }
}

async fn add(store: &dyn Store, definition: &JobDefinition) -> StoredJob {
    match store.create_job(definition, 100).await.unwrap() {
        CreateJobOutcome::Created(job) => job,
        other => panic!("{other:?}"),
    }
}

async fn take(store: &dyn Store, holder: &str, now: i64, held: &[u64]) -> Vec<HeldJob> {
    let request =
        TakeJobs { holder: holder.to_owned(), held: held.to_vec(), now: at(now), expiry: at(now + 100) };
    store.take_jobs(&request).await.unwrap()
}

/// Adds a job with rows for these devices and modules, which exist, and returns its lease.
async fn running_job(store: &dyn Store, name: &str, ids: &[&str]) -> JobLease {
    add(store, &definition(name)).await;
    let taken = take(store, "node", 10, &[]).await;
    let lease = taken.into_iter().find(|held| held.job.definition.id == job_id(name)).unwrap().lease;
    let ids: Vec<_> = ids.iter().map(|name| id(name)).collect();
    assert_eq!(store.add_job_devices(lease, &ids, true, at(10)).await.unwrap(), AddedDevices::Added);
    lease
}

async fn create_devices(store: &dyn Store, names: &[&str]) {
    for name in names {
        create(store, &identity(name), 100).await.unwrap();
    }
}

async fn change(store: &dyn Store, lease: JobLease, changes: Vec<DeviceChange>) -> ChangedDevices {
    store.change_job_devices(lease, changes, at(20)).await.unwrap().unwrap()
}

async fn counts(store: &dyn Store, name: &str) -> [u64; 5] {
    let JobCounts { pending, waiting, running, completed, failed } =
        store.job(&job_id(name)).await.unwrap().unwrap().counts;
    [pending, waiting, running, completed, failed]
}

async fn open(store: &dyn Store, lease: JobLease) -> Vec<String> {
    let rows = store.open_job_devices(lease.number, None, 100).await.unwrap();
    rows.iter().map(|row| row.id.as_str().to_owned()).collect()
}

fn failure() -> DeviceEnd {
    DeviceEnd::Failed { code: "DeviceNotOnline".to_owned(), description: "it's \"off\"".to_owned() }
}

pub async fn a_job_is_read_back_as_it_was_created(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    let first = add(store, &definition("a")).await;
    assert_eq!(*first.definition, definition("a"));
    assert_eq!((first.phase, first.ended, first.counts), (JobPhase::Waiting, None, JobCounts::default()));
    assert_eq!(store.job(&job_id("a")).await.unwrap(), Some(first.clone()));
    assert_eq!(store.job(&job_id("A")).await.unwrap(), None, "ids are case-sensitive");
    let taken = store.create_job(&definition("a"), 100).await.unwrap();
    assert_eq!(taken, CreateJobOutcome::Exists);
    assert_eq!(store.create_job(&definition("b"), 1).await.unwrap(), CreateJobOutcome::Full);
    store.cancel_job(&job_id("a"), at(6)).await.unwrap();
    let second = store.create_job(&definition("b"), 1).await.unwrap();
    assert!(matches!(second, CreateJobOutcome::Created(job) if job.number > first.number));
}

pub async fn jobs_are_listed_the_newest_first_and_bounded_by_number_and_size(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    for name in ["a", "b", "c", "d"] {
        let mut definition = definition(name);
        if name == "b" {
            definition.action.job_type = JobType::UpdateTwin;
        }
        if name == "c" {
            definition.start = at(50);
        }
        add(store, &definition).await;
    }
    store.cancel_job(&job_id("d"), at(6)).await.unwrap();
    let all = JobsRequest {
        job_type: None,
        phases: JobPhase::ALL.to_vec(),
        due: None,
        before: None,
        top: 10,
        bytes: usize::MAX,
    };
    let list = async |request: JobsRequest| {
        let found = store.jobs(&request).await.unwrap();
        (found.jobs.iter().map(|job| job.definition.id.to_string()).collect::<String>(), found.is_cut)
    };
    let plain = |names: &str| (names.to_owned(), false);
    assert_eq!(list(all.clone()).await, plain("dcba"));
    assert_eq!(list(JobsRequest { top: 2, ..all.clone() }).await, plain("dc"));
    assert_eq!(list(JobsRequest { bytes: 0, ..all.clone() }).await, ("d".to_owned(), true));
    let number = store.job(&job_id("c")).await.unwrap().unwrap().number;
    assert_eq!(list(JobsRequest { before: Some(number), ..all.clone() }).await, plain("ba"));
    assert_eq!(list(JobsRequest { job_type: Some(JobType::UpdateTwin), ..all.clone() }).await, plain("b"));
    let cancelled = JobsRequest { phases: vec![JobPhase::Cancelled], ..all.clone() };
    assert_eq!(list(cancelled).await, plain("d"));
    let waiting = JobsRequest { phases: vec![JobPhase::Waiting], ..all };
    assert_eq!(list(JobsRequest { due: Some((true, at(10))), ..waiting.clone() }).await, plain("ba"));
    assert_eq!(list(JobsRequest { due: Some((false, at(10))), ..waiting }).await, plain("c"));
}

pub async fn a_job_is_taken_when_it_is_due_by_one_holder(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    assert_eq!(store.next_job("a", &[]).await.unwrap(), None);
    let number = add(store, &definition("j")).await.number;
    assert_eq!(store.next_job("a", &[]).await.unwrap(), Some(at(10)));
    assert!(take(store, "a", 9, &[]).await.is_empty());
    let first = take(store, "a", 10, &[]).await.remove(0);
    assert_eq!((first.lease.fence, first.job.number), (1, number));
    assert_eq!(*first.job.definition, definition("j"));
    assert!(take(store, "a", 10, &[number]).await.is_empty(), "it runs it already");
    assert!(take(store, "b", 109, &[]).await.is_empty());
    assert_eq!(store.next_job("b", &[]).await.unwrap(), Some(at(110)), "when the lease ends");
    assert_eq!(store.next_job("a", &[number]).await.unwrap(), None);
    // A process that was started again has the same name.
    let again = take(store, "a", 11, &[]).await.remove(0).lease;
    assert_eq!(again.fence, 2);
    assert_eq!(store.renew_jobs(&[first.lease, again], at(500)).await.unwrap(), [first.lease]);
    assert!(take(store, "b", 499, &[]).await.is_empty());
    let other = take(store, "b", 500, &[]).await.remove(0).lease;
    assert_eq!(other.fence, 3);
    store.release_jobs(&[again]).await.unwrap();
    assert!(take(store, "a", 501, &[]).await.is_empty(), "a lost lease cannot be released");
    store.release_jobs(&[other]).await.unwrap();
    assert_eq!(store.renew_jobs(&[other], at(900)).await.unwrap(), [other]);
    assert_eq!(take(store, "a", 501, &[]).await.len(), 1);
}

pub async fn writes_with_a_lost_lease_change_nothing(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    create_devices(store, &["a", "b"]).await;
    let lost = running_job(store, "j", &["a", "b"]).await;
    let current = take(store, "node", 11, &[]).await.remove(0).lease;
    let begin = vec![DeviceChange::Begin(id("a"))];
    assert_eq!(store.change_job_devices(lost, begin.clone(), at(20)).await.unwrap(), None);
    assert_eq!(store.end_interrupted_devices(lost, &failure(), at(20)).await.unwrap(), None);
    assert_eq!(store.end_job(lost, &JobEnd::Failed("x".to_owned()), at(99)).await.unwrap(), None);
    let added = store.add_job_devices(lost, &[id("a")], true, at(20)).await.unwrap();
    assert_eq!(added, AddedDevices::NotSelecting);
    let row = |lease| Change::JobDevice { id: id("a"), lease, now: at(20) };
    assert_eq!(apply(store, vec![row(lost)]).await, Err(Refusal::JobDeviceNotOpen));
    assert_eq!(counts(store, "j").await, [2, 0, 0, 0, 0]);
    assert_eq!(change(store, current, begin).await.made, [true]);
}

pub async fn devices_are_selected_in_pages_and_each_has_one_row(open_store: impl OpenStore) {
    let store = open_store().await;
    let store = &**store;
    create_devices(store, &["a", "a-1", "b", "a/m"]).await;
    add(store, &definition("j")).await;
    let lease = take(store, "node", 10, &[]).await.remove(0).lease;
    assert_eq!(store.last_job_device(lease.number).await.unwrap(), None);
    let first = [id("a"), id("a-1"), id("gone")];
    assert_eq!(store.add_job_devices(lease, &first, false, at(10)).await.unwrap(), AddedDevices::Added);
    assert_eq!(store.job(&job_id("j")).await.unwrap().unwrap().phase, JobPhase::Selecting);
    assert_eq!(store.last_job_device(lease.number).await.unwrap(), Some(id("a-1")));
    assert!(store.open_jobs_of(&[DeviceId::new("a").unwrap()]).await.unwrap().is_empty(), "it does not run");
    let second = [id("a-1"), id("b"), id("a/m")];
    assert_eq!(store.add_job_devices(lease, &second, true, at(10)).await.unwrap(), AddedDevices::Added);
    assert_eq!(counts(store, "j").await, [4, 0, 0, 0, 0]);
    assert_eq!(open(store, lease).await, ["a", "a/m", "a-1", "b"]);
    let added = store.add_job_devices(lease, &[id("b")], true, at(10)).await.unwrap();
    assert_eq!(added, AddedDevices::NotSelecting);
    let page = store.open_job_devices(lease.number, Some(&id("a")), 2).await.unwrap();
    assert_eq!(page.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["a/m", "a-1"]);
    assert!(
        page.iter().all(|row| row.exists && row.generation_id == "17" && row.state == DeviceState::Pending)
    );
    let of_device = store.open_jobs_of(&[DeviceId::new("a").unwrap()]).await.unwrap();
    assert_eq!(
        of_device.iter().map(|(number, row)| (*number, row.id.as_str())).collect::<Vec<_>>(),
        [(lease.number, "a"), (lease.number, "a/m")]
    );
    delete(store, &id("a"), None).await.unwrap();
    delete(store, &id("b"), None).await.unwrap();
    let mut again = identity("b");
    again.generation_id = "18".to_owned();
    create(store, &again, 100).await.unwrap();
    let rows = store.open_job_devices(lease.number, None, 9).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.exists).collect::<Vec<_>>(), [false, false, true, false]);
}

pub async fn a_row_begins_and_ends_once(open_store: impl OpenStore) {
    let store = open_store().await;
    let store = &**store;
    create_devices(store, &["a", "b", "c"]).await;
    let lease = running_job(store, "j", &["a", "b", "c"]).await;
    let answered = DeviceEnd::Answered { status: -1, payload: "[1.50]".to_owned() };
    let (begin, end) = (DeviceChange::Begin(id("a")), DeviceChange::End(id("a"), answered));
    let changed = change(
        store,
        lease,
        vec![
            DeviceChange::Wait(id("a")),
            DeviceChange::Wait(id("a")),
            begin.clone(),
            begin.clone(),
            DeviceChange::GiveBack(id("a")),
            begin.clone(),
            end.clone(),
            end.clone(),
            begin.clone(),
            DeviceChange::GiveBack(id("a")),
            DeviceChange::Wait(id("a")),
            DeviceChange::Begin(id("unknown")),
            DeviceChange::End(id("b"), failure()),
        ],
    )
    .await;
    let made = [true, false, true, false, true, true, true, false, false, false, false, false, true];
    assert_eq!(changed.made, made);
    assert_eq!(changed.phase, JobPhase::Running);
    assert_eq!(counts(store, "j").await, [1, 0, 0, 1, 1]);
    assert_eq!(open(store, lease).await, ["c"]);
    // Not before all rows have ended, or the deadline has passed.
    let early = store.end_job(lease, &JobEnd::Completed, at(69)).await.unwrap().unwrap();
    assert_eq!(early.phase, JobPhase::Running);
    change(store, lease, vec![DeviceChange::Begin(id("c"))]).await;
    let running = store.end_job(lease, &JobEnd::Completed, at(70)).await.unwrap().unwrap();
    assert_eq!(running.phase, JobPhase::Running, "a row is running");
    assert_eq!(store.end_interrupted_devices(lease, &failure(), at(71)).await.unwrap(), Some(1));
    assert_eq!(store.end_interrupted_devices(lease, &failure(), at(71)).await.unwrap(), Some(0));
    let ended = store.end_job(lease, &JobEnd::Completed, at(72)).await.unwrap().unwrap();
    assert_eq!((ended.phase, ended.ended), (JobPhase::Completed, Some(at(72))));
    let again = store.end_job(lease, &JobEnd::Failed("x".to_owned()), at(73)).await.unwrap().unwrap();
    assert_eq!((again.phase, again.ended, again.failure), (JobPhase::Completed, Some(at(72)), None));
    assert_eq!(counts(store, "j").await, [0, 0, 0, 1, 2]);
}

pub async fn after_a_cancellation_nothing_begins_and_what_has_begun_ends(open_store: impl OpenStore) {
    let store = open_store().await;
    let store = &**store;
    create_devices(store, &["a", "b"]).await;
    let lease = running_job(store, "j", &["a", "b"]).await;
    change(store, lease, vec![DeviceChange::Begin(id("a"))]).await;
    let (cancelled, is_first) = store.cancel_job(&job_id("j"), at(30)).await.unwrap().unwrap();
    assert_eq!((cancelled.phase, cancelled.ended, is_first), (JobPhase::Cancelled, Some(at(30)), true));
    let (again, is_first) = store.cancel_job(&job_id("j"), at(31)).await.unwrap().unwrap();
    assert_eq!((again.ended, is_first), (Some(at(30)), false));
    assert!(store.cancel_job(&job_id("unknown"), at(31)).await.unwrap().is_none());
    let changed = change(
        store,
        lease,
        vec![
            DeviceChange::Begin(id("b")),
            DeviceChange::End(id("b"), failure()),
            DeviceChange::End(id("a"), failure()),
        ],
    )
    .await;
    assert_eq!((changed.made, changed.phase), (vec![false, false, true], JobPhase::Cancelled));
    let row = Change::JobDevice { id: id("b"), lease, now: at(40) };
    assert_eq!(apply(store, vec![row]).await, Err(Refusal::JobDeviceNotOpen));
    assert_eq!(counts(store, "j").await, [1, 0, 0, 0, 1]);
    assert!(take(store, "node", 41, &[]).await.is_empty(), "no work is left");
}

pub async fn an_ended_job_with_running_rows_is_taken_until_they_have_ended(open_store: impl OpenStore) {
    let store = open_store().await;
    let store = &**store;
    create_devices(store, &["a"]).await;
    let lease = running_job(store, "j", &["a"]).await;
    change(store, lease, vec![DeviceChange::Begin(id("a"))]).await;
    store.cancel_job(&job_id("j"), at(30)).await.unwrap();
    assert_eq!(store.next_job("node", &[]).await.unwrap(), Some(at(0)));
    let taken = take(store, "node", 31, &[]).await.remove(0);
    assert_eq!((taken.job.phase, taken.job.counts.running), (JobPhase::Cancelled, 1));
    assert_eq!(store.end_interrupted_devices(taken.lease, &failure(), at(31)).await.unwrap(), Some(1));
    assert!(take(store, "node", 32, &[]).await.is_empty());
    assert_eq!(store.next_job("node", &[]).await.unwrap(), None);
}

pub async fn a_twin_and_its_row_change_together_or_not_at_all(open_store: impl OpenStore) {
    let store = open_store().await;
    let store = &**store;
    create_devices(store, &["a", "b", "c"]).await;
    let lease = running_job(store, "j", &["a", "b", "c"]).await;
    let group = |name: &str| {
        vec![
            Change::JobDevice { id: id(name), lease, now: at(20) },
            Change::Twin { id: id(name), change: set("x") },
        ]
    };
    assert_eq!(apply(store, group("a")).await.unwrap().twins.len(), 1);
    assert_eq!(apply(store, group("a")).await, Err(Refusal::JobDeviceNotOpen));
    assert_eq!(store.twin(&id("a")).await.unwrap().unwrap().1.updates, 2, "one change");
    let mut refused = group("b");
    let error = ferrohub_model::HubError::new(ferrohub_model::ErrorCode::ArgumentInvalid, "no");
    let refusal = error.clone();
    refused[1] = Change::Twin { id: id("b"), change: Box::new(move |_| Err(refusal.clone())) };
    assert_eq!(apply(store, refused).await, Err(Refusal::Twin(error)));
    assert_eq!(counts(store, "j").await, [2, 0, 0, 1, 0]);
    delete(store, &id("c"), None).await.unwrap();
    assert_eq!(apply(store, group("c")).await, Err(Refusal::NotFound));
    let mut again = identity("c");
    again.generation_id = "18".to_owned();
    create(store, &again, 100).await.unwrap();
    assert_eq!(apply(store, group("c")).await, Err(Refusal::NotFound), "another device has the id");
    assert_eq!(store.twin(&id("c")).await.unwrap().unwrap().1.updates, 1);
    assert_eq!(open(store, lease).await, ["b", "c"]);
}

pub async fn old_jobs_are_removed_row_by_row_and_others_stay(open_store: impl OpenStore) {
    let store = open_store().await;
    let store = &**store;
    create_devices(store, &["a", "b", "c"]).await;
    let lease = running_job(store, "old", &["a", "b", "c"]).await;
    store.end_job(lease, &JobEnd::Completed, at(100)).await.unwrap().unwrap();
    let lease = running_job(store, "newer", &["a"]).await;
    store.end_job(lease, &JobEnd::Completed, at(200)).await.unwrap().unwrap();
    running_job(store, "running", &["a"]).await;
    assert_eq!(store.remove_old_jobs(at(100), 2).await.unwrap(), 0);
    let mut removed = Vec::new();
    loop {
        match store.remove_old_jobs(at(101), 2).await.unwrap() {
            0 => break,
            rows => removed.push(rows),
        }
    }
    assert_eq!(removed.iter().sum::<u64>(), 4, "three rows and a job: {removed:?}");
    assert!(removed.iter().all(|rows| *rows <= 3), "{removed:?}");
    assert_eq!(store.job(&job_id("old")).await.unwrap(), None);
    for name in ["newer", "running"] {
        assert!(store.job(&job_id(name)).await.unwrap().is_some());
    }
    add(store, &definition("old")).await;
}
