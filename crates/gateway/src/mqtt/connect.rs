//! Handles CONNECT: IoT Hub's rules for client id, user name, password and will.

use ferrohub_core::connections::CloseReason;
use ferrohub_core::{ConnectRefusal, ConnectRequest};
use ferrohub_model::IdentityId;
use ferrohub_model::mqtt_username::{InvalidUsername, MqttUsername};
use ferrohub_mqtt::server::Connection as Machine;
use ferrohub_mqtt::{Connect, Refusal};
use tokio::time::Instant;
use tracing::{debug, info};

use super::connection_handler::ConnectionHandler;
use super::telemetry;

impl ConnectionHandler {
    pub(super) async fn connect(
        &mut self,
        machine: &mut Machine,
        connect: &Connect,
    ) -> Result<(), CloseReason> {
        // Once the device is in the connection table, this task must not be aborted.
        if !self.slot.mark_authenticated() {
            return Err(CloseReason::ProtocolError);
        }
        match self.try_connect(connect).await {
            Ok(session_present) => {
                machine.accept(session_present, Instant::now().into_std()).map_err(|error| {
                    debug!(peer = %self.peer.address, %error, "protocol error after CONNECT");
                    CloseReason::ProtocolError
                })
            }
            Err(refusal) => {
                machine.reject(refusal);
                Err(CloseReason::ProtocolError)
            }
        }
    }

    async fn try_connect(&mut self, connect: &Connect) -> Result<bool, Refusal> {
        let refuse = |refusal: Refusal, reason: &str| {
            info!(client_id = connect.client_id.as_str(), peer = %self.peer.address, reason, "connect refused");
            refusal
        };
        let id = IdentityId::parse(connect.client_id.as_str())
            .map_err(|_| refuse(Refusal::ClientId, "the client id is not a device or module id"))?;
        let username = connect
            .username
            .as_ref()
            .ok_or_else(|| refuse(Refusal::BadCredentials, "there is no user name"))?;
        let username = MqttUsername::parse(username.as_str(), id.as_str()).map_err(|error| {
            let refusal = match error {
                InvalidUsername::Incomplete => Refusal::BadCredentials,
                InvalidUsername::OtherIdentity => Refusal::NotAuthorized,
            };
            refuse(refusal, &error.to_string())
        })?;
        if !username.host.eq_ignore_ascii_case(self.hub.host()) {
            return Err(refuse(
                Refusal::NotAuthorized,
                "the user name contains the host name of another hub",
            ));
        }
        let token = match connect.password.as_deref().map(std::str::from_utf8) {
            None => None,
            Some(Ok(token)) => Some(token),
            Some(Err(_)) => return Err(refuse(Refusal::BadCredentials, "the password is not UTF-8")),
        };
        let will = match &connect.will {
            None => None,
            Some(will) => Some(telemetry::will(&self.hub, &id, will).map_err(|error| {
                refuse(Refusal::NotAuthorized, &format!("the will is not a valid message: {error}"))
            })?),
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
        let connected = self.hub.connect(&request).await.map_err(|refusal| match refusal {
            ConnectRefusal::NotAuthorized(_) => Refusal::NotAuthorized,
            ConnectRefusal::FaultInjected { retry: false } => Refusal::NotAuthorized,
            ConnectRefusal::Unavailable | ConnectRefusal::FaultInjected { retry: true } => {
                Refusal::ServerUnavailable
            }
        })?;
        self.expires = connected.connection.expires.and_then(|expires| self.to_instant(expires));
        self.durable = !connect.clean_session;
        self.will = will;
        self.connection = Some(connected.connection);
        Ok(connected.session_present)
    }
}
