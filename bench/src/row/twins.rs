//! P8: twins: reported properties, persisted before they are acknowledged, and delivery of desired properties.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use ferrohub_mqtt::client::Event;
use hdrhistogram::Histogram;
use hyper::Method;
use tokio::task::JoinSet;

use super::{Scale, per, registry, start};
use crate::load::calls::histogram;
use crate::load::device::{login, name};
use crate::load::dial::Dial;
use crate::load::http::HttpLink;
use crate::load::mqtt::Link;
use crate::load::run_all;
use crate::report::Report;
use crate::server::{self, Environment, Protocol, Server};

/// Time-out of each response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// Number of devices that report concurrently.
const CONCURRENT_DEVICES: usize = 256;
const RESPONSES: &str = "$iothub/twin/res/#";
const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";

/// Connects device `number`, subscribed to `filter`.
fn device(
    server: &Server,
    dial: &Dial,
    number: usize,
    filter: &'static str,
) -> impl Future<Output = anyhow::Result<Link>> + Send + 'static {
    let (login, dial) = (login(&server.protocol, number), dial.clone());
    async move { Link::open(&dial, &login, filter, false).await }
}

/// Sends patches of reported properties one after the other, for `time`.
async fn patch_reported(mut link: Link, time: Duration) -> anyhow::Result<(Link, Histogram<u64>)> {
    let mut latencies = histogram()?;
    let begun = Instant::now();
    let mut count = 0_u64;
    while begun.elapsed() < time {
        count += 1;
        let since = Instant::now();
        let patch = format!("{{\"counter\":{count},\"temperature\":21.5}}");
        link.publish(
            format_args!("$iothub/twin/PATCH/properties/reported/?$rid={count:x}"),
            patch.into_bytes().into(),
        )?;
        match tokio::time::timeout(RESPONSE_TIMEOUT, link.next()).await?? {
            Event::Publish(answer) => {
                let topic = answer.topic.as_str();
                ensure!(topic.starts_with("$iothub/twin/res/204/"), "{topic}");
            }
            other => bail!("expected a response, got {other:?}"),
        }
        latencies.saturating_record(since.elapsed().as_micros() as u64);
    }
    Ok((link, latencies))
}

/// Patches desired properties one after the other, for `time`, and waits until the device receives each patch.
async fn patch_desired(
    back_end: &mut HttpLink,
    link: &mut Link,
    number: usize,
    time: Duration,
) -> anyhow::Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    let begun = Instant::now();
    let path = format!("/twins/{}?api-version=2021-04-12", name(number));
    let mut count = 0_u64;
    while begun.elapsed() < time {
        count += 1;
        let body = format!("{{\"properties\":{{\"desired\":{{\"interval\":{count}}}}}}}");
        let since = Instant::now();
        let received = async {
            match link.next().await? {
                Event::Publish(_) => Ok(since.elapsed()),
                other => bail!("expected a notification, got {other:?}"),
            }
        };
        let (received, answer) = tokio::join!(
            tokio::time::timeout(RESPONSE_TIMEOUT, received),
            back_end.send(Method::PATCH, &path, body.into())
        );
        answer?;
        latencies.saturating_record(received.context("no notification")??.as_micros() as u64);
    }
    Ok(latencies)
}

async fn reported_patches(
    server: &Server,
    links: &mut Vec<Link>,
    time: Duration,
) -> anyhow::Result<(f64, f64, Histogram<u64>)> {
    let (cpu, begun) = (server.cpu()?, Instant::now());
    let mut tasks = JoinSet::new();
    for link in links.drain(..) {
        tasks.spawn(patch_reported(link, time));
    }
    let mut latencies = histogram()?;
    while let Some(result) = tasks.join_next().await {
        let (link, more) = result??;
        latencies.add(more)?;
        links.push(link);
    }
    let rate = latencies.len() as f64 / begun.elapsed().as_secs_f64();
    Ok((rate, per(server.cpu()? - cpu, latencies.len()), latencies))
}

struct Bench {
    server: Server,
    single: Vec<Link>,
    concurrent: Vec<Link>,
    back_end: HttpLink,
    desired_link: Link,
}

async fn open(server: Server, environment: &Environment) -> anyhow::Result<Bench> {
    let dial = server.dial(&environment.pki, false)?;
    let Protocol::Hub { https, token, .. } = &server.protocol else { bail!("this server has no twins") };
    registry::register(&server, &dial, CONCURRENT_DEVICES + 2).await?;
    let single = vec![device(&server, &dial, CONCURRENT_DEVICES, RESPONSES).await?];
    let concurrent =
        run_all(32, (0..CONCURRENT_DEVICES).map(|number| device(&server, &dial, number, RESPONSES))).await?;
    let back_end = HttpLink::open(&Dial { address: *https, ..dial.clone() }, token).await?;
    let desired_link = device(&server, &dial, CONCURRENT_DEVICES + 1, DESIRED).await?;
    Ok(Bench { server, single, concurrent, back_end, desired_link })
}

async fn round(bench: &mut Bench, scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let time = Duration::from_secs(scale.seconds);
    let server = bench.server.name;
    for (what, links) in [
        ("reported, one after the other", &mut bench.single),
        ("reported, 256 at once", &mut bench.concurrent),
    ] {
        let (rate, cpu, latencies) = reported_patches(&bench.server, links, time).await?;
        let mut add =
            |figure: &str, sample| report.add("P8", &format!("{what}{figure}"), server, None, sample);
        add(", per second", rate);
        add(", CPU µs each", cpu);
        add(", p99, ms", latencies.value_at_quantile(0.99) as f64 / 1e3);
        eprintln!("P8 {server} {what}: {rate:.0}/s, {cpu:.1} µs CPU");
    }
    let latencies =
        patch_desired(&mut bench.back_end, &mut bench.desired_link, CONCURRENT_DEVICES + 1, time).await?;
    for (figure, quantile) in [("p50, ms", 0.5), ("p99, ms", 0.99)] {
        let sample = latencies.value_at_quantile(quantile) as f64 / 1e3;
        report.add("P8", &format!("desired until the device hears of it, {figure}"), server, None, sample);
    }
    Ok(())
}

/// Measures `UPDATE … jsonb` on rows of about the same size.
async fn database_round(server: &Server, report: &mut Report) -> anyhow::Result<()> {
    for (what, clients, each) in
        [("reported, one after the other", 1, 2000), ("reported, 256 at once", CONCURRENT_DEVICES, 80)]
    {
        let cpu = server.cpu()?;
        let rate = server::postgres::pgbench(server.address, server::postgres::REPORT, clients, each).await?;
        let cpu = per(server.cpu()? - cpu, (clients * each) as u64);
        report.add("P8", &format!("{what}, per second"), server.name, None, rate);
        report.add("P8", &format!("{what}, CPU µs each"), server.name, None, cpu);
        eprintln!("P8 {} {what}: {rate:.0}/s, {cpu:.1} µs CPU", server.name);
    }
    Ok(())
}

/// P8: the hub, and PostgreSQL on the same disk.
pub(crate) async fn twins(environment: &Environment, scale: &Scale, report: &mut Report) {
    let mut bench = None;
    for server in start(&["ferrohub".to_owned()], environment, report).await {
        match open(server, environment).await {
            Ok(opened) => bench = Some(opened),
            Err(error) => report.add_missing(format!("P8 ferrohub: {error:#}")),
        }
    }
    let mut database = None;
    match server::postgres::start(environment).await {
        Ok(server) => match server::postgres::fill(server.address).await {
            Ok(()) => database = Some(server),
            Err(error) => report.add_missing(format!("P8 postgresql: {error:#}")),
        },
        Err(error) => report.add_missing(format!("P8 postgresql: {error:#}")),
    }
    if let Some(server) = &database {
        report.add_server(server.name, &server.version);
    }
    for _ in 0..scale.rounds {
        if let Some(bench) = &mut bench
            && let Err(error) = round(bench, scale, report).await
        {
            report.add_missing(format!("P8 ferrohub: {error:#}"));
        }
        if let Some(server) = &database
            && let Err(error) = database_round(server, report).await
        {
            report.add_missing(format!("P8 postgresql: {error:#}"));
        }
    }
}
