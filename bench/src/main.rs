//! Benchmarks of the hub, in comparison with brokers and databases in the same run, over TLS with the same certificate.
//!
//! `cargo xtask bench` builds everything and runs this. The servers are separate processes on one processor; this
//! process generates the load on the others. CPU time and memory come from the kernel's accounting of the server
//! processes.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its results")]

mod kernel;
mod load;
mod pki;
mod report;
mod row;
mod server;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand};

use report::{Report, chart, table};
use row::Scale;
use server::Environment;

/// Measures the hub and its peers.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run rows of the benchmark
    Run(Run),
    /// Draw the charts of a report
    Chart {
        /// The report
        report: PathBuf,
        /// Folder for the charts
        folder: PathBuf,
    },
    /// Run the baseline server, which only moves bytes
    #[command(hide = true)]
    Baseline(server::baseline::BaselineArgs),
    /// Run the baseline server for AMQP, which stores nothing
    #[command(hide = true)]
    AmqpBaseline(server::amqp_baseline::AmqpBaselineArgs),
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Rows to measure: p1 calls, p2 latency, p2-loss, p3 memory, p4 connects, p5 start, p6 registry, p7 telemetry, p8
    /// twins, p9-calls, p9-memory, p9-get, p10 readers over AMQP, p11 queries, p12 messages over AMQP, p13
    /// jobs, p14 configurations
    #[arg(default_values = [
        "p1", "p2", "p2-loss", "p3", "p4", "p5", "p6", "p7", "p8", "p9-calls", "p9-memory", "p9-get",
        "p10", "p11", "p12", "p13", "p14"
    ])]
    rows: Vec<String>,
    /// Servers to compare
    #[arg(
        long,
        value_delimiter = ',',
        default_values = ["ferrohub", "baseline", "mosquitto", "nats", "rabbitmq", "rumqttd", "rmqttd", "aedes"]
    )]
    servers: Vec<String>,
    /// Program of the hub
    #[arg(long, default_value = "target/release/ferrohub")]
    hub: PathBuf,
    /// Folder with the peers that are not Debian packages
    #[arg(long, default_value = "target/bench/peers")]
    peers: PathBuf,
    /// File for the report; rows that are not measured now are kept in it
    #[arg(long, default_value = "target/bench/report.json")]
    report: PathBuf,
    /// Processor for the servers; the load must run on others
    #[arg(long)]
    processor: Option<usize>,
    /// Rounds; medians are reported
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds per round of calls
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Connected devices in the rows of calls
    #[arg(long, default_value_t = 1000)]
    devices: usize,
    /// Concurrent callers, each on its own connection
    #[arg(long, default_value_t = 64)]
    callers: usize,
    /// Bytes of payload of a request, and of a response
    #[arg(long, default_value_t = 128)]
    payload: usize,
    /// Calls to make in p2-loss
    #[arg(long, default_value_t = 1_000_000)]
    calls: u64,
    /// Idle devices in p3
    #[arg(long, default_value_t = 20_000)]
    idle: usize,
    /// Connects per round in p4
    #[arg(long, default_value_t = 1500)]
    connects: usize,
    /// Maximum number of registered devices
    #[arg(long, default_value_t = 1_000_000)]
    registered: usize,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Run(run) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(measure(run))
        }
        Command::Chart { report, folder } => draw(&report, &folder),
        Command::Baseline(baseline) => server::baseline::run(baseline),
        Command::AmqpBaseline(baseline) => server::amqp_baseline::run(baseline),
    }
}

async fn measure(run: Run) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let environment = Environment {
        pki: pki::Pki::generate(folder.path())?,
        processor: run.processor,
        hub: run.hub,
        peers: run.peers,
    };
    let scale = Scale {
        rounds: run.rounds,
        seconds: run.seconds,
        devices: run.devices,
        callers: run.callers,
        payload: run.payload,
        idle: run.idle,
        connects: run.connects,
        registered: run.registered,
        calls: run.calls,
    };
    let begun = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut report = Report { machine: kernel::machine(), begun, ..Report::default() };
    for row in &run.rows {
        if let Err(error) = measure_row(row, &run.servers, &environment, &scale, &mut report).await {
            report.add_missing(format!("{row}: {error:#}"));
        }
    }
    if let Some(parent) = run.report.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let report = report.write(&run.report)?;
    println!("{}\n{}", report.machine, table::render(&report));
    Ok(())
}

async fn measure_row(
    row: &str,
    servers: &[String],
    environment: &Environment,
    scale: &Scale,
    report: &mut Report,
) -> anyhow::Result<()> {
    // Rows about growth compare the hub with one peer.
    let pair = ["ferrohub", "mosquitto"].map(str::to_owned);
    match row {
        "p1" => row::calls::throughput(servers, environment, scale, report).await,
        "p2" => row::calls::latency(servers, environment, scale, report).await,
        "p2-loss" => row::calls::endurance(environment, scale, report).await?,
        "p3" => row::idle::memory(servers, environment, scale, report).await,
        "p4" => row::connects::storm(servers, environment, scale, report).await,
        "p5" => row::start::start(environment, scale, report).await?,
        "p6" => row::registry::registry(environment, scale, report).await,
        "p7" => row::telemetry::telemetry(environment, scale, report).await,
        "p8" => row::twins::twins(environment, scale, report).await,
        "p9-calls" => row::calls::growth(&pair, environment, scale, report).await,
        "p9-memory" => row::idle::growth(&pair, environment, report).await,
        "p9-get" => row::registry::growth(environment, scale, report).await?,
        "p10" => row::readers::readers(environment, scale, report).await,
        "p11" => row::queries::queries(environment, scale, report).await?,
        "p12" => row::messages::messages(environment, scale, report).await,
        "p13" => row::jobs::jobs(environment, scale, report).await?,
        "p14" => row::configurations::configurations(environment, scale, report).await?,
        _ => anyhow::bail!("unknown row; see --help"),
    }
    Ok(())
}

fn draw(report: &Path, folder: &Path) -> anyhow::Result<()> {
    for name in chart::write_all(&Report::read(report)?, folder)? {
        println!("{}", folder.join(name).display());
    }
    Ok(())
}
