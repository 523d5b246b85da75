//! Random queries on the rows of random jobs.

use std::sync::Arc;

use ferrohub_core::jobs::{
    CreateJobOutcome, DeviceChange, DeviceEnd, DeviceState, JobAction, JobDefinition, JobEnd, JobRow,
    JobStore as _, StoredJob, TakeJobs, run_jobs_in_memory,
};
use ferrohub_core::queries::{PageItems, PageRequest, QueryLimits, QueryStore as _};
use ferrohub_model::job::JobType;
use ferrohub_model::{IdentityId, JobId, Timestamp};
use ferrohub_query::Query;
use ferrohub_query::plan::Collection;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use crate::fixture::{Fleet, parse, stored};
use crate::generate;

const IDS: [&str; 7] = ["a", "b", "a-1", "a.1", "'", "a/m", "b/$edgeAgent"];

/// How a job ends.
#[derive(Debug, Clone)]
enum Ending {
    Runs,
    Cancelled,
    Completed,
    Failed,
}

#[derive(Debug, Clone)]
struct RandomJob {
    is_twin: bool,
    start: i64,
    /// The state of the row of each id, and the payload of an answer.
    rows: Vec<(DeviceState, Option<&'static str>)>,
    ending: Ending,
}

fn job() -> impl Strategy<Value = RandomJob> {
    let payload =
        proptest::option::of(select(vec!["null", "1.50", "{\"a\":[1,{\"b\":\"it's\"}]}", "\"\\u0000é\""]));
    let row = (select(DeviceState::ALL.to_vec()), payload);
    let ending = select(vec![Ending::Runs, Ending::Cancelled, Ending::Completed, Ending::Failed]);
    (any::<bool>(), 0..3_i64, vec(row, IDS.len()), ending)
        .prop_map(|(is_twin, start, rows, ending)| RandomJob { is_twin, start, rows, ending })
}

/// Stores a job, and returns it with its rows.
async fn store(fleet: &Fleet, number: usize, random: &RandomJob) -> Vec<(StoredJob, JobRow)> {
    let (store, at) = (&fleet.store, Timestamp::from_unix_millis);
    let id = JobId::new(["x", "B", "it's", "y"][number]).unwrap();
    let job_type = if random.is_twin { JobType::UpdateTwin } else { JobType::DeviceMethod };
    let definition = JobDefinition {
        id: id.clone(),
        action: JobAction { job_type, body: "{}".to_owned() },
        condition: "*".to_owned(),
        created: at(random.start),
        start: at(random.start),
        deadline: at(2),
    };
    let created = store.create_job(&definition, 99).await.unwrap();
    assert!(matches!(created, CreateJobOutcome::Created(_)));
    let request = TakeJobs { holder: "n".to_owned(), held: Vec::new(), now: at(9), expiry: at(99) };
    let taken = store.take_jobs(&request).await.unwrap();
    let lease = taken.iter().find(|held| held.job.definition.id == id).unwrap().lease;
    let ids: Vec<IdentityId> = IDS.iter().map(|id| id.parse().unwrap()).collect();
    store.add_job_devices(lease, &ids, true, at(3)).await.unwrap();
    let mut rows = Vec::new();
    for (id, (state, payload)) in ids.iter().zip(&random.rows) {
        let failed =
            DeviceEnd::Failed { code: "DeviceNotFound".to_owned(), description: "it's gone".to_owned() };
        let completed = match payload {
            None => DeviceEnd::Changed,
            Some(payload) => DeviceEnd::Answered { status: -7, payload: (*payload).to_owned() },
        };
        let (changes, end) = match state {
            DeviceState::Pending => (vec![], None),
            DeviceState::Waiting => (vec![DeviceChange::Wait(id.clone())], None),
            DeviceState::Running => (vec![DeviceChange::Begin(id.clone())], None),
            DeviceState::Completed => {
                (vec![DeviceChange::End(id.clone(), completed.clone())], Some(completed))
            }
            DeviceState::Failed => (vec![DeviceChange::End(id.clone(), failed.clone())], Some(failed)),
        };
        let updated = if changes.is_empty() { at(3) } else { at(4) };
        store.change_job_devices(lease, changes, at(4)).await.unwrap().unwrap();
        rows.push(JobRow { id: id.clone(), state: *state, updated, end });
    }
    match random.ending {
        Ending::Runs => {}
        Ending::Cancelled => drop(store.cancel_job(&id, at(5)).await.unwrap()),
        Ending::Completed => drop(store.end_job(lease, &JobEnd::Completed, at(6)).await.unwrap()),
        Ending::Failed => {
            drop(store.end_job(lease, &JobEnd::Failed("it's bad".to_owned()), at(7)).await.unwrap());
        }
    }
    let job = store.job(&id).await.unwrap().unwrap();
    rows.sort_by_key(|row| (row.id.device_str().to_owned(), row.id.module_str().map(str::to_owned)));
    rows.into_iter().map(|row| (job.clone(), row)).collect()
}

async fn check(fleet: &Fleet, rows: &[(StoredJob, JobRow)], query: &Query, page_rows: usize) -> usize {
    let mut request: PageRequest = fleet.request(query, page_rows);
    let mut found = Vec::new();
    loop {
        let page =
            fleet.store.run_query(request.clone()).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        let PageItems::Rows(items) = page.items else { panic!("not rows") };
        assert!(items.len() <= page_rows);
        found.extend(items);
        request.position = page.next;
        if request.position.is_none() {
            break;
        }
    }
    let all = PageRequest {
        query: Arc::new(query.clone()),
        rows: usize::MAX,
        position: None,
        limits: QueryLimits { page_bytes: usize::MAX, ..QueryLimits::default() },
        live: request.live.clone(),
    };
    let PageItems::Rows(expected) = run_jobs_in_memory(&all, rows.iter().cloned()).items else { panic!() };
    assert_eq!(found, expected, "{query}");
    found.len()
}

fn query() -> impl Strategy<Value = Query> {
    generate::query().prop_filter("only jobs", |query| query.filter.collection == Collection::Jobs)
}

/// Queries whose conditions are true for some rows.
const QUERIES: [&str; 14] = [
    "SELECT * FROM devices.jobs",
    "SELECT * FROM devices.jobs WHERE jobId = 'it\\'s'",
    "SELECT * FROM devices.jobs WHERE deviceId = 'a'",
    "SELECT * FROM devices.jobs WHERE deviceId = 'a' AND NOT IS_DEFINED(moduleId)",
    "SELECT * FROM devices.jobs WHERE STARTSWITH(deviceId, 'a') AND jobType = 'scheduleUpdateTwin'",
    "SELECT * FROM devices.jobs WHERE status IN ['canceled', 'failed']",
    "SELECT * FROM devices.jobs WHERE status = 'scheduled' OR status = 'pending' OR status = 'running'",
    "SELECT * FROM devices.jobs WHERE startTimeUtc > '1970-01-01T00:00:00.0000000Z'",
    "SELECT * FROM devices.jobs WHERE lastUpdatedDateTimeUtc >= '1970-01-01T00:00:00.0050000Z'",
    "SELECT * FROM devices.jobs WHERE error.code = 'JobRunPreconditionFailed'",
    "SELECT * FROM devices.jobs WHERE IS_DEFINED(error) AND CONTAINS(error.description, 'it\\'s')",
    "SELECT * FROM devices.jobs WHERE outcome.deviceMethodResponse.status < 0",
    "SELECT * FROM devices.jobs WHERE outcome.deviceMethodResponse.payload.a[1].b = 'it\\'s'",
    "SELECT * FROM devices.jobs WHERE IS_OBJECT(outcome) AND NOT IS_DEFINED(outcome.deviceMethodResponse)",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_query_on_jobs_has_the_same_result_in_the_store_as_in_memory(
        jobs in vec(job(), 4),
        queries in vec((query(), 1..5_usize), 60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fleet = Fleet::new(IDS.iter().map(|id| stored(id, json!({}))).collect()).await;
            let mut rows = Vec::new();
            for (number, job) in jobs.iter().enumerate() {
                rows.extend(store(&fleet, number, job).await);
            }
            for (query, page_rows) in &queries {
                check(&fleet, &rows, &Query { top: None, ..query.clone() }, *page_rows).await;
            }
            for (index, text) in QUERIES.iter().enumerate() {
                let found = check(&fleet, &rows, &parse(text), index % 4 + 1).await;
                assert!(index > 0 || found == 4 * IDS.len());
            }
        });
    }
}
