//! P13: jobs on a large fleet, and calls beside them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use hyper::Method;
use serde_json::{Value, json};

use super::fleet::{LargeFleet, count};
use super::{Scale, per};
use crate::load::http::HttpLink;
use crate::report::Report;
use crate::server::Environment;

const ROW: &str = "P13";
/// Devices of a job.
const DEVICES: usize = 100_000;
/// Devices that are connected; a process may open 20,000 files. The others stay offline until the end of the job.
const CONNECTED: usize = 15_000;
/// Duration of a method job, in seconds. The connected devices answer in a part of it.
const METHOD_JOB_SECONDS: u64 = 12;
/// How often the state of a job is read.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What is read of a job.
struct State {
    ended: bool,
    succeeded: usize,
    failed: usize,
}

async fn state(link: &mut HttpLink, id: &str) -> anyhow::Result<State> {
    let body = link.send(Method::GET, &path(id), Default::default()).await?;
    let job: Value = serde_json::from_slice(&body)?;
    let number = |name: &str| {
        let number =
            job["deviceJobStatistics"][name].as_u64().with_context(|| format!("no {name}: {job}"))?;
        anyhow::Ok(number as usize)
    };
    let ended = match job["status"].as_str().context("no status")? {
        "completed" => true,
        "queued" | "scheduled" | "running" => false,
        other => bail!("the job is {other}: {job}"),
    };
    Ok(State { ended, succeeded: number("succeededCount")?, failed: number("failedCount")? })
}

/// Polls a job until `is_done`. Returns its state and the time since `begun`.
async fn wait(
    link: &mut HttpLink,
    id: &str,
    begun: Instant,
    is_done: impl Fn(&State) -> bool,
) -> anyhow::Result<(State, Duration)> {
    loop {
        let state = state(link, id).await?;
        if is_done(&state) {
            return Ok((state, begun.elapsed()));
        }
        ensure!(begun.elapsed() < Duration::from_secs(300), "the job {id} does not end");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn path(id: &str) -> String {
    format!("/jobs/v2/{id}?api-version=2021-04-12")
}

/// Starts a job that sets `tags.round` of all twins.
async fn start_twin_job(link: &mut HttpLink, round: usize) -> anyhow::Result<String> {
    let id = format!("twins-{round}");
    let job = json!({ "jobId": id, "type": "scheduleUpdateTwin", "queryCondition": "*",
        "updateTwin": { "etag": "*", "tags": { "round": round } }, "maxExecutionTimeInSeconds": 600 });
    link.send(Method::PUT, &path(&id), job.to_string().into()).await?;
    Ok(id)
}

/// Starts a job that calls all devices.
async fn start_method_job(link: &mut HttpLink, round: usize) -> anyhow::Result<String> {
    let id = format!("methods-{round}");
    let job = json!({ "jobId": id, "type": "scheduleDeviceMethod", "queryCondition": "*",
        "cloudToDeviceMethod": { "methodName": "echo", "payload": "x", "responseTimeoutInSeconds": 10 },
        "maxExecutionTimeInSeconds": METHOD_JOB_SECONDS });
    link.send(Method::PUT, &path(&id), job.to_string().into()).await?;
    Ok(id)
}

/// Runs both jobs alone.
async fn alone(
    hub: &LargeFleet,
    link: &mut HttpLink,
    round: usize,
    connected: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut add = |what: &str, sample| report.add(ROW, what, "ferrohub", None, sample);
    let (cpu, begun) = (hub.server.cpu()?, Instant::now());
    let id = start_twin_job(link, round).await?;
    let (ended, took) = wait(link, &id, begun, |state| state.ended).await?;
    ensure!(ended.succeeded == hub.twins, "{} of {} twins were changed", ended.succeeded, hub.twins);
    let changed = count(link, &format!("tags.round = {round}")).await?;
    ensure!(changed == hub.twins, "{changed} twins have the tag");
    add("twins changed per second", hub.twins as f64 / took.as_secs_f64());
    add("CPU per twin, µs", per(hub.server.cpu()? - cpu, hub.twins as u64));
    eprintln!("{ROW} twin job: {:.0}/s", hub.twins as f64 / took.as_secs_f64());

    let (cpu, begun) = (hub.server.cpu()?, Instant::now());
    let id = start_method_job(link, round).await?;
    let (_, took) = wait(link, &id, begun, |state| state.succeeded == connected).await?;
    add("devices called per second", connected as f64 / took.as_secs_f64());
    let (ended, whole) = wait(link, &id, begun, |state| state.ended).await?;
    ensure!(
        ended.succeeded == connected && ended.failed == hub.twins - connected,
        "{} succeeded, {} failed",
        ended.succeeded,
        ended.failed
    );
    let late = whole.as_secs_f64() - METHOD_JOB_SECONDS as f64;
    add("end of a method job after its deadline, s", late);
    add("CPU of a method job per device, µs", per(hub.server.cpu()? - cpu, hub.twins as u64));
    eprintln!("{ROW} method job: {:.0}/s, ended {late:.2} s late", connected as f64 / took.as_secs_f64());
    Ok(())
}

/// P13: jobs, and the calls beside them.
pub(crate) async fn jobs(
    environment: &Environment,
    scale: &Scale,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (twins, connected) = (scale.registered.min(DEVICES), scale.idle.min(CONNECTED));
    let mut hub = LargeFleet::start(environment, scale, "", twins, connected).await?;
    report.add_server(hub.server.name, &hub.server.version);
    let mut link = hub.connect().await?;
    let time = Duration::from_secs(scale.seconds);
    // The first round warms up.
    let mut ignored = Report::default();
    for round in 0..=scale.rounds {
        let report = if round == 0 { &mut ignored } else { &mut *report };
        hub.settle().await?;
        let plain = hub.calls(time).await?;
        let id = start_twin_job(&mut link, 1000 + round).await?;
        let beside_twins = hub.calls(time).await?;
        wait(&mut link, &id, Instant::now(), |state| state.ended).await?;
        let id = start_method_job(&mut link, 1000 + round).await?;
        let beside_methods = hub.calls(time).await?;
        wait(&mut link, &id, Instant::now(), |state| state.ended).await?;
        report.add(ROW, "p99 of 2,000 calls per second, ms", "ferrohub", None, plain);
        report.add(ROW, "p99 of calls beside a twin job / p99 alone", "ferrohub", None, beside_twins / plain);
        report.add(
            ROW,
            "p99 of calls beside a method job / p99 alone",
            "ferrohub",
            None,
            beside_methods / plain,
        );
        eprintln!("{ROW} p99: {plain:.2} ms alone, {beside_twins:.2} and {beside_methods:.2} beside jobs");
        alone(&hub, &mut link, round, connected, report).await?;
    }
    hub.disconnect().await;
    Ok(())
}
