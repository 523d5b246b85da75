//! Connections of devices and modules: connecting, changing subscriptions, disconnecting.
//!
//! Words of this file:
//!
//! - **connection**: the hub's record of one connected device or module. It is in the connection table
//!   ([`Connections`](crate::node::Connections)) from `attach` to `detach`; a protocol handler owns the socket.
//! - **session**: the subscriptions of an identity ([`Session`]). The store keeps them, so that a device that
//!   reconnects without the flag "clean session" still has them.
//! - **generation**: a connection belongs to one generation of its id. When an identity is deleted and another one gets
//!   its id, that one has a new generation id, and the connection does not count as its connection.
//! - **takeover**: a new connection of an identity replaces the one that is in the table.
//! - **revocation**: a change that ends connections, such as a new key, a removed certificate authority, or a deleted
//!   or disabled identity. It closes the connections that it finds in the table.
//! - **reconnect grace**: the time after a DISCONNECT in which the device may reconnect and answer its open calls.

use std::sync::Arc;

use ferrohub_model::IdentityId;
use ferrohub_model::device::ConnectionState;
use tracing::info;

use crate::auth::{DeviceAuthError, PeerCertificate, VerifiedCredential, remedy};
use crate::callers::ConnectedDevice;
use crate::close_reason::CloseReason;
use crate::connections::SaveSessionOutcome;
use crate::hub::Hub;
use crate::log_limited;
use crate::metrics::count;
use crate::node::Connection;
use crate::registry::Identity;
use crate::session::{Session, Subscription};
use crate::store::StoreError;
use crate::telemetry::HubEvent;

/// A connect request of a device or module, independent of the protocol.
#[derive(Debug)]
pub struct ConnectRequest<'a> {
    /// The identity that the client claims.
    pub id: &'a IdentityId,
    /// The shared access signature, if the client sent one.
    pub token: Option<&'a str>,
    /// The client certificate of the TLS handshake, if there was one.
    pub certificate: Option<&'a PeerCertificate>,
    /// The id of the device's model, if the client sent one.
    pub model_id: Option<&'a str>,
    /// Whether the client discards its earlier subscriptions, and the calls that its previous connection left open. In
    /// MQTT the flag "clean session".
    pub clean_session: bool,
    /// The protocol's name, for the log.
    pub protocol: &'static str,
    /// The client's address, for the log.
    pub peer: std::net::SocketAddr,
}

/// An accepted connection.
#[derive(Debug)]
pub struct Connected {
    /// The connected device, which the protocol head must serve.
    pub device: ConnectedDevice,
    /// Whether the hub restored subscriptions of an earlier connection.
    pub session_present: bool,
}

/// Why a connect was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConnectRefusal {
    /// Authentication failed, or the identity is disabled.
    #[error(transparent)]
    NotAuthorized(#[from] DeviceAuthError),
    /// The hub is stopping or its store failed. The device should try again later.
    #[error("the hub is not ready to accept connections")]
    Unavailable,
    /// An injected fault refused the connect.
    #[error("a fault was injected")]
    FaultInjected {
        /// Whether the device should try again later.
        retry: bool,
    },
}

/// The session belongs to the connection itself, so these need no right.
impl ConnectedDevice {
    /// Changes its session, which is its subscriptions. With `durable`, the session is persisted for
    /// later connections when this returns. Without it, the change ends with the connection.
    pub async fn set_session(&self, session: Session, durable: bool) -> Result<(), StoreError> {
        let (hub, connection) = (self.hub(), self.connection());
        // Sessions are stored by id. The identity of a closed connection may be deleted, and its id may belong to a new
        // identity, which must not get this session.
        if connection.session() == session || connection.close_reason().is_some() {
            return Ok(());
        }
        if durable {
            let outcome = hub.store.save_session(&connection.id, Some(&session)).await?;
            if outcome == SaveSessionOutcome::NotFound {
                connection.close(CloseReason::Deleted);
                return Ok(());
            }
        }
        hub.connections.set_session(connection, session);
        if session.has(Subscription::Methods) {
            hub.jobs.device_changed(&connection.id);
        }
        Ok(())
    }

    /// Records that the device sent something.
    pub fn record_activity(&self) {
        self.connection().touch(self.hub().clock.now());
    }

    /// Detaches the connection, whose transport has ended or is about to end, and ends its method calls. A connection
    /// that was closed before keeps its first reason.
    pub async fn disconnected(&self, reason: CloseReason) {
        self.hub().disconnected(self.connection(), reason).await;
    }
}

/// A connect request that is authenticated: the first of two steps. [`attach`](Self::attach) is the second.
///
/// Between them, a head marks its transport as authenticated. From `attach` on, its task must not be aborted.
pub struct AuthenticatedConnect<'a> {
    hub: Arc<Hub>,
    request: &'a ConnectRequest<'a>,
    identity: Identity,
    stored_session: Option<Session>,
    verified: VerifiedCredential,
    /// The revocations that came before the identity and the policies were read.
    revocations: u64,
}

impl Hub {
    /// Authenticates a connect request of a device or module.
    ///
    /// # Errors
    ///
    /// [`ConnectRefusal`]; it is counted and logged.
    pub async fn authenticate_connect<'a>(
        self: &Arc<Self>,
        request: &'a ConnectRequest<'a>,
    ) -> Result<AuthenticatedConnect<'a>, ConnectRefusal> {
        let authenticated = self.try_authenticate_connect(request).await;
        authenticated.inspect_err(|refusal| self.record_connect_refusal(request, refusal))
    }

    async fn try_authenticate_connect<'a>(
        self: &Arc<Self>,
        request: &'a ConnectRequest<'a>,
    ) -> Result<AuthenticatedConnect<'a>, ConnectRefusal> {
        if self.is_stopping() {
            return Err(ConnectRefusal::Unavailable);
        }
        // Read before the identity and the policies: see the check in `attach`.
        let revocations = self.connections.revocations();
        let (identity, stored_session) = self
            .store
            .identity_and_session(request.id)
            .await
            .map_err(|error| unavailable(request, &error))?
            .ok_or(DeviceAuthError::UnknownIdentity)?;
        let verified = self.verify(request, &identity).await?;
        if let Some(retry) = self.injected_connect_refusal(request.id) {
            return Err(ConnectRefusal::FaultInjected { retry });
        }
        let hub = self.clone();
        Ok(AuthenticatedConnect { hub, request, identity, stored_session, verified, revocations })
    }

    fn record_connect_refusal(&self, request: &ConnectRequest<'_>, refusal: &ConnectRefusal) {
        let reason = match refusal {
            ConnectRefusal::NotAuthorized(error) => error.reason(),
            ConnectRefusal::Unavailable => "unavailable",
            ConnectRefusal::FaultInjected { .. } => "fault_injected",
        };
        count(&self.metrics.connects, reason);
        log_limited!(
            info,
            "connect refused",
            reason,
            device = %request.id,
            protocol = request.protocol,
            peer = %request.peer,
            error = %refusal,
            remedy = remedy(reason)
        );
    }
}

fn unavailable(request: &ConnectRequest<'_>, error: &StoreError) -> ConnectRefusal {
    log_limited!(
        warn,
        "a store operation failed during a connect",
        "store_failed",
        device = %request.id,
        %error
    );
    ConnectRefusal::Unavailable
}

impl AuthenticatedConnect<'_> {
    /// Registers the connection in the connection table, and takes over from an older connection of the same identity.
    ///
    /// # Errors
    ///
    /// [`ConnectRefusal`]; it is counted and logged.
    pub async fn attach(self) -> Result<Connected, ConnectRefusal> {
        let (hub, request) = (self.hub.clone(), self.request);
        match self.try_attach().await {
            Ok(connected) => {
                count(&hub.metrics.connects, "accepted");
                info!(
                    device = %request.id, protocol = request.protocol, peer = %request.peer,
                    session_present = connected.session_present, "connected"
                );
                Ok(connected)
            }
            Err(refusal) => {
                hub.record_connect_refusal(request, &refusal);
                Err(refusal)
            }
        }
    }

    async fn try_attach(self) -> Result<Connected, ConnectRefusal> {
        let Self { hub, request, identity, stored_session, verified, revocations } = self;
        if let Some(model_id) = request.model_id.filter(|model_id| !model_id.is_empty()) {
            hub.record_model_id(request.id, model_id).await.map_err(|_| ConnectRefusal::Unavailable)?;
        }
        if request.clean_session && stored_session.is_some() {
            hub.store.save_session(request.id, None).await.map_err(|error| unavailable(request, &error))?;
        }
        let session = stored_session.filter(|_| !request.clean_session);
        let connection = Arc::new(Connection::new(
            &identity,
            verified.credential,
            Some(verified.expires),
            session.unwrap_or_default(),
            hub.clock.now(),
        ));
        // The table changes and the events are queued under one lock, so that the events are in the order of the
        // changes.
        let replaced = hub.emit_connection_events(|emit| {
            let replaced = hub.connections.attach(&connection, !request.clean_session);
            // `None` also if the replaced connection had ended already, and its end is recorded.
            let replaced =
                replaced.filter(|replaced| hub.record_disconnect(replaced, CloseReason::TakenOver));
            if let Some(replaced) = &replaced {
                emit(replaced, HubEvent::Disconnected);
            }
            emit(&connection, HubEvent::Connected);
            replaced
        });
        if let Some(replaced) = replaced {
            hub.log_disconnect(&replaced, CloseReason::TakenOver);
        }
        hub.metrics.connections.inc();
        // A revocation that came after the authentication above and before `attach` did not find this connection in the
        // table, so authenticate again if there was any. From here on, a revocation finds it.
        if hub.connections.revocations() != revocations
            && let Err(error) = hub.reauthenticate(request, &connection).await
        {
            hub.disconnected(&connection, CloseReason::CredentialChanged).await;
            return Err(error);
        }
        // The same for a shutdown, which closes the connections in the table.
        if hub.is_stopping() {
            hub.disconnected(&connection, CloseReason::Stopping).await;
            return Err(ConnectRefusal::Unavailable);
        }
        hub.record_connection_state(&connection, ConnectionState::Connected);
        // For messages queued while the device was not connected. From now on, a new message notifies the connection.
        connection.notify_messages();
        if connection.listens_for_methods() {
            hub.jobs.device_changed(request.id);
        }
        hub.schedule_injected_disconnect(&connection);
        hub.bus.announce_connection(request.id).await;
        let session_present = session.is_some();
        Ok(Connected { device: ConnectedDevice::new(hub, connection), session_present })
    }
}

impl Hub {
    /// Authenticates the request of a connection again, which is in the table already. Fails if the request is not
    /// valid any more, or if it is valid in another way than before.
    async fn reauthenticate(
        &self,
        request: &ConnectRequest<'_>,
        connection: &Connection,
    ) -> Result<(), ConnectRefusal> {
        let identity = self.store.identity(request.id).await.map_err(|_| ConnectRefusal::Unavailable)?;
        let identity = identity.ok_or(DeviceAuthError::UnknownIdentity)?;
        let verified = self.verify(request, &identity).await?;
        // The connection was made with the session, the credential and the expiry that were found first, and a
        // revocation finds it by its credential. If one of them is another one now, the device must connect again.
        // Examples: the identity was deleted and created again, or the token now verifies with another key.
        let is_same = identity.generation_id == connection.generation_id
            && verified.credential == connection.credential()
            && Some(verified.expires) == connection.expires();
        if is_same { Ok(()) } else { Err(ConnectRefusal::Unavailable) }
    }

    /// Verifies the credential of a connect request against the current policies and authorities.
    async fn verify(
        &self,
        request: &ConnectRequest<'_>,
        identity: &Identity,
    ) -> Result<VerifiedCredential, ConnectRefusal> {
        // A module can also authenticate with a key of its device.
        let device = match request.id.module_str() {
            Some(_) => self.device_of(request.id).await.map_err(|_| ConnectRefusal::Unavailable)?,
            None => None,
        };
        let verified =
            self.authenticate(identity, device.as_ref(), request.token, request.certificate).await?;
        Ok(verified)
    }

    /// Detaches a connection whose transport has ended or is about to end, and ends its method calls.
    ///
    /// If the device sent DISCONNECT, its calls end only after
    /// [`Limits::reconnect_grace`](crate::limits::Limits::reconnect_grace): Microsoft's clients disconnect and
    /// reconnect to renew a token, and send their responses then. The next connection of the device inherits the calls.
    /// A connection that was closed before keeps its first reason.
    pub(crate) async fn disconnected(&self, connection: &Arc<Connection>, reason: CloseReason) {
        let reason = connection.close_reason().unwrap_or(reason);
        // Before `detach`: a reader sees either the connection in the table or the time of its disconnect.
        let is_first = self.emit_connection_events(|emit| {
            let is_first = self.record_disconnect(connection, reason);
            if is_first {
                emit(connection, HubEvent::Disconnected);
            }
            is_first
        });
        if is_first {
            self.log_disconnect(connection, reason);
        }
        // After a takeover the identity is still connected.
        if is_first && reason != CloseReason::TakenOver {
            self.record_connection_state(connection, ConnectionState::Disconnected);
        }
        // True if calls are left open, which only a DISCONNECT does. Without a reconnect they end after the grace.
        if self.connections.detach(connection, reason) {
            let (connections, connection) = (self.connections.clone(), connection.clone());
            let grace = self.limits.reconnect_grace;
            tokio::spawn(async move {
                tokio::time::sleep(grace).await;
                connections.expire_inherited(&connection);
            });
        }
    }

    /// Counts the end of a connection in the metrics. Returns `false` if it was counted before: the end is noticed by
    /// the takeover, by the protocol handler, or by both.
    ///
    /// The caller may hold the lock of the connection events, so this must not block.
    fn record_disconnect(&self, connection: &Connection, reason: CloseReason) -> bool {
        if !connection.mark_disconnected() {
            return false;
        }
        self.metrics.connections.dec();
        count(&self.metrics.disconnects, reason.name());
        true
    }

    fn log_disconnect(&self, connection: &Connection, reason: CloseReason) {
        let seconds = (self.clock.now().unix_millis() - connection.connected_at.unix_millis()) / 1000;
        info!(device = %connection.id, reason = reason.name(), seconds, "disconnected");
    }
}
