//! The rows of the benchmark, P1 to P14: one file per kind of work.

pub(crate) mod calls;
pub(crate) mod configurations;
pub(crate) mod connects;
mod fleet;
pub(crate) mod idle;
pub(crate) mod jobs;
pub(crate) mod messages;
pub(crate) mod queries;
pub(crate) mod readers;
pub(crate) mod registry;
pub(crate) mod start;
pub(crate) mod telemetry;
pub(crate) mod twins;

use crate::report::Report;
use crate::server::{self, Environment, Server};

/// Sizes and durations of the measurements.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    pub(crate) rounds: usize,
    /// Seconds of each round of calls.
    pub(crate) seconds: u64,
    pub(crate) devices: usize,
    pub(crate) callers: usize,
    pub(crate) payload: usize,
    pub(crate) idle: usize,
    pub(crate) connects: usize,
    pub(crate) registered: usize,
    /// Calls to make in p2-loss.
    pub(crate) calls: u64,
}

/// Starts the servers. A server that cannot be started is recorded in the report.
pub(crate) async fn start(names: &[String], environment: &Environment, report: &mut Report) -> Vec<Server> {
    let mut servers = Vec::new();
    for name in names {
        let started = match name.as_str() {
            "ferrohub" => server::ferrohub::start(environment).await,
            "baseline" => server::baseline::start(environment).await,
            "mosquitto" => server::mosquitto::start(environment).await,
            "nats" => server::nats::start(environment).await,
            "rabbitmq" => server::rabbitmq::start(environment).await,
            "rumqttd" => server::rumqttd::start(environment).await,
            "rmqttd" => server::rmqttd::start(environment).await,
            "aedes" => server::aedes::start(environment).await,
            _ => Err(anyhow::anyhow!("unknown server; see --help")),
        };
        match started {
            Ok(server) => {
                report.add_server(server.name, &server.version);
                servers.push(server);
            }
            Err(error) => report.add_missing(format!("{name}: {error:#}")),
        }
    }
    servers
}

/// Returns the microseconds per item.
pub(crate) fn per(time: std::time::Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count.max(1) as f64
}
