//! Import and export jobs, and identities that change with the progress of one.

use ferrohub_core::import_export::{
    DeferredLine, Job, JobProgress, JobRecord, JobRequest, JobRun, NewJobOutcome,
};
use ferrohub_core::store::{Change, ChangeGroup, Store};
use ferrohub_model::Timestamp;
use ferrohub_model::import_export::{JobStatus, JobType};

use super::OpenStore;
use crate::samples::{id, identity};

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_seconds(second)
}

/// A new job with every field set to a value other than its default.
fn job(id: &str) -> Job {
    let container = Some("https://a/c?sig=x".to_owned());
    Job {
        id: id.to_owned(),
        request: JobRequest {
            kind: JobType::Import,
            input_container: container,
            input_blob: "in.txt".to_owned(),
            output_container: "https://b/c?sig=y".to_owned(),
            output_blob: "out.txt".to_owned(),
            exclude_keys: true,
            include_configurations: true,
            configurations_blob: "c.txt".to_owned(),
        },
        status: JobStatus::Enqueued,
        created: at(1),
        ended: None,
        run: 0,
        progress: JobProgress {
            etag: Some("0x1".to_owned()),
            bytes: u64::from(u32::MAX) + 7,
            ..JobProgress::default()
        },
        failure: None,
    }
}

async fn begin(store: &dyn Store, id: &str) -> JobRun {
    let job = store.begin_run(id).await.unwrap().unwrap();
    assert_eq!((job.status, job.id.as_str()), (JobStatus::Running, id));
    JobRun { job: job.id, run: job.run }
}

fn offset(offset: u64) -> JobRecord {
    JobRecord {
        progress: JobProgress { offset, settled: [u64::MAX, 1], ..JobProgress::default() },
        ..JobRecord::default()
    }
}

fn line(number: u64) -> DeferredLine {
    DeferredLine { number, text: format!("{{\"id\":\"é{number}\"}}") }
}

pub async fn jobs_are_read_back_and_a_limited_number_is_active(open: impl OpenStore) {
    let store = open().await;
    assert_eq!(store.next_import_export_job().await.unwrap(), None);
    assert_eq!(store.create_import_export_job(&job("a"), 2).await.unwrap(), NewJobOutcome::Created);
    assert_eq!(store.create_import_export_job(&job("b"), 2).await.unwrap(), NewJobOutcome::Created);
    assert_eq!(store.create_import_export_job(&job("c"), 2).await.unwrap(), NewJobOutcome::Full);
    assert_eq!(store.import_export_job("a").await.unwrap(), Some(job("a")));
    assert_eq!(store.import_export_job("c").await.unwrap(), None);
    let ids: Vec<String> =
        store.import_export_jobs(10).await.unwrap().into_iter().map(|job| job.id).collect();
    assert_eq!(ids, ["b", "a"]);
    assert_eq!(store.import_export_jobs(1).await.unwrap(), [job("b")]);
    assert_eq!(store.next_import_export_job().await.unwrap(), Some(job("a")));
    let run = begin(&**store, "a").await;
    assert_eq!(store.next_import_export_job().await.unwrap().unwrap().id, "a", "a job that runs is next");
    assert!(store.end_run(&run, None, at(5)).await.unwrap());
    assert_eq!(store.next_import_export_job().await.unwrap().unwrap().id, "b");
    assert_eq!(store.create_import_export_job(&job("c"), 2).await.unwrap(), NewJobOutcome::Created);
    assert_eq!(store.expire_import_export_jobs(at(4)).await.unwrap(), 0);
    assert_eq!(store.expire_import_export_jobs(at(5)).await.unwrap(), 1);
    assert_eq!(store.import_export_jobs(10).await.unwrap().len(), 2);
}

pub async fn only_the_present_run_of_a_job_writes(open: impl OpenStore) {
    let store = open().await;
    store.create_import_export_job(&job("a"), 9).await.unwrap();
    let old = begin(&**store, "a").await;
    assert!(store.record_run(&old, &offset(1)).await.unwrap());
    let new = begin(&**store, "a").await;
    assert!(!store.record_run(&old, &offset(2)).await.unwrap());
    assert!(!store.end_run(&old, None, at(2)).await.unwrap());
    assert_eq!(store.import_export_job("a").await.unwrap().unwrap().progress, offset(1).progress);
    assert!(store.record_run(&new, &offset(3)).await.unwrap());
    assert!(store.end_run(&new, Some("why"), at(2)).await.unwrap());
    let ended = store.import_export_job("a").await.unwrap().unwrap();
    assert_eq!(
        (ended.status, ended.failure.as_deref(), ended.ended),
        (JobStatus::Failed, Some("why"), Some(at(2)))
    );
    assert_eq!(ended.progress.offset, 3);
    assert!(
        !store.record_run(&new, &offset(4)).await.unwrap()
            && !store.end_run(&new, None, at(3)).await.unwrap()
    );
    assert_eq!(store.begin_run("a").await.unwrap(), None);
    assert_eq!(store.begin_run("b").await.unwrap(), None);
    assert_eq!(store.cancel_import_export_job("a", at(9)).await.unwrap(), Some(ended), "an ended job stays");
    assert_eq!(store.cancel_import_export_job("b", at(9)).await.unwrap(), None);
    store.create_import_export_job(&job("b"), 9).await.unwrap();
    let cancelled = store.cancel_import_export_job("b", at(9)).await.unwrap().unwrap();
    assert_eq!((cancelled.status, cancelled.ended), (JobStatus::Cancelled, Some(at(9))));
}

pub async fn errors_and_deferred_lines_are_kept_until_the_job_ends(open: impl OpenStore) {
    let store = open().await;
    store.create_import_export_job(&job("a"), 9).await.unwrap();
    store.create_import_export_job(&job("b"), 9).await.unwrap();
    let (run, other) = (begin(&**store, "a").await, begin(&**store, "b").await);
    let errors = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let record = JobRecord { errors: errors(&["1", "2"]), deferred: vec![line(7), line(3)], ..offset(1) };
    assert!(store.record_run(&run, &record).await.unwrap());
    let record =
        JobRecord { errors: errors(&["3"]), deferred: vec![line(9)], resolved: vec![3, 4], ..offset(2) };
    assert!(store.record_run(&run, &record).await.unwrap());
    let record = JobRecord { errors: errors(&["x"]), deferred: vec![line(7)], ..offset(2) };
    assert!(store.record_run(&other, &record).await.unwrap());
    assert_eq!(store.import_export_errors("a", 0, 2).await.unwrap(), ["1", "2"]);
    assert_eq!(store.import_export_errors("a", 2, 2).await.unwrap(), ["3"]);
    assert_eq!(store.deferred_lines("a", 0, 1).await.unwrap(), [line(7)]);
    assert_eq!(store.deferred_lines("a", 7, 9).await.unwrap(), [line(9)]);
    assert!(store.end_run(&run, None, at(2)).await.unwrap());
    assert_eq!(store.import_export_errors("a", 0, 9).await.unwrap(), [""; 0]);
    assert_eq!(store.deferred_lines("a", 0, 9).await.unwrap(), []);
    assert_eq!(store.import_export_errors("b", 0, 9).await.unwrap(), ["x"]);
}

pub async fn identities_and_the_progress_of_a_job_are_one_commit(open: impl OpenStore) {
    let store = open().await;
    store.create_import_export_job(&job("a"), 9).await.unwrap();
    let run = begin(&**store, "a").await;
    let create = |name: &str| ChangeGroup::from(Change::Create { identity: identity(name), limit: 100 });
    store.apply_group(create("e")).await.unwrap().unwrap();
    let record = Box::new(|outcomes: &[Result<_, _>]| {
        let is_done: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(is_done, [true, false]);
        JobRecord { errors: vec!["e".to_owned()], ..offset(5) }
    });
    let (outcomes, progress) =
        store.apply_for_job(vec![create("d"), create("e")], &run, record).await.unwrap().unwrap();
    assert_eq!((outcomes.len(), progress), (2, offset(5).progress));
    assert_eq!(store.import_export_job("a").await.unwrap().unwrap().progress, offset(5).progress);
    assert_eq!(store.import_export_errors("a", 0, 9).await.unwrap(), ["e"]);
    store.cancel_import_export_job("a", at(1)).await.unwrap();
    let delete = Change::Delete { id: id("d"), expected_etag: None };
    let record = Box::new(|_: &[Result<_, _>]| unreachable!("nothing is written"));
    let refused = store.apply_for_job(vec![delete.into()], &run, record).await.unwrap();
    assert!(refused.is_none());
    assert!(store.identity(&id("d")).await.unwrap().is_some(), "a cancelled job changes nothing");
}

pub async fn all_identities_are_read_in_pages_each_device_before_its_modules(open: impl OpenStore) {
    let store = open().await;
    // `!` comes before the `/` of a module's id.
    let expected = ["d", "d/a", "d/b", "d!", "d!/a", "e"];
    for name in ["e", "d!", "d", "d/b", "d!/a", "d/a"] {
        let create = Change::Create { identity: identity(name), limit: 100 };
        store.apply_group(create.into()).await.unwrap().unwrap();
    }
    for size in [1, 2, 4, 10] {
        let (mut found, mut last) = (Vec::new(), None);
        loop {
            let page = store.identities_with_twins(last.as_ref(), size).await.unwrap();
            let Some((identity, _)) = page.last() else { break };
            last = Some(identity.id.clone());
            found.extend(page.into_iter().map(|(identity, twin)| {
                assert_eq!(twin.updates, 1);
                identity.id.to_string()
            }));
        }
        assert_eq!(found, expected, "{size}");
    }
}
