//! The signals that the process receives.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use crate::logging;

/// Exit code after a second stop signal.
const EXIT_INTERRUPTED: i32 = 130;

/// What the signals ask for.
pub(super) struct Signals {
    /// True after SIGTERM or SIGINT. A second one of these ends the process immediately.
    pub(super) stopping: watch::Receiver<bool>,
    /// Notified after SIGHUP.
    pub(super) reload: Arc<Notify>,
}

/// Handles the signals from now on, in a task.
pub(super) fn handle() -> anyhow::Result<Signals> {
    let install = |kind| signal(kind).context("cannot handle signals");
    let (mut terminate, mut interrupt) =
        (install(SignalKind::terminate())?, install(SignalKind::interrupt())?);
    let mut hangup = install(SignalKind::hangup())?;
    let unused = [
        ("SIGUSR1", install(SignalKind::user_defined1())?),
        ("SIGUSR2", install(SignalKind::user_defined2())?),
    ];
    for (name, signal) in unused {
        tokio::spawn(ignore(name, signal));
    }
    let (stop, stopping) = watch::channel(false);
    let reload = Arc::new(Notify::new());
    let signals = Signals { stopping, reload: reload.clone() };
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {
                    info!("received SIGHUP: reading the files with certificates again");
                    reload.notify_one();
                    continue;
                }
            }
            if stop.send_replace(true) {
                warn!("received a second stop signal: exiting now");
                logging::flush();
                std::process::exit(EXIT_INTERRUPTED);
            }
            info!("received a stop signal: waiting for calls in flight");
        }
    });
    Ok(signals)
}

/// Logs a signal that would end the process without its handler.
async fn ignore(name: &str, mut signal: Signal) {
    while signal.recv().await.is_some() {
        warn!(
            "ignored {name}: the hub does not use this signal (SIGHUP reloads certificates, SIGTERM stops)"
        );
    }
}
