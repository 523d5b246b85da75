//! Renews the token without losing a call.
//!
//! MQTT 3.1.1 cannot present a new token on an open connection, so the device needs a new connection before the token
//! expires and the hub closes the old one. When a connection ends, the hub ends its open calls; and the newest
//! connection of a device takes over. The steps:
//!
//! 1. Wait for a moment without open calls, for at most half of the remaining time. Handlers keep running.
//! 2. Open the next connection up to TLS, while the old one still serves.
//! 3. UNSUBSCRIBE from method calls on the old connection. Calls that the hub sent before are served; after UNSUBACK no
//!    call can arrive, so none can be interrupted. A call that starts now waits at the hub for its connect time-out;
//!    without one it fails at once because the device is not online.
//! 4. CONNECT and SUBSCRIBE on the next connection, which takes over from the old one: two round trips in total. If the
//!    hub refuses it, the old connection accepts calls again until its token expires.
//!
//! Without step 3 the gap would be one round trip shorter, but calls in the gap would go to the old connection and
//! their responses would be lost. DISCONNECT before step 4 would leave no connection to fall back on.
//!
//! Calls that arrive just before step 3 get one second to finish; longer ones lead back to step 1. If calls are still
//! open when the time is up, step 4 follows anyway: the old connection could not carry their responses much longer.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::connect::Connected;
use super::link::Link;
use super::{Driver, ExitReason, Mode};
use crate::feature::Feature;
use crate::retry::Backoff;

/// How long no call must be open, because calls often follow each other closely.
const QUIET_PERIOD: Duration = Duration::from_millis(100);
/// How long to wait after UNSUBSCRIBE for calls that arrived just before it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

impl Driver {
    /// Serves until the token is renewed, or cannot be renewed in time.
    pub(super) async fn renew(
        &mut self,
        connected: &mut Connected,
        begin: Instant,
        latest: Instant,
    ) -> Result<(), ExitReason> {
        self.serve_until(&mut connected.link, sleep_until(begin)).await?;
        let quiet = QUIET_PERIOD.min(latest.saturating_duration_since(begin) / 10);
        let mut backoff = Backoff::default();
        loop {
            match self.renew_once(connected, quiet, latest).await? {
                Outcome::Renewed => return Ok(()),
                Outcome::Busy => {}
                Outcome::Failed => {
                    let retry = Instant::now() + backoff.next_delay(&self.shared.config.retry);
                    if retry >= latest {
                        // No time for another attempt. The hub closes the connection when the token expires, and the
                        // client reconnects.
                        connected.renewal = None;
                        return Ok(());
                    }
                    self.serve_until(&mut connected.link, sleep_until(retry)).await?;
                }
            }
        }
    }

    async fn renew_once(
        &mut self,
        connected: &mut Connected,
        quiet: Duration,
        latest: Instant,
    ) -> Result<Outcome, ExitReason> {
        let shared = self.shared.clone();
        let link = &mut connected.link;
        let now = Instant::now();
        self.serve_until_idle(link, quiet, now + latest.saturating_duration_since(now) / 2).await?;
        let prepared = match self.serve_until(link, shared.prepare()).await? {
            Ok(prepared) => prepared,
            Err(error) => {
                warn!(%error, "token renewal failed; retrying");
                return Ok(Outcome::Failed);
            }
        };
        let now = Instant::now();
        self.drain(link, Mode::Renewing, (now + DRAIN_TIMEOUT).min(latest.max(now))).await?;
        if !self.has_no_calls() && Instant::now() < latest {
            debug!("token renewal postponed: calls arrived just before it");
            self.resume(link);
            return Ok(Outcome::Busy);
        }
        // Responses in flight are not sent again, because their calls end with the old connection.
        let mut session = link.mqtt.session().clone();
        for packet_id in self.calls.unacknowledged() {
            session.remove(packet_id);
        }
        // The old connection is not read meanwhile: it can only report the takeover, and anything else is repeated on
        // the next connection.
        let established = tokio::select! {
            established = shared.establish(prepared, session, self.subscriptions.granted) => established,
            _ = self.commands.recv() => return Err(ExitReason::Requested),
        };
        match established {
            Ok(mut next) => {
                info!(device = %self.shared.config.identity, "token renewed");
                self.calls.cancel_all();
                self.calls.fail_unacknowledged();
                self.resend_twin_requests();
                self.on_messages_disconnected();
                self.connection_started(&mut next);
                *connected = next;
                Ok(Outcome::Renewed)
            }
            Err(error) => {
                warn!(%error, "token renewal failed; retrying");
                self.resume(link);
                Ok(Outcome::Failed)
            }
        }
    }

    /// Unsubscribes from method calls and serves until no operation is open. Returns false if that takes longer than
    /// `deadline`.
    pub(super) async fn drain(
        &mut self,
        link: &mut Link,
        mode: Mode,
        deadline: Instant,
    ) -> Result<bool, ExitReason> {
        self.mode = mode;
        if self.subscriptions.granted.contains(Feature::Methods) {
            self.subscriptions.granted = self.subscriptions.granted.without(Feature::Methods);
            let (filter, _) = Feature::Methods.subscription(&self.shared.config.identity);
            if let Err(error) = link.mqtt.unsubscribe(&[&filter]) {
                debug!(%error, "UNSUBSCRIBE cannot be sent");
            }
        }
        self.serve_until_idle(link, Duration::ZERO, deadline).await
    }

    /// Returns to normal service and subscribes to method calls again.
    fn resume(&mut self, link: &mut Link) {
        self.mode = Mode::Serving;
        self.subscribe_wanted(link);
    }
}

enum Outcome {
    Renewed,
    /// Calls arrived; wait for the next quiet moment.
    Busy,
    /// The attempt failed; the old connection continues.
    Failed,
}
