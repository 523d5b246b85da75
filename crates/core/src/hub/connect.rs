//! How a device's connection begins, changes what it listens for, and ends.

use std::sync::Arc;

use ferrohub_model::{IdentityId, Timestamp};
use tracing::{info, warn};

use super::Hub;
use crate::auth::{DeviceAuthError, PeerCertificate, authenticate};
use crate::connections::{CloseReason, Connection};
use crate::events::HubEvent;
use crate::metrics::count;
use crate::session::Session;
use crate::store::{StoreError, WriteOutcome};

/// What a device presents when it connects, whatever the protocol.
#[derive(Debug)]
pub struct ConnectRequest<'a> {
    /// Who it says it is.
    pub id: &'a IdentityId,
    /// A shared access signature, if it sent one.
    pub token: Option<&'a str>,
    /// The certificate of the TLS handshake, if there was one.
    pub certificate: Option<&'a PeerCertificate>,
    /// The model it says it follows, if it says one.
    pub model_id: Option<&'a str>,
    /// Whether what it listened for before counts no more.
    pub clean_session: bool,
    /// The protocol's name, for the log.
    pub protocol: &'static str,
    /// Where it comes from, for the log.
    pub peer: std::net::SocketAddr,
}

/// A connection that is in the table.
#[derive(Debug)]
pub struct Connected {
    /// To be driven by the protocol head.
    pub connection: Arc<Connection>,
    /// Whether the hub remembered what the device listens for.
    pub session_present: bool,
}

/// Why a connect was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConnectRefusal {
    /// Not who it says it is, or not allowed.
    #[error(transparent)]
    NotAuthorized(#[from] DeviceAuthError),
    /// Try again later.
    #[error("the hub cannot take connections now")]
    Unavailable,
    /// Somebody injected a fault.
    #[error("a fault was injected")]
    FaultInjected {
        /// Whether the device should try again later.
        retry: bool,
    },
}

impl Hub {
    /// Lets a device in: authenticates it, puts its connection in the table, displaces an older one.
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
            warn!(%error, "the store failed during a connect");
            ConnectRefusal::Unavailable
        };
        let now = self.clock.now();
        let close_count = self.connections.close_count();
        let (identity, stored) = self
            .store
            .identity_and_session(request.id)
            .await
            .map_err(unavailable)?
            .ok_or(DeviceAuthError::UnknownIdentity)?;
        self.require_enabled_parent(request.id).await?;
        let verified = authenticate(
            &identity,
            request.token,
            request.certificate,
            &self.host,
            &self.policies,
            &self.authorities,
            now,
        )?;
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
        let displaced = self.emit_connection_events(|emit| {
            let displaced = self.connections.attach(&connection, !request.clean_session);
            let displaced =
                displaced.filter(|displaced| self.record_disconnect(displaced, CloseReason::TakenOver));
            if let Some(displaced) = &displaced {
                emit(displaced, HubEvent::Disconnected);
            }
            emit(&connection, HubEvent::Connected);
            displaced
        });
        if let Some(displaced) = displaced {
            self.log_disconnect(&displaced, CloseReason::TakenOver);
        }
        self.metrics.connections.inc();
        // A change of the identity disconnects whoever is in the table. One that came between our look
        // and our entry found nobody there, so look once more if there may have been one.
        if self.connections.close_count() != close_count
            && let Err(error) = self.reauthenticate(request, &connection).await
        {
            self.disconnected(&connection, CloseReason::CredentialChanged).await;
            return Err(error);
        }
        self.record_presence(&connection, true);
        // What came while it was away. One that comes now finds it in the table.
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
        self.require_enabled_parent(request.id).await?;
        let now = self.clock.now();
        if identity.etag != connection.etag || identity.generation_id != connection.generation_id {
            authenticate(
                &identity,
                request.token,
                request.certificate,
                &self.host,
                &self.policies,
                &self.authorities,
                now,
            )?;
        }
        Ok(())
    }

    /// A module connects only while its device is enabled.
    async fn require_enabled_parent(&self, id: &IdentityId) -> Result<(), ConnectRefusal> {
        if id.module_str().is_none() {
            return Ok(());
        }
        let device =
            ferrohub_model::DeviceId::new(id.device_str()).map_err(|_| DeviceAuthError::UnknownIdentity)?;
        let device = self.store.identity(&device.into()).await.map_err(|_| ConnectRefusal::Unavailable)?;
        match device {
            Some(device) if device.status == ferrohub_model::device::Status::Enabled => Ok(()),
            Some(_) => Err(DeviceAuthError::Disabled.into()),
            None => Err(DeviceAuthError::UnknownIdentity.into()),
        }
    }

    /// The device listens for something else now. With `durable`, that is on disk when this returns.
    pub async fn set_session(
        &self,
        connection: &Arc<Connection>,
        session: Session,
        durable: bool,
    ) -> Result<(), StoreError> {
        // One that was closed may be that of an identity that is gone, and whose id is another's.
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

    /// The connection's transport ended, or is about to: takes it out of the table and ends its calls; those
    /// of a device that said goodbye only after [`Limits::reconnect_grace`](crate::limits::Limits), because
    /// Microsoft's clients renew a token by going and coming back, and answer then.
    /// A connection that was closed before keeps its first reason.
    pub async fn disconnected(&self, connection: &Arc<Connection>, reason: CloseReason) {
        let reason = connection.close_reason().unwrap_or(reason);
        // Before it leaves the table: a reader finds it there or finds when it went.
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

    /// Counts the end of a connection, the first time it is told of it. Runs while all others who come and go wait.
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

    /// Whether the connection's token or certificate has run out.
    #[must_use]
    pub fn is_expired(&self, connection: &Connection, now: Timestamp) -> bool {
        connection.expires.is_some_and(|expires| expires <= now)
    }
}
