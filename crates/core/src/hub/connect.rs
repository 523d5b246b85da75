//! Connections of devices: connecting, changing subscriptions, disconnecting.

use std::sync::Arc;

use ferrohub_model::{IdentityId, Timestamp};
use tracing::{info, warn};

use super::Hub;
use crate::auth::{DeviceAuthError, PeerCertificate, VerifiedCredential};
use crate::connections::{CloseReason, Connection};
use crate::events::HubEvent;
use crate::metrics::count;
use crate::registry::Identity;
use crate::session::Session;
use crate::store::{StoreError, WriteOutcome};

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
    /// Whether the client discards its earlier subscriptions.
    pub clean_session: bool,
    /// The protocol's name, for the log.
    pub protocol: &'static str,
    /// The client's address, for the log.
    pub peer: std::net::SocketAddr,
}

/// An accepted connection.
#[derive(Debug)]
pub struct Connected {
    /// The connection, which the protocol front end must serve.
    pub connection: Arc<Connection>,
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

impl Hub {
    /// Connects a device or module: authenticates it, registers its connection and takes over from an older connection
    /// of the same identity.
    pub async fn connect(&self, request: &ConnectRequest<'_>) -> Result<Connected, ConnectRefusal> {
        let result = self.try_connect(request).await;
        match &result {
            Ok(connected) => {
                count(&self.metrics.connects, "accepted");
                info!(
                    device = %request.id, protocol = request.protocol, peer = %request.peer,
                    session_present = connected.session_present, "connected"
                );
            }
            Err(refusal) => {
                let reason = match refusal {
                    ConnectRefusal::NotAuthorized(error) => error.reason(),
                    ConnectRefusal::Unavailable => "unavailable",
                    ConnectRefusal::FaultInjected { .. } => "fault_injected",
                };
                count(&self.metrics.connects, reason);
                info!(device = %request.id, protocol = request.protocol, peer = %request.peer, %refusal, "connect refused");
            }
        }
        result
    }

    async fn try_connect(&self, request: &ConnectRequest<'_>) -> Result<Connected, ConnectRefusal> {
        if self.is_stopping() {
            return Err(ConnectRefusal::Unavailable);
        }
        let unavailable = |error: StoreError| {
            warn!(%error, "a store operation failed during a connect");
            ConnectRefusal::Unavailable
        };
        let revocations = self.connections.revocations();
        let (identity, stored) = self
            .store
            .identity_and_session(request.id)
            .await
            .map_err(unavailable)?
            .ok_or(DeviceAuthError::UnknownIdentity)?;
        let verified = self.verify(request, &identity).await?;
        if let Some(retry) = self.injected_connect_refusal(request.id) {
            return Err(ConnectRefusal::FaultInjected { retry });
        }
        if let Some(model_id) = request.model_id.filter(|model_id| !model_id.is_empty()) {
            self.record_model_id(request.id, model_id).await.map_err(|_| ConnectRefusal::Unavailable)?;
        }
        if request.clean_session && stored.is_some() {
            self.store.save_session(request.id, None).await.map_err(unavailable)?;
        }
        let session = stored.filter(|_| !request.clean_session);
        let connection = Arc::new(Connection::new(
            &identity,
            verified.credential,
            Some(verified.expires),
            session.unwrap_or_default(),
            self.clock.now(),
        ));
        let replaced = self.emit_connection_events(|emit| {
            let replaced = self.connections.attach(&connection, !request.clean_session);
            let replaced =
                replaced.filter(|replaced| self.record_disconnect(replaced, CloseReason::TakenOver));
            if let Some(replaced) = &replaced {
                emit(replaced, HubEvent::Disconnected);
            }
            emit(&connection, HubEvent::Connected);
            replaced
        });
        if let Some(replaced) = replaced {
            self.log_disconnect(&replaced, CloseReason::TakenOver);
        }
        self.metrics.connections.inc();
        // A revocation closes the connections in the table. One that came after the authentication above and before the
        // connection was attached did not find it, so authenticate again if there was any.
        if self.connections.revocations() != revocations
            && let Err(error) = self.reauthenticate(request, &connection).await
        {
            self.disconnected(&connection, CloseReason::CredentialChanged).await;
            return Err(error);
        }
        // The same for a shutdown, which closes the connections in the table.
        if self.is_stopping() {
            self.disconnected(&connection, CloseReason::Stopping).await;
            return Err(ConnectRefusal::Unavailable);
        }
        self.record_presence(&connection, true);
        // For messages queued while the device was not connected. From now on, a new message notifies the connection.
        connection.notify_messages();
        self.schedule_injected_disconnect(&connection);
        self.bus.announce_connection(request.id).await;
        Ok(Connected { connection, session_present: session.is_some() })
    }

    async fn reauthenticate(
        &self,
        request: &ConnectRequest<'_>,
        connection: &Connection,
    ) -> Result<(), ConnectRefusal> {
        let identity = self.store.identity(request.id).await.map_err(|_| ConnectRefusal::Unavailable)?;
        let identity = identity.ok_or(DeviceAuthError::UnknownIdentity)?;
        let verified = self.verify(request, &identity).await?;
        // The connection has the session of the identity, and is closed with its credential. If either is another one
        // now, the device must connect again.
        let is_same = identity.generation_id == connection.generation_id
            && verified.credential == connection.credential
            && Some(verified.expires) == connection.expires;
        if is_same { Ok(()) } else { Err(ConnectRefusal::Unavailable) }
    }

    /// Verifies the credential of a connect request against the current policies and authorities.
    async fn verify(
        &self,
        request: &ConnectRequest<'_>,
        identity: &Identity,
    ) -> Result<VerifiedCredential, ConnectRefusal> {
        let device = match request.id.module_str() {
            Some(_) => self.device_of(request.id).await.map_err(|_| ConnectRefusal::Unavailable)?,
            None => None,
        };
        let verified =
            self.authenticate(identity, device.as_ref(), request.token, request.certificate).await?;
        Ok(verified)
    }

    /// Changes the subscriptions of a connection. With `durable`, they are persisted when this returns.
    pub async fn set_session(
        &self,
        connection: &Arc<Connection>,
        session: Session,
        durable: bool,
    ) -> Result<(), StoreError> {
        // The identity of a closed connection may be deleted, and its id reused by a new identity.
        if connection.session() == session || connection.close_reason().is_some() {
            return Ok(());
        }
        if durable {
            let written = self.store.save_session(&connection.id, Some(&session)).await?;
            if written == WriteOutcome::NotFound {
                connection.close(CloseReason::Deleted);
                return Ok(());
            }
        }
        self.connections.set_session(connection, session);
        Ok(())
    }

    /// Detaches a connection whose transport has ended or is about to end, and ends its method calls.
    ///
    /// If the device disconnected properly, its calls end only after
    /// [`Limits::reconnect_grace`](crate::limits::Limits::reconnect_grace): Microsoft's clients disconnect and
    /// reconnect to renew a token, and send their responses then. A connection that was closed before keeps its first
    /// reason.
    pub async fn disconnected(&self, connection: &Arc<Connection>, reason: CloseReason) {
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
        if is_first && reason != CloseReason::TakenOver {
            self.record_presence(connection, false);
        }
        if self.connections.detach(connection, reason) {
            let (connections, connection) = (self.connections.clone(), connection.clone());
            let grace = self.limits.reconnect_grace;
            tokio::spawn(async move {
                tokio::time::sleep(grace).await;
                connections.expire_inherited(&connection);
            });
        }
    }

    /// Counts the end of a connection. Returns `false` if it was counted before.
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
        let seconds = (self.clock.now().unix_millis() - connection.connected.unix_millis()) / 1000;
        info!(device = %connection.id, reason = reason.name(), seconds, "disconnected");
    }

    /// Returns whether the connection's token or certificate has expired.
    #[must_use]
    pub fn is_expired(&self, connection: &Connection, now: Timestamp) -> bool {
        connection.expires.is_some_and(|expires| expires <= now)
    }
}
