//! From nothing to a connection on which the hub knows what the device listens to.

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
use crate::status::Status;
use crate::transport::BoxStream;

/// More than any hub has in flight to one device.
const MAX_BUFFERED_EVENTS: usize = 1024;

/// A connection that the hub accepted.
pub(super) struct Connected {
    pub(super) link: Link,
    pub(super) subscriptions: Subscriptions,
    /// When its token is renewed, and when at the latest. None for tokens that cannot be, and for certificates.
    pub(super) renewal: Option<(Instant, Instant)>,
}

/// A connection that is ready for CONNECT.
pub(super) struct PreparedConnection {
    stream: BoxStream,
    token: Option<Token>,
    /// When the token was had.
    since: Instant,
}

impl Shared {
    /// What can be done while an older connection still serves: a token, TCP, TLS, the WebSocket.
    pub(super) async fn prepare(&self) -> Result<PreparedConnection, Error> {
        let token = self.config.token().await?;
        let since = Instant::now();
        let stream =
            self.with_timeout("opening a connection to the hub", self.config.connector.connect()).await?;
        Ok(PreparedConnection { stream, token, since })
    }

    /// CONNECT and its answer, then SUBSCRIBE and its answer, for what the application uses and the hub does not
    /// remember. `granted` is what this client saw the hub remember.
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
            // Azure and Ferrohub remember the subscriptions of a session for different times: what says that there is
            // no session counts, and what this client saw itself.
            let granted = if session_present { granted } else { Features::NONE };
            let mut subscriptions = Subscriptions::resumed(granted);
            let missing = subscriptions.missing(self.wanted_features());
            if !missing.is_empty() {
                self.subscribe(&mut link, &mut subscriptions, missing).await?;
            }
            Ok(subscriptions)
        };
        let subscriptions = self.with_timeout("the hub's answer to CONNECT", entering).await?;
        let renewal = prepared.token.filter(|_| self.config.credential.is_renewable()).map(|token| {
            let renewal = Renewal::for_lifetime(token.lifetime);
            (prepared.since + renewal.begin, prepared.since + renewal.latest)
        });
        Ok(Connected { link, subscriptions, renewal })
    }

    /// Subscribes, and waits for the answer. A hub that remembers an earlier subscription may send before it answers;
    /// that and the acknowledgements of what was sent again are kept for whoever polls next.
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
                    // A device that cannot be called is not connected; the others' users are told when they ask.
                    return match subscriptions.refused.contains(Feature::Methods) {
                        false => Ok(()),
                        true => Err(Error::new(
                            ErrorKind::Rejected,
                            "the hub does not let this device take method calls",
                        )),
                    };
                }
                _ if buffered.len() >= MAX_BUFFERED_EVENTS => {
                    return Err(Error::new(
                        ErrorKind::Protocol,
                        "the hub sends messages instead of an answer to SUBSCRIBE",
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
    /// One attempt, given up when the application wants no more.
    pub(super) async fn connect(&mut self) -> Result<Connected, ExitReason> {
        self.set_status(Status::Connecting);
        // An attempt that fails has not used up what the session holds.
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
        // The machine lets nothing else pass before CONNACK.
        event => Err(Error::new(ErrorKind::Protocol, format!("unexpected before CONNACK: {event:?}"))),
    }
}

pub(super) fn send_error(error: SendError) -> Error {
    Error::new(ErrorKind::Protocol, format!("the packet cannot be sent: {error}")).with_source(error)
}
