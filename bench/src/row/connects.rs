//! P4: cost of a connect: TLS, authentication, subscription.

use std::time::{Duration, Instant};

use super::{Scale, per, registry, start};
use crate::load::device::Fleet;
use crate::load::run_all;
use crate::report::Report;
use crate::server::{Environment, Server};

async fn measure(
    server: &Server,
    environment: &Environment,
    scale: &Scale,
    report: &mut Report,
) -> anyhow::Result<()> {
    let count = scale.connects;
    for (resume, what) in
        [(false, "CPU per connect, µs"), (true, "CPU per connect with a resumed session, µs")]
    {
        let dial = server.dial(&environment.pki, resume)?;
        let (before, begun) = (server.cpu()?, Instant::now());
        let links = Fleet::open(&server.protocol, &dial, count).await?;
        let (cpu, took) = (per(server.cpu()? - before, count as u64), begun.elapsed());
        disconnect_all(links).await;
        report.add("P4", what, server.name, None, cpu);
        if !resume {
            report.add("P4", "connects per second", server.name, None, count as f64 / took.as_secs_f64());
        }
        eprintln!("P4 {} {what}: {cpu:.0}", server.name);
    }
    Ok(())
}

/// Closes connections, and waits until the server has processed that, so that it is not measured.
async fn disconnect_all<T>(links: Vec<T>) {
    drop(links);
    tokio::time::sleep(Duration::from_secs(2)).await;
}

/// Measures the bare TLS handshake, on the baseline server.
async fn handshakes(
    server: &Server,
    environment: &Environment,
    scale: &Scale,
    report: &mut Report,
) -> anyhow::Result<()> {
    let dial = server.dial(&environment.pki, false)?;
    let before = server.cpu()?;
    let connect = (0..scale.connects).map(|_| {
        let dial = dial.clone();
        async move { dial.tls().await }
    });
    let streams = run_all(32, connect).await?;
    let cpu = per(server.cpu()? - before, scale.connects as u64);
    disconnect_all(streams).await;
    report.add("P4", "CPU per connect, µs", "bare TLS handshake", None, cpu);
    Ok(())
}

/// P4: cost of a connect.
pub(crate) async fn storm(names: &[String], environment: &Environment, scale: &Scale, report: &mut Report) {
    let servers = start(names, environment, report).await;
    for server in &servers {
        let Ok(dial) = server.dial(&environment.pki, false) else { continue };
        let prepared = async {
            registry::register(server, &dial, scale.connects).await?;
            // The first connects create the durable subscriptions that later ones find.
            disconnect_all(Fleet::open(&server.protocol, &dial, scale.connects).await?).await;
            anyhow::Ok(())
        };
        if let Err(error) = prepared.await {
            report.add_missing(format!("P4 {}: {error:#}", server.name));
        }
    }
    for _ in 0..scale.rounds {
        for server in &servers {
            let measured = match server.name {
                "baseline" => handshakes(server, environment, scale, report).await,
                _ => measure(server, environment, scale, report).await,
            };
            if let Err(error) = measured {
                report.add_missing(format!("P4 {}: {error:#}", server.name));
            }
        }
    }
}
