//! `ferrohub serve`.

use clap::Args;

use crate::cli::Common;
use crate::serve;

/// Flags of `ferrohub serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[arg(long, value_name = "ADDRESS", help = "Where MQTT listens [default: [::]:8883]")]
    listen_mqtt: Option<String>,
    #[arg(
        long,
        value_name = "ADDRESS",
        help = "Where HTTPS listens [default: [::]:443, or 8443 where that is not permitted]"
    )]
    listen_https: Option<String>,
    #[arg(
        long,
        value_name = "ADDRESS",
        help = "Where health and metrics are told [default: 127.0.0.1:9464]"
    )]
    listen_admin: Option<String>,
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl Serve {
    pub(crate) fn run(self, common: &Common) -> anyhow::Result<()> {
        let flags = [
            ("listen.mqtt", self.listen_mqtt),
            ("listen.https", self.listen_https),
            ("listen.admin", self.listen_admin),
            ("log.level", self.log_level),
            ("log.format", self.log_format),
        ];
        let flags = flags.into_iter().filter_map(|(path, value)| Some((path, value?))).collect();
        serve::run(common.load(flags)?)
    }
}
