//! The table of connections of this node, in shards, and the callers that wait for a device.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrohub_model::{IdentityId, KeyFingerprint};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::{AcceptError, CloseReason, Connection, Credential};
use super::in_flight::{CallEnd, MethodReply, OutgoingCall};
use crate::session::{Session, Subscription};

/// Enough that two cores or sixty-four seldom meet on one lock.
const SHARDS: usize = 64;

/// What the table knows about one identity. There is none for an identity that is neither connected
/// nor waited for.
#[derive(Debug, Default)]
struct Entry {
    connection: Option<Arc<Connection>>,
    /// The connection that the device left with calls open, until it comes back or its time is up.
    previous: Option<Arc<Connection>>,
    /// Told when the device is there and listens; present while somebody waits.
    ready: Option<Arc<Notify>>,
    waiters: usize,
}

type Shard = HashMap<IdentityId, Entry>;

/// The connections that this node holds.
#[derive(Debug)]
pub struct Connections {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    in_flight_limit: u16,
    /// How often an identity was told to be closed.
    close_count: AtomicU64,
    /// Devices, not modules, that have a connection.
    device_count: AtomicUsize,
}

impl Connections {
    /// An empty table. Each connection carries at most `in_flight_limit` calls.
    #[must_use]
    pub fn new(in_flight_limit: u16) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            in_flight_limit,
            close_count: AtomicU64::new(0),
            device_count: AtomicUsize::new(0),
        }
    }

    /// How often [`Connections::close`] was called, whether or not it found anybody. Who looks at an identity and
    /// then puts its connection in the table knows by this whether the identity may have changed in between.
    #[must_use]
    pub fn close_count(&self) -> u64 {
        self.close_count.load(Ordering::SeqCst)
    }

    fn shard(&self, id: &IdentityId) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(id) as usize % SHARDS;
        #[allow(clippy::indexing_slicing)] // The index is below the length by construction.
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a connection in the table. The one it displaces, if any, is closed and returned.
    /// With `resumes`, calls that an earlier connection was left with can be answered on this one.
    pub fn attach(&self, connection: &Arc<Connection>, resumes: bool) -> Option<Arc<Connection>> {
        let mut shard = self.shard(&connection.id);
        let entry = shard.entry(connection.id.clone()).or_default();
        let displaced = entry.connection.replace(connection.clone());
        let previous = entry.previous.take();
        if displaced.is_none() && connection.id.module_str().is_none() {
            self.device_count.fetch_add(1, Ordering::Relaxed);
        }
        // Under the shard's lock: whoever displaces this one must find what it inherited.
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

    /// Closes a connection and takes it out of the table, unless a newer one is already there.
    /// True if calls are left on it for the device to answer on its next connection; they end with
    /// [`Connections::expire_inherited`].
    pub fn detach(&self, connection: &Arc<Connection>, reason: CloseReason) -> bool {
        connection.close(reason);
        let mut shard = self.shard(&connection.id);
        let Some(entry) = shard.get_mut(&connection.id) else { return false };
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
        Self::remove_if_unused(&mut shard, &connection.id);
        false
    }

    /// The device did not come back in time: ends the calls that this connection was left with.
    pub fn expire_inherited(&self, connection: &Arc<Connection>) {
        let mut shard = self.shard(&connection.id);
        let Some(entry) = shard.get_mut(&connection.id) else { return };
        if entry.previous.as_ref().is_some_and(|previous| Arc::ptr_eq(previous, connection)) {
            entry.previous = None;
            Self::remove_if_unused(&mut shard, &connection.id);
            drop(shard);
            connection.end_calls(CallEnd::Disconnected);
        }
    }

    /// Closes the connection of an identity, and ends the calls of one that the device has left.
    pub fn close(&self, id: &IdentityId, reason: CloseReason) {
        // Before the look: whoever comes after the look sees the count.
        self.close_count.fetch_add(1, Ordering::SeqCst);
        let (connection, previous) = {
            let mut shard = self.shard(id);
            let Some(entry) = shard.get_mut(id) else { return };
            let found = (entry.connection.clone(), entry.previous.take());
            Self::remove_if_unused(&mut shard, id);
            found
        };
        if let Some(connection) = connection {
            connection.close(reason);
        }
        if let Some(previous) = previous {
            previous.end_calls(CallEnd::Disconnected);
        }
    }

    /// Closes the connection of an identity if this is the key that it authenticated with.
    pub fn close_using_key(&self, id: &IdentityId, key: KeyFingerprint, reason: CloseReason) {
        self.close_count.fetch_add(1, Ordering::SeqCst);
        let used = |connection: &Arc<Connection>| connection.credential == Credential::DeviceKey(key);
        if let Some(connection) = self.get(id).filter(used) {
            connection.close(reason);
        }
    }

    /// Changes what a connection listens for, and tells callers that waited for it.
    pub fn set_session(&self, connection: &Arc<Connection>, session: Session) {
        connection.set_session(session);
        if session.has(Subscription::Methods) {
            let mut shard = self.shard(&connection.id);
            if let Some(entry) = shard.get_mut(&connection.id) {
                Self::notify_ready(entry);
            }
        }
    }

    /// The connection of an identity, if this node holds one.
    #[must_use]
    pub fn get(&self, id: &IdentityId) -> Option<Arc<Connection>> {
        self.shard(id).get(id)?.connection.clone()
    }

    /// Every connection of this node that `wanted` picks. Looks at each; not for a hot path.
    pub fn select(&self, wanted: impl Fn(&Connection) -> bool) -> Vec<Arc<Connection>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            found.extend(shard.values().filter_map(|entry| entry.connection.clone()).filter(|c| wanted(c)));
        }
        found
    }

    /// How many devices, not modules, are connected to this node.
    #[must_use]
    pub fn device_count(&self) -> usize {
        self.device_count.load(Ordering::Relaxed)
    }

    /// How many connections this node holds. Looks at each.
    #[must_use]
    pub fn count(&self) -> usize {
        let count = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.values().filter(|entry| entry.connection.is_some()).count()
        };
        self.shards.iter().map(count).sum()
    }

    /// Calls a method on a device that is connected to this node, or connects in time.
    /// Dropping the future cancels the call.
    pub async fn call(&self, target: &IdentityId, call: OutgoingCall) -> Result<MethodReply, CallEnd> {
        loop {
            let connection = self.get(target);
            let mut pending =
                match connection.map(|connection| connection.accept(&call, self.in_flight_limit)) {
                    Some(Ok(pending)) => pending,
                    Some(Err(AcceptError::TooManyInFlight)) => return Err(CallEnd::TooManyInFlight),
                    // Closed: its head is about to take it out of the table, or a newer one is on its way in.
                    Some(Err(AcceptError::Closed | AcceptError::NotSubscribed)) | None => {
                        self.wait_until_ready(target, call.connect_deadline).await?;
                        continue;
                    }
                };
            match timeout(call.response_timeout, &mut pending.reply).await {
                // The device never saw it, so another connection may still carry it.
                Ok(Ok(Err(CallEnd::NotSent))) => {}
                Ok(Ok(end)) => return end,
                // The sender was dropped without a word: the connection is gone.
                Ok(Err(_)) => return Err(CallEnd::Disconnected),
                Err(_) => return Err(CallEnd::TimedOut),
            }
        }
    }

    /// Waits until `target` is connected and listens for methods.
    async fn wait_until_ready(&self, target: &IdentityId, deadline: Instant) -> Result<(), CallEnd> {
        if deadline <= Instant::now() {
            return Err(CallEnd::NotOnline);
        }
        let waiter = Waiter::new(self, target);
        let notified = waiter.ready.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        // It may have come between the caller's look and our entry in the table.
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

    fn remove_if_unused(shard: &mut Shard, id: &IdentityId) {
        let unused =
            |entry: &Entry| entry.connection.is_none() && entry.previous.is_none() && entry.waiters == 0;
        if shard.get(id).is_some_and(unused) {
            shard.remove(id);
        }
    }
}

/// Somebody's place among those who wait for a device.
struct Waiter<'a> {
    table: &'a Connections,
    target: &'a IdentityId,
    ready: Arc<Notify>,
}

impl<'a> Waiter<'a> {
    fn new(table: &'a Connections, target: &'a IdentityId) -> Self {
        let mut shard = table.shard(target);
        let entry = shard.entry(target.clone()).or_default();
        entry.waiters += 1;
        let ready = entry.ready.get_or_insert_default().clone();
        Self { table, target, ready }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut shard = self.table.shard(self.target);
        if let Some(entry) = shard.get_mut(self.target) {
            entry.waiters -= 1;
            if entry.waiters == 0 {
                entry.ready = None;
            }
            Connections::remove_if_unused(&mut shard, self.target);
        }
    }
}
