//! The part of a connection that sends changes of desired properties.

use bytes::Bytes;

use super::Connection;
use crate::close_reason::CloseReason;
use crate::node::DesiredNotice;
use crate::node::desired::{Gap, Pushed};
use crate::session::Subscription;

impl Connection {
    /// Queues a notice of changed desired properties, if the device is subscribed to them and does not know this
    /// version yet. A device with too many pending notices is disconnected. Returns a version before this one that is missing,
    /// if none was reported before.
    pub(in crate::node) fn notify_desired(&self, notice: DesiredNotice) -> Option<u64> {
        let mut state = self.lock();
        if state.close_reason.is_some() || !state.session.has(Subscription::DesiredProperties) {
            return None;
        }
        let pushed = state.desired_outbox.get_or_insert_default().push(notice);
        let refused = match pushed {
            Pushed::Accepted | Pushed::Missing(_) => None,
            Pushed::Full => Some(CloseReason::SlowReader),
            Pushed::FullOfHeld => Some(CloseReason::MissedTwinChange),
        };
        if let Some(reason) = refused {
            drop(state);
            self.close(reason);
            return None;
        }
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
        match pushed {
            Pushed::Missing(version) => Some(version),
            _ => None,
        }
    }

    /// Returns what became of a notice of desired properties that was missing.
    pub(in crate::node) fn check_desired_gap(&self, version: u64) -> Gap {
        let mut state = self.lock();
        if state.close_reason.is_some() {
            return Gap::Filled;
        }
        state.desired_outbox.as_mut().map_or(Gap::Filled, |outbox| outbox.check_gap(version))
    }

    /// Returns the patches of desired properties that are not sent to the device yet, as JSON text, the oldest first.
    pub(crate) fn pending_desired_patches(&self) -> Vec<Bytes> {
        self.lock().desired_outbox.as_ref().map(|outbox| outbox.patches()).unwrap_or_default()
    }

    /// Sends all desired properties instead of the pending patches, because a patch before them is lost. Then the connection
    /// ends.
    pub(crate) fn resync_desired(&self, notice: DesiredNotice) {
        let mut state = self.lock();
        if !state.session.has(Subscription::DesiredProperties) {
            return;
        }
        state.desired_outbox.get_or_insert_default().resync(notice);
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Records that the device is sent its desired properties at `version`. Notices up to that version are not sent
    /// any more. Returns a later version that is missing, if none was reported before.
    pub(in crate::node) fn mark_desired_read(&self, version: u64) -> Option<u64> {
        let mut state = self.lock();
        let subscribed = state.session.has(Subscription::DesiredProperties);
        state.desired_outbox.get_or_insert_default().mark_read(version, subscribed)
    }
}
