//! The sharded table of this node's connections, and the callers that wait for a device to connect.

mod shard;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrohub_model::{IdentityId, KeyFingerprint};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use self::shard::{Entry, Removed, Shard};
use super::Selector;
use super::connection::{AcceptError, Connection};
use super::desired::DesiredNotice;
use super::desired_gaps::DesiredGaps;
use super::in_flight::{CallEnd, MethodReply, OutgoingCall};
use crate::auth::Credential;
use crate::close_reason::CloseReason;
use crate::session::{Session, Subscription};

/// Enough shards that even 64 cores rarely contend for one lock.
const SHARDS: usize = 64;

/// The connections of this node.
#[derive(Debug)]
pub struct Connections {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    in_flight_limit: u16,
    /// Number of revocations: requests to close the connections of an identity or credential.
    revocations: AtomicU64,
    /// Number of connected devices. Modules are not counted.
    device_count: AtomicUsize,
    desired_gaps: DesiredGaps,
}

impl Connections {
    /// Creates an empty table. Each connection may have at most `in_flight_limit` calls in flight.
    #[must_use]
    pub fn new(in_flight_limit: u16) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            in_flight_limit,
            revocations: AtomicU64::new(0),
            device_count: AtomicUsize::new(0),
            desired_gaps: DesiredGaps::default(),
        }
    }

    /// Returns how many revocations there were, whether or not they found a connection.
    ///
    /// A revocation writes the change, then counts itself, then closes the connections in the table. A connect reads the
    /// number, authenticates, attaches its connection, and reads the number again. If it is the same, a revocation that
    /// comes later finds the connection in the table. If it differs, the connect must authenticate again.
    #[must_use]
    pub fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::SeqCst)
    }

    fn shard(&self, id: &IdentityId) -> MutexGuard<'_, Shard> {
        self.shard_of(id.device_str())
    }

    /// Returns the shard of a device and its modules.
    fn shard_of(&self, device: &str) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(device) as usize % SHARDS;
        #[allow(clippy::indexing_slicing)] // The index is below the length by construction.
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection to the table. If it replaces another one (takeover), that one is closed and returned.
    /// With `resumes`, calls in flight on an earlier, cleanly closed connection can be answered on this one. Otherwise
    /// they end.
    pub fn attach(&self, connection: &Arc<Connection>, resumes: bool) -> Option<Arc<Connection>> {
        let mut shard = self.shard(&connection.id);
        let entry = shard.entry(&connection.id);
        let displaced = entry.connection.replace(connection.clone());
        let previous = entry.previous.take();
        if displaced.is_none() && connection.id.module_str().is_none() {
            self.device_count.fetch_add(1, Ordering::Relaxed);
        }
        // Done under the shard's lock: a connection that replaces this one must find the calls that it inherited.
        for earlier in displaced.iter().chain(&previous).filter(|earlier| earlier.close_reason().is_some()) {
            if resumes {
                connection.inherit_calls(earlier);
            } else {
                earlier.end_calls(CallEnd::Disconnected);
            }
        }
        if connection.listens_for_methods() {
            Self::notify_ready(entry);
        }
        drop(shard);
        if let Some(displaced) = &displaced {
            displaced.close(CloseReason::TakenOver);
        }
        displaced
    }

    /// Closes a connection and removes it from the table, unless a newer one has replaced it.
    /// Returns true if calls are left in flight, which the device may answer on its next connection. They end with
    /// [`Connections::expire_inherited`].
    pub fn detach(&self, connection: &Arc<Connection>, reason: CloseReason) -> bool {
        connection.close(reason);
        let mut shard = self.shard(&connection.id);
        let Some(entry) = shard.entries.get_mut(&connection.id) else { return false };
        let is_current = entry.connection.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection));
        if is_current {
            entry.connection = None;
            if connection.id.module_str().is_none() {
                self.device_count.fetch_sub(1, Ordering::Relaxed);
            }
            if connection.has_calls() {
                entry.previous = Some(connection.clone());
                return true;
            }
        }
        shard.remove_if_unused(&connection.id);
        false
    }

    /// Ends the calls left in flight on this connection, because the device did not reconnect in time.
    pub fn expire_inherited(&self, connection: &Arc<Connection>) {
        let mut shard = self.shard(&connection.id);
        let Some(entry) = shard.entries.get_mut(&connection.id) else { return };
        if entry.previous.as_ref().is_some_and(|previous| Arc::ptr_eq(previous, connection)) {
            entry.previous = None;
            shard.remove_if_unused(&connection.id);
            drop(shard);
            connection.end_calls(CallEnd::Disconnected);
        }
    }

    /// Closes the connections that `selector` selects, and counts a revocation.
    ///
    /// Those of an identity, of a device and its modules, and of a key are found in the entries of the device. Those of a
    /// policy or authority are found with a scan of all connections, because these change rarely.
    pub fn disconnect(&self, selector: &Selector, reason: CloseReason) {
        // Count before the look-up: a connection that is attached after the look-up then sees the new count.
        self.revocations.fetch_add(1, Ordering::SeqCst);
        match selector {
            Selector::Identity(id) => {
                let removed = self.shard(id).take(id);
                removed.close(reason);
            }
            Selector::Device(device) => {
                let removed: Vec<Removed> = {
                    let mut shard = self.shard_of(device.as_str());
                    let ids = shard.device_and_modules(device);
                    ids.iter().map(|id| shard.take(id)).collect()
                };
                removed.into_iter().for_each(|removed| removed.close(reason));
            }
            Selector::Key { identity, key } => self.close_using_key(identity, *key, reason),
            Selector::Policy { name } => self.close_where(
                reason,
                |used| matches!(used, Credential::Policy { name: used } if **used == **name),
            ),
            Selector::Authority { name } => self.close_where(
                reason,
                |used| matches!(used, Credential::Authority { name: used } if **used == **name),
            ),
        }
    }

    /// Closes the connection of an identity, because a newer one of it is on another node. Calls in flight end as in any
    /// takeover.
    pub fn take_over(&self, id: &IdentityId) {
        let removed = self.shard(id).take(id);
        removed.close(CloseReason::TakenOver);
    }

    fn close_using_key(&self, id: &IdentityId, key: KeyFingerprint, reason: CloseReason) {
        let close_if = |id: &IdentityId, credential: &Credential| {
            if let Some(connection) = self.get(id).filter(|c| c.authenticated_with(|used| used == credential))
            {
                connection.close(reason);
            }
        };
        close_if(id, &Credential::DeviceKey(key));
        if let Some(device) = id.to_device() {
            let ids = self.shard_of(device.as_str()).device_and_modules(&device);
            ids.iter().for_each(|id| close_if(id, &Credential::ParentDeviceKey(key)));
        }
    }

    /// Scans all connections: not for a hot path.
    fn close_where(&self, reason: CloseReason, revoked: impl Fn(&Credential) -> bool) {
        for connection in self.select(|connection| connection.authenticated_with(&revoked)) {
            connection.close(reason);
        }
    }

    /// Notifies the connection of `target` of a change of its desired properties, if this node has it.
    pub fn notify_desired(&self, target: &IdentityId, notice: DesiredNotice) {
        if let Some(connection) = self.get(target)
            && let Some(missing) = connection.notify_desired(notice)
        {
            self.desired_gaps.add(connection, missing);
        }
    }

    /// Records that the device is sent its desired properties at `version`. Notices up to that version are not sent
    /// any more.
    pub fn mark_desired_read(&self, connection: &Arc<Connection>, version: u64) {
        if let Some(missing) = connection.mark_desired_read(version) {
            self.desired_gaps.add(connection.clone(), missing);
        }
    }

    /// Returns the next connection that has lost a notice of desired properties: one that did not come within a second after
    /// a newer one. Cancel-safe. For one caller at a time.
    pub async fn next_desired_gap(&self) -> Arc<Connection> {
        self.desired_gaps.next().await
    }

    /// Notifies the connection of `target` that messages may be queued for it, if this node has it.
    pub fn notify_messages(&self, target: &IdentityId) {
        if let Some(connection) = self.get(target) {
            connection.notify_messages();
        }
    }

    /// Returns whether `target` has an open connection to this node.
    #[must_use]
    pub fn is_connected(&self, target: &IdentityId) -> bool {
        self.get(target).is_some_and(|connection| connection.close_reason().is_none())
    }

    /// Changes the subscriptions of a connection, and wakes callers that wait for a subscription to methods.
    pub fn set_session(&self, connection: &Arc<Connection>, session: Session) {
        connection.set_session(session);
        if session.has(Subscription::Methods) {
            let mut shard = self.shard(&connection.id);
            if let Some(entry) = shard.entries.get_mut(&connection.id) {
                Self::notify_ready(entry);
            }
        }
    }

    /// Returns the connection of an identity, if this node has one.
    #[must_use]
    pub fn get(&self, id: &IdentityId) -> Option<Arc<Connection>> {
        self.shard(id).entries.get(id)?.connection.clone()
    }

    /// Returns the connections for which `wanted` returns true. Scans all connections: not for a hot path.
    pub fn select(&self, wanted: impl Fn(&Connection) -> bool) -> Vec<Arc<Connection>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            found.extend(
                shard.entries.values().filter_map(|entry| entry.connection.clone()).filter(|c| wanted(c)),
            );
        }
        found
    }

    /// Returns the number of devices connected to this node. Modules are not counted.
    #[must_use]
    pub fn device_count(&self) -> usize {
        self.device_count.load(Ordering::Relaxed)
    }

    /// Returns the number of connections of this node. Scans all connections.
    #[must_use]
    pub fn count(&self) -> usize {
        let count = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.entries.values().filter(|entry| entry.connection.is_some()).count()
        };
        self.shards.iter().map(count).sum()
    }

    /// Calls a method on a device that is connected to this node, or that connects before the deadline.
    /// Dropping the future cancels the call.
    pub async fn call(&self, target: &IdentityId, call: OutgoingCall) -> Result<MethodReply, CallEnd> {
        let now = Instant::now();
        let connect_deadline = now.checked_add(call.connect_timeout).unwrap_or(now);
        loop {
            let connection = self.get(target);
            let mut pending =
                match connection.map(|connection| connection.accept(&call, self.in_flight_limit)) {
                    Some(Ok(pending)) => pending,
                    Some(Err(AcceptError::TooManyInFlight)) => return Err(CallEnd::TooManyInFlight),
                    // Closed: its protocol handler is about to remove it, or a newer one is about to replace it.
                    Some(Err(AcceptError::Closed | AcceptError::NotSubscribed)) | None => {
                        self.wait_until_ready(target, connect_deadline).await?;
                        continue;
                    }
                };
            match timeout(call.response_timeout, &mut pending.reply).await {
                // The call was not sent to the device, so it can be sent on another connection.
                Ok(Ok(Err(CallEnd::NotSent))) => {}
                Ok(Ok(end)) => return end,
                // The sender was dropped without a result: the connection is gone.
                Ok(Err(_)) => return Err(CallEnd::Disconnected),
                Err(_) => return Err(CallEnd::TimedOut),
            }
        }
    }

    /// Waits until `target` is connected and subscribed to methods.
    async fn wait_until_ready(&self, target: &IdentityId, deadline: Instant) -> Result<(), CallEnd> {
        if deadline <= Instant::now() {
            return Err(CallEnd::NotOnline);
        }
        let waiter = Waiter::new(self, target);
        let notified = waiter.ready.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        // The device may have become ready between the caller's look-up and the registration of this waiter.
        if self.get(target).is_some_and(|connection| connection.listens_for_methods()) {
            return Ok(());
        }
        timeout_at(deadline, notified).await.map_err(|_| CallEnd::NotOnline)
    }

    fn notify_ready(entry: &Entry) {
        if let Some(ready) = &entry.ready {
            ready.notify_waiters();
        }
    }
}

/// Registers a caller that waits for a device. Dropping it removes the registration.
struct Waiter<'a> {
    table: &'a Connections,
    target: &'a IdentityId,
    ready: Arc<Notify>,
}

impl<'a> Waiter<'a> {
    fn new(table: &'a Connections, target: &'a IdentityId) -> Self {
        let mut shard = table.shard(target);
        let entry = shard.entry(target);
        entry.waiters += 1;
        let ready = entry.ready.get_or_insert_default().clone();
        Self { table, target, ready }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut shard = self.table.shard(self.target);
        if let Some(entry) = shard.entries.get_mut(self.target) {
            entry.waiters -= 1;
            if entry.waiters == 0 {
                entry.ready = None;
            }
            shard.remove_if_unused(self.target);
        }
    }
}
