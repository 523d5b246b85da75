//! `ferrohub serve`: runs the hub.

mod detach;

use std::path::PathBuf;

use clap::Args;

use crate::global_flags::GlobalFlags;
use crate::serve;

/// Flags of `ferrohub serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[arg(long, value_name = "ADDRESS", help = "Listen address for MQTT over TLS [default: [::]:8883]")]
    listen_mqtt: Option<String>,
    #[arg(long, value_name = "ADDRESS", help = "Listen address for AMQP over TLS [default: [::]:5671]")]
    listen_amqp: Option<String>,
    #[arg(
        long,
        value_name = "ADDRESS",
        help = "Listen address for HTTPS and WebSocket [default: [::]:443, or 8443 without the privilege]"
    )]
    listen_https: Option<String>,
    #[arg(
        long,
        value_name = "ADDRESS",
        help = "Listen address for health and metrics, loopback only [default: 127.0.0.1:9464]"
    )]
    listen_admin: Option<String>,
    /// Log level: error, warn, info, debug or trace, or a filter
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Log format: text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Run the hub in the background: return when it is ready, and write the log to hub.log in the data folder, at most twice 16 MiB
    #[arg(long)]
    detach: bool,
    /// The file that standard error is written to, which the hub rotates; for the process in the background
    #[arg(long, hide = true, value_name = "FILE")]
    log_file: Option<PathBuf>,
}

impl Serve {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        let flags = [
            ("listen.mqtt", self.listen_mqtt),
            ("listen.amqp", self.listen_amqp),
            ("listen.https", self.listen_https),
            ("listen.admin", self.listen_admin),
            ("log.level", self.log_level),
            ("log.format", self.log_format),
        ];
        let flags = flags.into_iter().filter_map(|(path, value)| Some((path, value?))).collect();
        let config = global.load(flags)?;
        if self.detach { detach::run(&config) } else { serve::run(config, self.log_file) }
    }
}
