//! A new token without the loss of a call.
//!
//! MQTT 3.1.1 has no way to present a new token on an open connection, so the device needs a new connection before the
//! hub ends the old one. A hub ends the calls that are open on a connection together with it, and the newest connection
//! of a device wins. So:
//!
//! 1. Wait for a moment without calls, for half of the time that is left; handlers just go on.
//! 2. Open the next connection as far as TLS goes. The old one serves on.
//! 3. UNSUBSCRIBE on the old one. What the hub sent before it read this is served; after UNSUBACK nothing more can come,
//!    so no call can be cut off half-way. A call that begins now has not reached the device: it waits at the hub until
//!    its connect time-out, and without one it is told at once that the device is not online.
//! 4. CONNECT and SUBSCRIBE on the next one, which displaces the old one in one stroke: two round trips in all. Should
//!    the hub refuse it, the old connection takes calls again until its token ends.
//!
//! Without step 3 the gap would be one round trip shorter, but the calls in it would have been sent to the old
//! connection and their answers lost. DISCONNECT before step 4 would leave nothing to fall back on.
//!
//! Calls that come just before step 3 have a second to be answered; longer ones send us back to step 1. When time runs
//! out with calls still open, step 4 happens anyway: their connection could not carry the answers much longer.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::connect::Connected;
use super::link::Link;
use super::{Driver, ExitReason, Mode};
use crate::feature::Feature;
use crate::retry::Backoff;

/// A moment of silence that counts as one. Calls often follow each other closely.
const QUIET_PERIOD: Duration = Duration::from_millis(100);
/// How long after UNSUBSCRIBE to wait for calls that came just before it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

impl Driver {
    /// Serves until the token is renewed, or until it is clear that it cannot be.
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
                        // Nothing left to try before the end of the token; the hub will close, and we come back.
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
                warn!(%error, "the token cannot be renewed yet");
                return Ok(Outcome::Failed);
            }
        };
        let now = Instant::now();
        self.drain(link, Mode::Renewing, (now + DRAIN_TIMEOUT).min(latest.max(now))).await?;
        if !self.has_no_calls() && Instant::now() < latest {
            debug!("calls came in just before the renewal of the token");
            self.resume(link);
            return Ok(Outcome::Busy);
        }
        // The answers on their way are not sent again: the calls they belong to are over.
        let mut session = link.mqtt.session().clone();
        for packet_id in self.calls.unacknowledged() {
            session.remove(packet_id);
        }
        // The old connection is not looked at meanwhile: it has nothing to say but that it is displaced, and what comes
        // by chance is made good on the next.
        let entered = tokio::select! {
            entered = shared.establish(prepared, session, self.subscriptions.granted) => entered,
            _ = self.commands.recv() => return Err(ExitReason::Requested),
        };
        match entered {
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
                warn!(%error, "the token cannot be renewed yet");
                self.resume(link);
                Ok(Outcome::Failed)
            }
        }
    }

    /// Asks for no more calls, and serves those that are open; false if something is not over before `deadline`.
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

    /// Goes on as before, and asks for calls again.
    fn resume(&mut self, link: &mut Link) {
        self.mode = Mode::Serving;
        self.subscribe_wanted(link);
    }
}

enum Outcome {
    Renewed,
    /// Calls came in between; the next quiet moment will do.
    Busy,
    /// Something went wrong; the old connection serves on.
    Failed,
}
