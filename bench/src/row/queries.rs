//! P11: queries on the twins of a fleet, and calls beside them.
//!
//! The hub answers over HTTPS with JSON. PostgreSQL runs the same questions on a `jsonb` column, through `pgbench` on a
//! socket without TLS; it has no calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use ferrohub_core::registry;
use ferrohub_core::store::{Change, ChangeGroup, Store as _};
use ferrohub_core::twins::{TwinDocument, TwinLimits, UpdateMode};
use ferrohub_model::device::Device;
use ferrohub_model::{DeviceId, IdentityId, Timestamp};
use ferrohub_store::{SqliteStore, StoreMetrics};
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Scale;
use crate::load::calls::{Callers, Pace};
use crate::load::device::{Fleet, key, name};
use crate::load::dial::Dial;
use crate::load::http::HttpLink;
use crate::load::run_all;
use crate::report::Report;
use crate::server::ferrohub::Hub;
use crate::server::postgres::{self, pgbench};
use crate::server::{Environment, Protocol, Server};

const ROW: &str = "P11";
/// The path that both servers have an index for.
const INDEXED_PATH: &str = "tags.site";
/// Number of different values at that path.
const SITES: usize = 1000;
/// Pages that are read for one sample.
const PAGES: usize = 50;
/// Scans for one sample.
const SCANS: usize = 2;
/// Scans that run at the same time beside calls: as many as the hub runs.
const CONCURRENT_SCANS: usize = 2;
/// Calls per second beside the scans.
const CALLS_PER_SECOND: u64 = 2000;

/// A question to both servers.
struct Question {
    metric: &'static str,
    hub: &'static str,
    postgres: &'static str,
    repeats: usize,
}

const QUESTIONS: [Question; 3] = [
    Question {
        metric: "first page of all twins, ms",
        hub: "SELECT * FROM devices",
        postgres: "SELECT id, doc FROM twin ORDER BY id LIMIT 100;\n",
        repeats: PAGES,
    },
    Question {
        metric: "first page of an indexed equality, ms",
        hub: "SELECT * FROM devices WHERE tags.site = 'site-7'",
        postgres: "SELECT id, doc FROM twin WHERE doc->'tags'->>'site' = 'site-7' ORDER BY id LIMIT 100;\n",
        repeats: PAGES,
    },
    Question {
        metric: "count by a full scan, ms",
        hub: SCAN,
        postgres: "SELECT count(*) FROM twin WHERE (doc->'reported'->>'temperature')::float8 > 90;\n",
        repeats: SCANS,
    },
];

/// A query that has to look at each twin.
const SCAN: &str = "SELECT COUNT() AS n FROM devices WHERE properties.reported.temperature > 90";

/// Returns what a service writes to a twin, and what its device reports.
fn content(number: usize) -> (Value, Value) {
    let change = json!({
        "tags": { "site": format!("site-{}", number % SITES), "floor": number % 20, "owner": "maintenance" },
        "properties": { "desired": { "interval": number % 60, "thresholds": { "low": 10, "high": 80 } } },
    });
    let temperature = (number * 37 % 1000) as f64 / 10.0;
    (change, json!({ "temperature": temperature, "firmware": format!("1.{}.0", number % 7) }))
}

/// Returns how many twins [`SCAN`] counts.
fn expected_count(twins: usize) -> usize {
    (0..twins).filter(|number| number * 37 % 1000 > 900).count()
}

/// Returns the twin of a device.
fn twin(number: usize, now: Timestamp) -> anyhow::Result<TwinDocument> {
    let (change, reported) = content(number);
    let (change, reported) = (serde_json::from_value(change)?, serde_json::from_value(reported)?);
    let limits = TwinLimits::default();
    let twin = TwinDocument::default()
        .with_change(UpdateMode::Merge, &change, now, &limits)
        .and_then(|twin| twin.with_reported(&reported, None, now, &limits));
    twin.map_err(|error| anyhow::anyhow!("{}", error.message))
}

/// Creates devices and their twins in the store of a hub that does not run.
async fn fill_hub(hub: &Hub, twins: usize) -> anyhow::Result<()> {
    let mut metrics = prometheus_client::registry::Registry::default();
    let store = Arc::new(SqliteStore::open(&hub.data(), StoreMetrics::register(&mut metrics))?);
    let now = Timestamp::from_unix_seconds(1_800_000_000);
    let key = key().to_base64();
    let device: Device = serde_json::from_value(json!({
        "deviceId": "",
        "authentication": { "type": "sas", "symmetricKey": { "primaryKey": key, "secondaryKey": key } },
    }))?;
    let create = (0..twins).map(|number| {
        let (store, device) = (store.clone(), device.clone());
        async move {
            let id: IdentityId = DeviceId::new(&name(number))?.into();
            let identity = registry::apply_device(&id, &device, None, now)
                .map_err(|error| anyhow::anyhow!("{}", error.message))?;
            let twin = twin(number, now)?;
            let change = Change::Twin { id, change: Box::new(move |_| Ok(twin.clone())) };
            let group = vec![Change::Create { identity, limit: u64::MAX }, change];
            let outcome = store.apply_group(ChangeGroup(group)).await?;
            ensure!(outcome.is_ok(), "{outcome:?}");
            Ok(())
        }
    });
    run_all(2048, create).await?;
    store.close().await;
    Ok(())
}

/// Creates the same twins in PostgreSQL.
async fn fill_postgres(server: &Server, twins: usize) -> anyhow::Result<()> {
    let fill = format!(
        "INSERT INTO twin SELECT 'bench-' || n, jsonb_build_object('tags', jsonb_build_object('site', \
         'site-' || n % {SITES}, 'floor', n % 20, 'owner', 'maintenance'), 'desired', jsonb_build_object('interval', \
         n % 60, 'thresholds', jsonb_build_object('low', 10, 'high', 80)), 'reported', jsonb_build_object(\
         'temperature', (n::bigint * 37 % 1000) / 10.0, 'firmware', '1.' || n % 7 || '.0')) \
         FROM generate_series(0, {}) n",
        twins - 1
    );
    for statement in [
        "CREATE TABLE twin (id text PRIMARY KEY, doc jsonb NOT NULL)",
        &fill,
        "CREATE INDEX ON twin ((doc->'tags'->>'site'), id)",
        "VACUUM (ANALYZE) twin",
        "CHECKPOINT",
    ] {
        postgres::sql(server.address, statement).await?;
    }
    let scan = "SELECT count(*) FROM twin WHERE (doc->'reported'->>'temperature')::float8 > 90";
    let counted: usize = postgres::sql(server.address, scan).await?.trim().parse()?;
    ensure!(counted == expected_count(twins), "PostgreSQL counts {counted}");
    Ok(())
}

/// Sends a query and returns the rows.
async fn query(link: &mut HttpLink, text: &str) -> anyhow::Result<Vec<Value>> {
    let body = json!({ "query": text }).to_string();
    let answer = link.send(Method::POST, "/devices/query?api-version=2021-04-12", body.into()).await?;
    Ok(serde_json::from_slice(&answer)?)
}

/// Counts by a full scan.
async fn scan(link: &mut HttpLink, twins: usize) -> anyhow::Result<()> {
    let rows = query(link, SCAN).await?;
    let counted = rows.first().and_then(|row| row.get("n")?.as_u64()).context("no count")?;
    ensure!(counted == expected_count(twins) as u64, "the hub counts {counted}");
    Ok(())
}

/// The hub with its twins, of which some have connected devices.
struct Bench {
    server: Server,
    twins: usize,
    fleet: Fleet,
    callers: Callers,
    /// One for each concurrent scan.
    links: Vec<HttpLink>,
}

impl Bench {
    async fn start(environment: &Environment, scale: &Scale) -> anyhow::Result<Self> {
        let twins = scale.registered;
        let hub =
            Hub::prepare_with(environment, &format!("queries = {{ indexed_paths = [\"{INDEXED_PATH}\"] }}"))?;
        fill_hub(&hub, twins).await?;
        let server = hub.start("ferrohub", &environment.hub, environment).await?;
        let dial = server.dial(&environment.pki, false)?;
        let devices = scale.devices.min(twins);
        let fleet = Fleet::connect(&server, &dial, devices).await?;
        let callers = Callers::connect(&server, &dial, scale.callers, devices, scale.payload).await?;
        let Protocol::Hub { https, token, .. } = &server.protocol else { anyhow::bail!("not a hub") };
        let dial = Dial { address: *https, ..dial };
        let mut links = Vec::new();
        for _ in 0..CONCURRENT_SCANS {
            links.push(HttpLink::open(&dial, token).await?);
        }
        Ok(Self { server, twins, fleet, callers, links })
    }

    async fn answer(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let link = self.links.first_mut().context("no connection")?;
        for question in &QUESTIONS {
            let (cpu, begun) = (self.server.cpu()?, Instant::now());
            for _ in 0..question.repeats {
                let rows = query(link, question.hub).await?;
                ensure!(!rows.is_empty(), "{}: no rows", question.hub);
            }
            let each = begun.elapsed().as_secs_f64() * 1e3 / question.repeats as f64;
            report.add(ROW, question.metric, "ferrohub", None, each);
            let cpu = (self.server.cpu()? - cpu).as_secs_f64() * 1e3 / question.repeats as f64;
            eprintln!("{ROW} ferrohub {}: {each:.2}, {cpu:.2} ms CPU", question.metric);
        }
        scan(link, self.twins).await
    }

    /// Makes calls at a fixed rate, with or without scans beside them. Returns the 99th percentile in milliseconds. A call that
    /// fails is an error.
    async fn calls(&mut self, time: Duration, with_scans: bool) -> anyhow::Result<f64> {
        let stop = Arc::new(AtomicBool::new(!with_scans));
        let mut scans = JoinSet::new();
        for mut link in self.links.drain(..) {
            let (stop, twins) = (stop.clone(), self.twins);
            scans.spawn(async move {
                let mut done = 0_usize;
                while !stop.load(Ordering::Relaxed) {
                    scan(&mut link, twins).await?;
                    done += 1;
                }
                anyhow::Ok((link, done))
            });
        }
        let outcome = self.callers.run(Pace::Open(CALLS_PER_SECOND, time)).await;
        stop.store(true, Ordering::Relaxed);
        let mut scanned = 0;
        while let Some(ended) = scans.join_next().await {
            let (link, done) = ended??;
            self.links.push(link);
            scanned += done;
        }
        let outcome = outcome?;
        ensure!(!with_scans || scanned > 0, "no scan ended");
        ensure!(self.fleet.lost() == 0, "{} devices lost their connection", self.fleet.lost());
        let p99 = outcome.latencies.value_at_quantile(0.99) as f64 / 1e3;
        eprintln!("{ROW} ferrohub: {} calls beside {scanned} scans: p99 {p99:.2} ms", outcome.calls);
        Ok(p99)
    }
}

/// Returns the milliseconds of each question to PostgreSQL.
async fn ask_postgres(server: &Server, report: &mut Report) -> anyhow::Result<()> {
    for question in &QUESTIONS {
        let rate = pgbench(server.address, question.postgres, 1, question.repeats).await?;
        report.add(ROW, question.metric, server.name, None, 1e3 / rate);
        eprintln!("{ROW} {} {}: {:.2}", server.name, question.metric, 1e3 / rate);
    }
    Ok(())
}

async fn start_postgres(environment: &Environment, twins: usize) -> anyhow::Result<Server> {
    let server = postgres::start(environment).await?;
    fill_postgres(&server, twins).await?;
    Ok(server)
}

/// P11: the hub, and PostgreSQL for the queries.
pub(crate) async fn queries(
    environment: &Environment,
    scale: &Scale,
    report: &mut Report,
) -> anyhow::Result<()> {
    let database = match start_postgres(environment, scale.registered).await {
        Ok(server) => {
            report.add_server(server.name, &server.version);
            Some(server)
        }
        Err(error) => {
            report.add_missing(format!("{ROW} postgresql: {error:#}"));
            None
        }
    };
    let mut hub = Bench::start(environment, scale).await?;
    report.add_server(hub.server.name, &hub.server.version);
    let time = Duration::from_secs(scale.seconds);
    // The first round warms up.
    let mut ignored = Report::default();
    for round in 0..=scale.rounds {
        let report = if round == 0 { &mut ignored } else { &mut *report };
        hub.answer(report).await?;
        if let Some(server) = &database {
            ask_postgres(server, report).await?;
        }
        let alone = hub.calls(time, false).await?;
        let beside_scans = hub.calls(time, true).await?;
        report.add(ROW, "p99 of 2,000 calls per second, ms", "ferrohub", None, alone);
        report.add(ROW, "p99 of calls beside scans, ms", "ferrohub", None, beside_scans);
        report.add(ROW, "p99 beside scans / p99 alone", "ferrohub", None, beside_scans / alone);
    }
    hub.fleet.disconnect().await;
    Ok(())
}
