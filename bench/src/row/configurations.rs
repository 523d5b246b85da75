//! P14: how soon configurations change twins, and calls beside that.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hyper::Method;
use serde_json::{Value, json};

use super::fleet::{LargeFleet, count};
use super::{Scale, per};
use crate::load::calls::histogram;
use crate::load::device::name;
use crate::load::http::HttpLink;
use crate::report::Report;
use crate::server::Environment;

const ROW: &str = "P14";
/// Twins that an edit changes.
const TWINS: usize = 100_000;
/// Devices that begin to match, one after the other, for one sample.
const BEGINNINGS: usize = 200;
/// How often the number of changed twins is read: each time is a scan.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(300);

const WATCHED: &str = "/configurations/watched?api-version=2021-04-12";
const EVERYWHERE: &str = "/configurations/everywhere?api-version=2021-04-12";

/// A configuration whose condition is `condition`, and that sets one property.
fn configuration(id: &str, property: &str, condition: &str) -> bytes::Bytes {
    let content = json!({ format!("properties.desired.{property}"): true });
    let whole = json!({ "id": id, "schemaVersion": "1.0", "content": { "deviceContent": content },
        "targetCondition": condition, "priority": 1 });
    whole.to_string().into()
}

fn twin(number: usize) -> String {
    format!("/twins/{}?api-version=2021-04-12", name(number))
}

/// Lets devices begin to match, one after the other. Returns the times until each had its property, in microseconds.
async fn begin(link: &mut HttpLink, round: usize) -> anyhow::Result<hdrhistogram::Histogram<u64>> {
    let mut times = histogram()?;
    for number in 0..BEGINNINGS {
        let path = twin(number);
        let matches = json!({ "tags": { "watched": round } }).to_string();
        let begun = Instant::now();
        link.send(Method::PATCH, &path, matches.into()).await?;
        loop {
            let body = link.send(Method::GET, &path, Default::default()).await?;
            let twin: Value = serde_json::from_slice(&body)?;
            if twin["properties"]["desired"]["watched"] == true {
                break;
            }
            ensure!(begun.elapsed() < LIMIT, "{path} does not change: {twin}");
        }
        times.saturating_record(begun.elapsed().as_micros() as u64);
    }
    // They match no longer, so that the next round begins as this one.
    for number in 0..BEGINNINGS {
        link.send(Method::PATCH, &twin(number), json!({ "tags": { "watched": null } }).to_string().into())
            .await?;
    }
    Ok(times)
}

/// Changes the condition of a configuration, and waits until so many twins have its property. Returns the time.
async fn edit(link: &mut HttpLink, condition: &str, expected: usize) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    link.update(EVERYWHERE, configuration("everywhere", "everywhere", condition)).await.context("edit")?;
    loop {
        if count(link, "properties.desired.everywhere = true").await? == expected {
            return Ok(begun.elapsed());
        }
        ensure!(begun.elapsed() < LIMIT, "not all twins change");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// P14: configurations, and the calls beside them.
pub(crate) async fn configurations(
    environment: &Environment,
    scale: &Scale,
    report: &mut Report,
) -> anyhow::Result<()> {
    let twins = scale.registered.min(TWINS);
    let mut hub = LargeFleet::start(environment, scale, "", twins, scale.devices).await?;
    report.add_server(hub.server.name, &hub.server.version);
    let mut link = hub.connect().await?;
    link.send(Method::PUT, WATCHED, configuration("watched", "watched", "tags.watched > 0")).await?;
    link.send(Method::PUT, EVERYWHERE, configuration("everywhere", "everywhere", "tags.floor < 0")).await?;
    let time = Duration::from_secs(scale.seconds);
    // The first round warms up.
    let mut ignored = Report::default();
    for round in 0..=scale.rounds {
        let report = if round == 0 { &mut ignored } else { &mut *report };
        let mut add = |what: &str, sample| report.add(ROW, what, "ferrohub", None, sample);
        let times = begin(&mut link, round + 1).await?;
        for (what, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            let sample = times.value_at_quantile(quantile) as f64 / 1e3;
            add(&format!("until a twin that begins to match is changed, {what}, ms"), sample);
            eprintln!("{ROW} {what} until a twin is changed: {sample:.2} ms");
        }
        hub.settle().await?;
        let plain = hub.calls(time).await?;
        let cpu = hub.server.cpu()?;
        let took = edit(&mut link, "tags.floor >= 0", twins).await?;
        add("twins changed per second after an edit", twins as f64 / took.as_secs_f64());
        add("CPU per twin, µs", per(hub.server.cpu()? - cpu, twins as u64));
        eprintln!("{ROW} {:.0} twins per second", twins as f64 / took.as_secs_f64());
        // Back again, beside calls.
        link.update(EVERYWHERE, configuration("everywhere", "everywhere", "tags.floor < 0")).await?;
        let beside = hub.calls(time).await?;
        edit(&mut link, "tags.floor < 0", 0).await?;
        add("p99 of 2,000 calls per second, ms", plain);
        add("p99 of calls beside an edit / p99 alone", beside / plain);
        eprintln!("{ROW} p99: {plain:.2} ms alone, {beside:.2} beside an edit");
    }
    hub.disconnect().await;
    Ok(())
}
