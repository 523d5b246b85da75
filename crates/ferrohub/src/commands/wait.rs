//! `ferrohub wait`: waits until a hub is ready.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::Args;
use ferrohub_service::ErrorKind;

use crate::config::Config;
use crate::global_flags::GlobalFlags;
use crate::login::Login;

/// Time between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Flags of `ferrohub wait`.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Seconds to wait for the hub
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    #[command(flatten)]
    login: Login,
}

impl Wait {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        let config = global.load(Vec::new())?;
        // A malformed connection string is an error at once.
        self.login.connection_string()?;
        let limit = Duration::from_secs(self.timeout);
        super::block_on(async { wait_until_ready(&self.login, &config, limit).await })
    }
}

async fn wait_until_ready(login: &Login, config: &Config, limit: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        let attempt = tokio::time::timeout(left.max(RETRY_INTERVAL), request(login, config)).await;
        let error = match attempt.unwrap_or_else(|_| Err(anyhow!("the hub did not respond"))) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if begun.elapsed() >= limit {
            return Err(error).with_context(|| format!("the hub is not ready after {} s", limit.as_secs()));
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Sends one request. The hub is ready if it answers, even if it refuses the credentials.
async fn request(login: &Login, config: &Config) -> anyhow::Result<()> {
    match login.access_now(config)?.client.get_service_statistics().await {
        Err(error) if error.status().is_none() || error.kind() == ErrorKind::Unavailable => Err(error.into()),
        _ => Ok(()),
    }
}
