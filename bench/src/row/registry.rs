//! P6: the registry over HTTPS, durable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use tokio::sync::Mutex;

use super::{Scale, per, start};
use crate::load::device::{key, name};
use crate::load::dial::Dial;
use crate::load::http::HttpLink;
use crate::load::nats::NatsLink;
use crate::load::run_all;
use crate::report::Report;
use crate::server::nats::Durability;
use crate::server::{self, Environment, Protocol, Server};

/// Time-out of one round on one server.
const ROUND_TIMEOUT: Duration = Duration::from_secs(120);

/// Number of connections that register devices for other rows.
const REGISTER_CONNECTIONS: usize = 64;

/// Registers devices, if the server has a registry.
pub(crate) async fn register(server: &Server, dial: &Dial, count: usize) -> anyhow::Result<()> {
    if server.name == "baseline" {
        return Ok(());
    }
    let Some(links) = connect(server, dial, REGISTER_CONNECTIONS.min(count)).await? else { return Ok(()) };
    let links: Vec<_> = links.into_iter().map(|link| Arc::new(Mutex::new(link))).collect();
    run_concurrently(&links, 0..count, put()).await?;
    Ok(())
}

/// Opens connections of a service. `None` if the server has no registry.
async fn connect(server: &Server, dial: &Dial, count: usize) -> anyhow::Result<Option<Vec<HttpLink>>> {
    let Protocol::Hub { https, token, .. } = &server.protocol else { return Ok(None) };
    let dial = Dial { address: *https, ..dial.clone() };
    let open = (0..count).map(|_| {
        let (dial, token) = (dial.clone(), token.clone());
        async move { HttpLink::open(&dial, &token).await }
    });
    run_all(32, open).await.map(Some)
}

/// Runs `operation` for each of `numbers`, on all connections concurrently. Returns the duration.
async fn run_concurrently(
    links: &[Arc<Mutex<HttpLink>>],
    numbers: std::ops::Range<usize>,
    operation: impl Fn(usize) -> (Method, String, Bytes) + Clone + Send + 'static,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(numbers.start));
    let work = links.iter().map(|link| {
        let (link, next, operation, end) = (link.clone(), next.clone(), operation.clone(), numbers.end);
        async move {
            let mut link = link.lock().await;
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if number >= end {
                    return Ok(());
                }
                let (method, path, body) = operation(number);
                link.send(method, &path, body).await?;
            }
        }
    });
    run_all(links.len(), work.collect::<Vec<_>>().into_iter()).await?;
    Ok(begun.elapsed())
}

fn path(number: usize) -> String {
    format!("/devices/{}?api-version=2021-04-12", name(number))
}

fn put() -> impl Fn(usize) -> (Method, String, Bytes) + Clone + Send + 'static {
    let key = key().to_base64();
    move |number| {
        let body = format!(
            "{{\"deviceId\":\"{}\",\"authentication\":{{\"type\":\"sas\",\"symmetricKey\":\
             {{\"primaryKey\":\"{key}\",\"secondaryKey\":\"{key}\"}}}}}}",
            name(number)
        );
        (Method::PUT, path(number), body.into())
    }
}

async fn measure(
    server: &Server,
    environment: &Environment,
    round: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let dial = server.dial(&environment.pki, false)?;
    let Some(links) = connect(server, &dial, 256).await? else { return Ok(()) };
    let links: Vec<_> = links.into_iter().map(|link| Arc::new(Mutex::new(link))).collect();
    let from = |part: usize| (round * 10 + part) * 100_000;
    let mut row = |what: &str, count: usize, took: Duration, cpu: Duration| {
        report.add(
            "P6",
            &format!("{what}, per second"),
            server.name,
            None,
            count as f64 / took.as_secs_f64(),
        );
        report.add("P6", &format!("{what}, CPU µs each"), server.name, None, per(cpu, count as u64));
        eprintln!(
            "P6 {what}: {:.0}/s, {:.0} µs CPU",
            count as f64 / took.as_secs_f64(),
            per(cpu, count as u64)
        );
    };
    let one = links.get(..1).unwrap_or_default();

    let before = server.cpu()?;
    let took = run_concurrently(one, from(0)..from(0) + 1000, put()).await?;
    row("create, one after the other", 1000, took, server.cpu()? - before);

    let (before, counted) = (server.cpu()?, store_counts(server).await?);
    let took = run_concurrently(&links, from(1)..from(1) + 20_000, put()).await?;
    row("create, 256 at once", 20_000, took, server.cpu()? - before);
    let now = store_counts(server).await?;
    let shared = (now.1 - counted.1) / (now.0 - counted.0).max(1.0);

    let first = from(1);
    let get = move |number: usize| (Method::GET, path(first + number % 20_000), Bytes::new());
    let before = server.cpu()?;
    let took = run_concurrently(links.get(..64).unwrap_or_default(), 0..40_000, get).await?;
    row("get, 64 at once", 40_000, took, server.cpu()? - before);

    let list = |_: usize| (Method::GET, "/devices?top=1000&api-version=2021-04-12".to_owned(), Bytes::new());
    let before = server.cpu()?;
    let took = run_concurrently(one, 0..50, list).await?;
    row("list of 1,000", 50, took, server.cpu()? - before);
    report.add("P6", "creates that share one commit, at 256", server.name, None, shared);
    Ok(())
}

/// Returns the commits and writes of the hub's store so far, from its metrics.
async fn store_counts(server: &Server) -> anyhow::Result<(f64, f64)> {
    let Protocol::Hub { admin: Some(admin), .. } = &server.protocol else { return Ok((0.0, 0.0)) };
    let text = crate::server::get_plain(*admin, "/metrics").await?;
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or(0.0)
    };
    Ok((value("ferrohub_store_commits_total"), value("ferrohub_store_writes_total")))
}

/// P6: the hub, PostgreSQL and NATS JetStream.
pub(crate) async fn registry(environment: &Environment, scale: &Scale, report: &mut Report) {
    let hub = start(&["ferrohub".to_owned()], environment, report).await;
    let mut database = None;
    match server::postgres::start(environment).await {
        Ok(server) => match server::postgres::fill(server.address).await {
            Ok(()) => database = Some(server),
            Err(error) => report.add_missing(format!("P6 postgresql: {error:#}")),
        },
        Err(error) => report.add_missing(format!("P6 postgresql: {error:#}")),
    }
    let mut buckets = Vec::new();
    for durability in [Durability::Always, Durability::Default] {
        match server::nats::start_with(environment, durability).await {
            Ok(server) => buckets.push(server),
            Err(error) => report.add_missing(format!("P6 {durability:?}: {error:#}")),
        }
    }
    for server in database.iter().chain(&buckets) {
        report.add_server(server.name, &server.version);
    }
    for round in 0..scale.rounds {
        for server in &hub {
            if let Err(error) = measure(server, environment, round, report).await {
                report.add_missing(format!("P6 ferrohub: {error:#}"));
            }
        }
        for server in database.iter() {
            if let Err(error) = database_rates(server, report).await {
                report.add_missing(format!("P6 postgresql: {error:#}"));
            }
        }
        for server in &buckets {
            let measured = bucket_rates(server, environment, round, report);
            match tokio::time::timeout(ROUND_TIMEOUT, measured).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => report.add_missing(format!("P6 {}: {error:#}", server.name)),
                Err(_) => {
                    report.add_missing(format!("P6 {}: not finished within {ROUND_TIMEOUT:?}", server.name))
                }
            }
        }
    }
}

/// Measures the same operations on rows of a table, without TLS and without the rules of a registry.
async fn database_rates(server: &Server, report: &mut Report) -> anyhow::Result<()> {
    use server::postgres::{GET, INSERT, flushes, pgbench};
    let what = [
        ("create, one after the other", INSERT, 1, 1000),
        ("create, 256 at once", INSERT, 256, 80),
        ("get, 64 at once", GET, 64, 600),
    ];
    for (what, script, clients, each) in what {
        let (cpu, flushed) = (server.cpu()?, flushes(server.address).await?);
        let rate = pgbench(server.address, script, clients, each).await?;
        let count = (clients * each) as u64;
        let cpu = per(server.cpu()? - cpu, count);
        report.add("P6", &format!("{what}, per second"), server.name, None, rate);
        report.add("P6", &format!("{what}, CPU µs each"), server.name, None, cpu);
        if clients == 256 {
            let shared = count as f64 / (flushes(server.address).await? - flushed).max(1.0);
            report.add("P6", "creates that share one commit, at 256", server.name, None, shared);
        }
        eprintln!("P6 {} {what}: {rate:.0}/s, {cpu:.0} µs CPU", server.name);
    }
    Ok(())
}

/// Measures the same operations on keys of a bucket: a stream with one message per subject.
async fn bucket_rates(
    server: &Server,
    environment: &Environment,
    round: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    const STREAM: &str = r#"{"name":"KV_bench","subjects":["$KV.bench.>"],"retention":"limits","storage":"file","num_replicas":1,"max_msgs_per_subject":1,"max_msgs":-1,"max_bytes":-1,"max_age":0,"max_msg_size":-1,"max_consumers":-1,"discard":"new","allow_rollup_hdrs":true,"deny_delete":true,"allow_direct":true}"#;
    let dial = server.dial(&environment.pki, false)?;
    let open = (0..256).map(|number| {
        let dial = dial.clone();
        async move { anyhow::Ok((number, NatsLink::open(&dial, &format!("answers.{number}")).await?)) }
    });
    let mut links = run_all(32, open).await?;
    if let Some((number, link)) = links.first_mut() {
        let reply = format!("answers.{number}");
        link.publish("$JS.API.STREAM.CREATE.KV_bench", Some(&reply), STREAM.as_bytes());
        let answer = link.next().await?;
        let text = String::from_utf8_lossy(&answer.payload);
        anyhow::ensure!(!text.contains("\"error\""), "{text}");
    }
    let key = key().to_base64();
    let value = format!("{{\"keys\":[\"{key}\",\"{key}\"],\"etag\":\"0123456789ab\",\"status\":1}}");
    for (what, connections, count) in [
        ("create, one after the other", 1, 1000),
        ("create, 256 at once", 256, 10_000),
        ("get, 64 at once", 64, 20_000),
    ] {
        let creates = what.starts_with("create");
        let (before, begun) = (server.cpu()?, Instant::now());
        let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let parts = links.drain(..connections).map(|(number, mut link)| {
            let (next, value) = (next.clone(), value.clone());
            async move {
                let reply = format!("answers.{number}");
                loop {
                    let key = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if key >= count {
                        return anyhow::Ok((number, link));
                    }
                    if creates {
                        let subject = format!("$KV.bench.{round}-{connections}-{key}");
                        link.publish_with(
                            &subject,
                            &reply,
                            "Nats-Expected-Last-Subject-Sequence: 0\r\n",
                            value.as_bytes(),
                        );
                    } else {
                        let key = format!("$KV.bench.{round}-256-{}", key % 10_000);
                        link.publish(&format!("$JS.API.DIRECT.GET.KV_bench.{key}"), Some(&reply), b"");
                    }
                    let answer = link.next().await?;
                    let text = String::from_utf8_lossy(&answer.payload);
                    let is_valid = if creates {
                        text.contains("\"seq\"") && !text.contains("\"error\"")
                    } else {
                        text == value
                    };
                    anyhow::ensure!(is_valid, "{text}");
                }
            }
        });
        let back = run_all(connections, parts.collect::<Vec<_>>().into_iter()).await?;
        let (took, cpu) = (begun.elapsed(), per(server.cpu()? - before, count as u64));
        links.extend(back);
        let rate = count as f64 / took.as_secs_f64();
        report.add("P6", &format!("{what}, per second"), server.name, None, rate);
        report.add("P6", &format!("{what}, CPU µs each"), server.name, None, cpu);
        eprintln!("P6 {} {what}: {rate:.0}/s, {cpu:.0} µs CPU", server.name);
    }
    Ok(())
}

/// P9 get: reads a device from a growing number of devices.
pub(crate) async fn growth(
    environment: &Environment,
    scale: &Scale,
    report: &mut Report,
) -> anyhow::Result<()> {
    use crate::server::ferrohub::Hub;
    for size in [1000, 10_000, 100_000, 1_000_000] {
        if size > scale.registered {
            report.add_missing(format!("P9 get: {size} devices: skipped, more than --registered"));
            continue;
        }
        let hub = Hub::prepare(environment)?;
        super::start::fill(&hub, size).await?;
        let server = hub.start("ferrohub", &environment.hub, environment).await?;
        let dial = server.dial(&environment.pki, false)?;
        let links = connect(&server, &dial, 64).await?.unwrap_or_default();
        let links: Vec<_> = links.into_iter().map(|link| Arc::new(Mutex::new(link))).collect();
        for _ in 0..scale.rounds {
            let before = server.cpu()?;
            // The step is a prime number, so that devices are not visited in the order of their ids.
            let get = move |number: usize| (Method::GET, path(number * 7919 % size), Bytes::new());
            run_concurrently(&links, 0..20_000, get).await?;
            let cpu = per(server.cpu()? - before, 20_000);
            report.add("P9 get", "CPU per get, µs", "ferrohub", Some(size as u64), cpu);
            eprintln!("P9 get {size}: {cpu:.1} µs CPU");
        }
    }
    Ok(())
}
