//! Connects: transport, CONNECT and SUBSCRIBE.

use std::future::Future;

use ferrohub_mqtt::client::{Event, Session};
use ferrohub_mqtt::{Refusal, SendError};
use tokio::time::{Instant, timeout};

use super::link::Link;
use super::subscribe::Subscriptions;
use super::{Driver, ExitReason, Shared};
use crate::credential::Token;
use crate::error::{Error, ErrorKind};
use crate::feature::{Feature, Features};
use crate::renewal::Renewal;
use crate::status::ConnectionStatus;
use crate::transport::BoxStream;

/// More than a hub has in flight to one device.
const MAX_BUFFERED_EVENTS: usize = 1024;

/// A connection that the hub accepted.
pub(super) struct Connected {
    pub(super) link: Link,
    pub(super) subscriptions: Subscriptions,
    /// When the renewal of the token begins, and when it must be done. `None` if the token cannot be renewed, and with
    /// certificates.
    pub(super) renewal: Option<(Instant, Instant)>,
}

/// A transport connection, ready for CONNECT.
pub(super) struct PreparedConnection {
    stream: BoxStream,
    token: Option<Token>,
    /// When the token was obtained.
    since: Instant,
}

impl Shared {
    /// Obtains a token and opens the transport. An older connection may still be in use.
    pub(super) async fn prepare(&self) -> Result<PreparedConnection, Error> {
        let token = self.config.token().await?;
        let since = Instant::now();
        let stream =
            self.with_timeout("opening a connection to the hub", self.config.connector.connect()).await?;
        Ok(PreparedConnection { stream, token, since })
    }

    /// Sends CONNECT and waits for CONNACK, then sends SUBSCRIBE for the wanted features that the session does not have
    /// and waits for SUBACK. `granted` are the subscriptions of the session, as far as this client knows.
    pub(super) async fn establish(
        &self,
        prepared: PreparedConnection,
        session: Session,
        granted: Features,
    ) -> Result<Connected, Error> {
        let connect = self.config.connect_packet(prepared.token.as_ref())?;
        let mut link = Link::new(prepared.stream, &connect, session, self.config.mqtt.clone())?;
        let entering = async {
            let session_present = wait_for_connack(&mut link).await?;
            // Azure and Ferrohub keep the subscriptions of a session for different times. Only the absence of a
            // session, and the SUBACKs that this client received, are reliable.
            let granted = if session_present { granted } else { Features::NONE };
            let mut subscriptions = Subscriptions::resumed(granted);
            let missing = subscriptions.missing(self.wanted_features());
            if !missing.is_empty() {
                self.subscribe(&mut link, &mut subscriptions, missing).await?;
            }
            Ok(subscriptions)
        };
        let subscriptions = self.with_timeout("the MQTT handshake", entering).await?;
        let renewal = prepared.token.filter(|_| self.config.credential.is_renewable()).map(|token| {
            let renewal = Renewal::for_lifetime(token.lifetime);
            (prepared.since + renewal.begin, prepared.since + renewal.latest)
        });
        Ok(Connected { link, subscriptions, renewal })
    }

    /// Subscribes and waits for SUBACK. A hub with an earlier subscription may send messages before SUBACK, and PUBACKs
    /// of repeated packets; these events are buffered.
    async fn subscribe(
        &self,
        link: &mut Link,
        subscriptions: &mut Subscriptions,
        features: Features,
    ) -> Result<(), Error> {
        let id = subscriptions.subscribe(self, link, features).map_err(send_error)?;
        let mut buffered = Vec::new();
        loop {
            match link.next().await? {
                Event::SubAck { packet_id, codes } if packet_id == id => {
                    link.requeue(buffered);
                    subscriptions.handle_suback(packet_id, &codes);
                    // Without method calls the connect fails. Other refused features fail when they are used.
                    return match subscriptions.refused.contains(Feature::Methods) {
                        false => Ok(()),
                        true => Err(Error::new(
                            ErrorKind::Rejected,
                            "the hub refused the subscription to method calls",
                        )),
                    };
                }
                _ if buffered.len() >= MAX_BUFFERED_EVENTS => {
                    return Err(Error::new(
                        ErrorKind::Protocol,
                        "the hub sent too many messages before SUBACK",
                    ));
                }
                event => buffered.push(event),
            }
        }
    }

    async fn with_timeout<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        timeout(self.config.connect_timeout, work)
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, format!("{what} took too long"))))
    }
}

impl Driver {
    /// Makes one attempt, which `disconnect` cancels.
    pub(super) async fn connect(&mut self) -> Result<Connected, ExitReason> {
        self.set_status(ConnectionStatus::Connecting);
        // Clones: a failed attempt leaves the session unchanged.
        let (shared, session, granted) =
            (self.shared.clone(), self.session.clone(), self.subscriptions.granted);
        let attempt = async {
            let prepared = shared.prepare().await?;
            shared.establish(prepared, session, granted).await
        };
        tokio::select! {
            outcome = attempt => {
                let mut connected = outcome.map_err(ExitReason::Lost)?;
                self.connection_started(&mut connected);
                Ok(connected)
            }
            _ = self.commands.recv() => Err(ExitReason::Requested),
        }
    }
}

async fn wait_for_connack(link: &mut Link) -> Result<bool, Error> {
    match link.next().await? {
        Event::Connected { session_present } => Ok(session_present),
        Event::Refused(refusal) => {
            let kind = match refusal {
                Refusal::BadCredentials | Refusal::NotAuthorized => ErrorKind::Unauthorized,
                Refusal::ServerUnavailable => ErrorKind::Unavailable,
                Refusal::ProtocolVersion | Refusal::ClientId => ErrorKind::Rejected,
            };
            Err(Error::new(kind, format!("the hub refused the connection: {refusal}")))
        }
        // The state machine allows no other event before CONNACK.
        event => {
            Err(Error::new(ErrorKind::Protocol, format!("the hub sent a packet before CONNACK: {event:?}")))
        }
    }
}

pub(super) fn send_error(error: SendError) -> Error {
    Error::new(ErrorKind::Protocol, format!("the packet cannot be sent: {error}")).with_source(error)
}
