//! Handles CONNECT: IoT Hub's rules for client id, user name, password and will.

use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::connections::{ConnectRefusal, ConnectRequest};
use ferrohub_core::log_limit::excerpt;
use ferrohub_core::log_limited;
use ferrohub_core::metrics::count;
use ferrohub_model::IdentityId;
use ferrohub_model::mqtt_username::{InvalidUsername, MqttUsername};
use ferrohub_mqtt::server::Connection as Machine;
use ferrohub_mqtt::{Connect, Refusal};
use tokio::time::Instant;

use super::connection_handler::{Client, ConnectionHandler};
use super::telemetry::{self, InvalidMessage};
use super::violation;

/// Why a CONNECT packet cannot be that of a device of this hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum InvalidConnect {
    #[error("the client id is not a device or module id")]
    ClientId,
    #[error("there is no user name")]
    NoUsername,
    #[error(transparent)]
    Username(InvalidUsername),
    #[error("the user name contains the host name of another hub")]
    OtherHost,
    #[error("the password is not UTF-8")]
    PasswordNotUtf8,
    #[error("the will is not a valid message: {0}")]
    Will(InvalidMessage),
}

impl InvalidConnect {
    /// Returns a fixed word for log and metrics, and what to do.
    fn explain(self) -> (&'static str, &'static str) {
        match self {
            Self::ClientId => {
                ("invalid_client_id", "use the device id as client id, or {device id}/{module id}")
            }
            Self::NoUsername | Self::Username(InvalidUsername::Incomplete) => (
                "invalid_username",
                "use {host name of the hub}/{client id}/?api-version=2021-04-12 as user name",
            ),
            Self::Username(InvalidUsername::OtherIdentity) => {
                ("other_identity", "use the same id as client id and in the user name")
            }
            Self::OtherHost => {
                ("other_host", "use the hub's `hostname` as HostName in the connection string")
            }
            Self::PasswordNotUtf8 => ("invalid_password", "use a SAS token as password"),
            Self::Will(error) => ("invalid_will", error.remedy()),
        }
    }

    fn refusal(self) -> Refusal {
        match self {
            Self::ClientId => Refusal::ClientId,
            Self::NoUsername | Self::Username(InvalidUsername::Incomplete) | Self::PasswordNotUtf8 => {
                Refusal::BadCredentials
            }
            Self::Username(InvalidUsername::OtherIdentity) | Self::OtherHost | Self::Will(_) => {
                Refusal::NotAuthorized
            }
        }
    }
}

impl ConnectionHandler {
    pub(super) async fn connect(
        &mut self,
        machine: &mut Machine,
        connect: &Connect,
    ) -> Result<(), CloseReason> {
        match self.try_connect(connect).await {
            Ok(session_present) => {
                let accepted = machine.accept(session_present, Instant::now().into_std());
                accepted.map_err(|error| violation::record(self, &error))
            }
            Err(refusal) => {
                machine.reject(refusal);
                Err(CloseReason::ProtocolError)
            }
        }
    }

    async fn try_connect(&mut self, connect: &Connect) -> Result<bool, Refusal> {
        let hub = self.hub().clone();
        let (peer, protocol) = (self.peer.address, self.peer.protocol);
        let refuse = |invalid: InvalidConnect| {
            let (reason, remedy) = invalid.explain();
            count(&hub.metrics().connects, reason);
            let client_id = excerpt(connect.client_id.as_str());
            log_limited!(info, "connect refused", reason, client_id, protocol, %peer, error = %invalid, remedy);
            invalid.refusal()
        };
        let id =
            IdentityId::parse(connect.client_id.as_str()).map_err(|_| refuse(InvalidConnect::ClientId))?;
        let username = connect.username.as_ref().ok_or_else(|| refuse(InvalidConnect::NoUsername))?;
        let username = MqttUsername::parse(username.as_str(), id.as_str())
            .map_err(|error| refuse(InvalidConnect::Username(error)))?;
        if !username.host.eq_ignore_ascii_case(hub.host()) {
            return Err(refuse(InvalidConnect::OtherHost));
        }
        let token = match connect.password.as_deref().map(std::str::from_utf8) {
            None => None,
            Some(Ok(token)) => Some(token),
            Some(Err(_)) => return Err(refuse(InvalidConnect::PasswordNotUtf8)),
        };
        let will = match &connect.will {
            None => None,
            Some(will) => {
                Some(telemetry::will(&hub, &id, will).map_err(|error| refuse(InvalidConnect::Will(error)))?)
            }
        };
        let request = ConnectRequest {
            id: &id,
            token,
            certificate: self.peer.certificate.as_ref(),
            model_id: username.model_id.as_deref(),
            clean_session: connect.clean_session,
            protocol: self.peer.protocol,
            peer: self.peer.address,
        };
        let refused = |refusal| match refusal {
            ConnectRefusal::NotAuthorized(_) | ConnectRefusal::FaultInjected { retry: false } => {
                Refusal::NotAuthorized
            }
            ConnectRefusal::Unavailable | ConnectRefusal::FaultInjected { retry: true } => {
                Refusal::ServerUnavailable
            }
        };
        let authenticated = hub.authenticate_connect(&request).await.map_err(refused)?;
        // Once the device is in the connection table, this task must not be aborted. If it was evicted before, it ends.
        if !self.slot.mark_authenticated() {
            return Err(Refusal::ServerUnavailable);
        }
        let connected = authenticated.attach().await.map_err(refused)?;
        self.expires = connected.device.connection().expires().and_then(|expires| self.to_instant(expires));
        self.durable = !connect.clean_session;
        self.will = will;
        self.client = Client::Device(connected.device);
        Ok(connected.session_present)
    }
}
