//! P1, P2 and the calls of P9: method calls, and requests and responses through brokers.

use std::time::Duration;

use super::{Scale, per, registry, start};
use crate::load::calls::{Callers, Outcome, Pace};
use crate::load::device::Fleet;
use crate::report::Report;
use crate::server::{Environment, Server};

/// A server with its devices and callers.
struct Bench {
    server: Server,
    fleet: Fleet,
    callers: Callers,
}

async fn set_up(
    server: Server,
    environment: &Environment,
    scale: &Scale,
    devices: usize,
) -> anyhow::Result<Bench> {
    let dial = server.dial(&environment.pki, false)?;
    registry::register(&server, &dial, devices).await?;
    let fleet = Fleet::connect(&server, &dial, devices).await?;
    let callers = Callers::connect(&server, &dial, scale.callers, devices, scale.payload).await?;
    Ok(Bench { server, fleet, callers })
}

async fn set_up_all(
    names: &[String],
    environment: &Environment,
    scale: &Scale,
    devices: usize,
    report: &mut Report,
) -> Vec<Bench> {
    let mut benches = Vec::new();
    for server in start(names, environment, report).await {
        let name = server.name;
        match set_up(server, environment, scale, devices).await {
            Ok(bench) => benches.push(bench),
            Err(error) => report.add_missing(format!("{name}: {error:#}")),
        }
    }
    benches
}

/// Runs one round on one server. Also returns the CPU time of the server per call, in microseconds.
async fn measure(bench: &mut Bench, pace: Pace) -> anyhow::Result<(Outcome, f64)> {
    let before = bench.server.cpu()?;
    let outcome = bench.callers.run(pace).await?;
    let cpu = per(bench.server.cpu()? - before, outcome.calls);
    anyhow::ensure!(bench.fleet.lost() == 0, "{} devices lost their connection", bench.fleet.lost());
    Ok((outcome, cpu))
}

async fn run_interleaved(
    row: &str,
    benches: Vec<Bench>,
    scale: &Scale,
    pace: Pace,
    size: Option<u64>,
    report: &mut Report,
) {
    let mut benches: Vec<Option<Bench>> = benches.into_iter().map(Some).collect();
    // The first round warms up caches and JIT compilers.
    for round in 0..=scale.rounds {
        for entry in &mut benches {
            let Some(bench) = entry else { continue };
            let name = bench.server.name;
            match measure(bench, pace).await {
                Ok(_) if round == 0 => {}
                Ok((outcome, cpu)) => {
                    let mut add = |what: &str, sample| report.add(row, what, name, size, sample);
                    add("CPU per call, µs", cpu);
                    if matches!(pace, Pace::Closed(_)) {
                        add("calls per second", outcome.calls as f64 / outcome.took.as_secs_f64());
                    }
                    for (what, quantile) in [("p50, ms", 0.5), ("p99, ms", 0.99), ("p99.9, ms", 0.999)] {
                        add(what, outcome.latencies.value_at_quantile(quantile) as f64 / 1e3);
                    }
                    eprintln!("{row} {name} {size:?}: {cpu:.1} µs CPU per call, {} calls", outcome.calls);
                }
                Err(error) => {
                    report.add_missing(format!("{row} {name}: {error:#}"));
                    *entry = None;
                }
            }
        }
    }
    for bench in benches.into_iter().flatten() {
        bench.fleet.disconnect().await;
    }
}

/// P1: maximum throughput of calls.
pub(crate) async fn throughput(
    names: &[String],
    environment: &Environment,
    scale: &Scale,
    report: &mut Report,
) {
    let benches = set_up_all(names, environment, scale, scale.devices, report).await;
    run_interleaved("P1", benches, scale, Pace::Closed(Duration::from_secs(scale.seconds)), None, report)
        .await;
}

/// P2: latency at 1000 calls per second.
pub(crate) async fn latency(names: &[String], environment: &Environment, scale: &Scale, report: &mut Report) {
    let benches = set_up_all(names, environment, scale, scale.devices, report).await;
    let pace = Pace::Open(1000, Duration::from_secs(scale.seconds));
    run_interleaved("P2", benches, scale, pace, None, report).await;
}

/// P9 calls: P1 with a growing number of devices.
pub(crate) async fn growth(names: &[String], environment: &Environment, scale: &Scale, report: &mut Report) {
    let pace = Pace::Closed(Duration::from_secs(scale.seconds));
    for devices in [1, 10, 100, 1000, 10_000] {
        // With more devices, the load generator has enough sockets for one server at a time only.
        for names in names.chunks(if devices > 5000 { 1 } else { names.len() }) {
            let benches = set_up_all(names, environment, scale, devices, report).await;
            run_interleaved("P9 calls", benches, scale, pace, Some(devices as u64), report).await;
        }
    }
}

/// P2 loss: enough calls to show a rare loss, at maximum rate, because losses are more likely under load.
pub(crate) async fn endurance(
    environment: &Environment,
    scale: &Scale,
    report: &mut Report,
) -> anyhow::Result<()> {
    let names = ["ferrohub".to_owned()];
    let Some(mut bench) = set_up_all(&names, environment, scale, scale.devices, report).await.pop() else {
        return Ok(());
    };
    let mut done = 0;
    while done < scale.calls {
        let (outcome, _) = measure(&mut bench, Pace::Closed(Duration::from_secs(10))).await?;
        done += outcome.calls;
        eprintln!("{done} calls, none lost; p99.9 {} µs", outcome.latencies.value_at_quantile(0.999));
    }
    report.add("P2 loss", "calls, each answered", "ferrohub", None, done as f64);
    report.add("P2 loss", "calls lost", "ferrohub", None, 0.0);
    bench.fleet.disconnect().await;
    Ok(())
}
