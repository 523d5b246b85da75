//! P11: queries on the twins of a fleet, and calls beside them.
//!
//! The hub answers over HTTPS with JSON. PostgreSQL runs the same questions on a `jsonb` column, through `pgbench` on a
//! socket without TLS; it has no calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;

use super::Scale;
use super::fleet::{LargeFleet, SITES, count, query};
use crate::load::http::HttpLink;
use crate::report::Report;
use crate::server::postgres::{self, pgbench};
use crate::server::{Environment, Server};

const ROW: &str = "P11";
/// The path that both servers have an index for.
const INDEXED_PATH: &str = "tags.site";
/// Pages that are read for one sample.
const PAGES: usize = 50;
/// Scans for one sample.
const SCANS: usize = 2;
/// Scans that run at the same time beside calls: as many as the hub runs.
const CONCURRENT_SCANS: usize = 2;

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
        hub: "SELECT COUNT() AS n FROM devices WHERE properties.reported.temperature > 90",
        postgres: "SELECT count(*) FROM twin WHERE (doc->'reported'->>'temperature')::float8 > 90;\n",
        repeats: SCANS,
    },
];

/// A condition that has to look at each twin.
const SCANNED: &str = "properties.reported.temperature > 90";

/// Returns how many twins match [`SCANNED`].
fn expected_count(twins: usize) -> usize {
    (0..twins).filter(|number| number * 37 % 1000 > 900).count()
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

/// Counts by a full scan.
async fn scan(link: &mut HttpLink, twins: usize) -> anyhow::Result<()> {
    let counted = count(link, SCANNED).await?;
    ensure!(counted == expected_count(twins), "the hub counts {counted}");
    Ok(())
}

/// The hub with its twins, of which some have connected devices.
struct Bench {
    hub: LargeFleet,
    /// One for each concurrent scan.
    links: Vec<HttpLink>,
}

impl Bench {
    async fn start(environment: &Environment, scale: &Scale) -> anyhow::Result<Self> {
        let settings = format!("queries = {{ indexed_paths = [\"{INDEXED_PATH}\"] }}");
        let hub = LargeFleet::start(environment, scale, &settings, scale.registered, scale.devices).await?;
        let mut links = Vec::new();
        for _ in 0..CONCURRENT_SCANS {
            links.push(hub.connect().await?);
        }
        Ok(Self { hub, links })
    }

    async fn answer(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let (server, link) = (&self.hub.server, self.links.first_mut().context("no connection")?);
        for question in &QUESTIONS {
            let (cpu, begun) = (server.cpu()?, Instant::now());
            for _ in 0..question.repeats {
                let rows = query(link, question.hub).await?;
                ensure!(!rows.is_empty(), "{}: no rows", question.hub);
            }
            let each = begun.elapsed().as_secs_f64() * 1e3 / question.repeats as f64;
            report.add(ROW, question.metric, "ferrohub", None, each);
            let cpu = (server.cpu()? - cpu).as_secs_f64() * 1e3 / question.repeats as f64;
            eprintln!("{ROW} ferrohub {}: {each:.2}, {cpu:.2} ms CPU", question.metric);
        }
        scan(link, self.hub.twins).await
    }

    /// Makes calls at a fixed rate beside scans. Returns the 99th percentile in milliseconds.
    async fn calls_beside_scans(&mut self, time: Duration) -> anyhow::Result<f64> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut scans = JoinSet::new();
        for mut link in self.links.drain(..) {
            let (stop, twins) = (stop.clone(), self.hub.twins);
            scans.spawn(async move {
                let mut done = 0_usize;
                while !stop.load(Ordering::Relaxed) {
                    scan(&mut link, twins).await?;
                    done += 1;
                }
                anyhow::Ok((link, done))
            });
        }
        let p99 = self.hub.calls(time).await;
        stop.store(true, Ordering::Relaxed);
        let mut scanned = 0;
        while let Some(ended) = scans.join_next().await {
            let (link, done) = ended??;
            self.links.push(link);
            scanned += done;
        }
        let p99 = p99?;
        ensure!(scanned > 0, "no scan ended");
        eprintln!("{ROW} ferrohub: calls beside {scanned} scans: p99 {p99:.2} ms");
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
    let mut bench = Bench::start(environment, scale).await?;
    report.add_server(bench.hub.server.name, &bench.hub.server.version);
    let time = Duration::from_secs(scale.seconds);
    // The first round warms up.
    let mut ignored = Report::default();
    for round in 0..=scale.rounds {
        let report = if round == 0 { &mut ignored } else { &mut *report };
        bench.answer(report).await?;
        if let Some(server) = &database {
            ask_postgres(server, report).await?;
        }
        let alone = bench.hub.calls(time).await?;
        let beside_scans = bench.calls_beside_scans(time).await?;
        report.add(ROW, "p99 of 2,000 calls per second, ms", "ferrohub", None, alone);
        report.add(ROW, "p99 of calls beside scans, ms", "ferrohub", None, beside_scans);
        report.add(ROW, "p99 beside scans / p99 alone", "ferrohub", None, beside_scans / alone);
    }
    bench.hub.disconnect().await;
    Ok(())
}
