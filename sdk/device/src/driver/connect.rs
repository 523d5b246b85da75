//! From nothing to a connection on which the hub knows what the device listens to.

use std::future::Future;

use ferrohub_mqtt::client::{Event, Session};
use ferrohub_mqtt::{Refusal, SendError};
use tokio::time::{Instant, timeout};

use super::link::Link;
use super::subscribe::Subscriptions;
use super::{Driver, Ending, Shared};
use crate::credential::Token;
use crate::error::{Error, ErrorKind};
use crate::feature::{Feature, Features};
use crate::renewal::Renewal;
use crate::status::Status;
use crate::transport::BoxStream;

/// More than any hub has in flight to one device.
const MAX_EARLY: usize = 1024;

/// A connection that the hub accepted.
pub(super) struct Connected {
    pub(super) link: Link,
    pub(super) subscriptions: Subscriptions,
    /// When its token is renewed, and when at the latest. None for tokens that cannot be, and for certificates.
    pub(super) renewal: Option<(Instant, Instant)>,
}

/// A connection that is ready for CONNECT.
pub(super) struct Prepared {
    stream: BoxStream,
    token: Option<Token>,
    /// When the token was had.
    since: Instant,
}

impl Shared {
    /// What can be done while an older connection still serves: a token, TCP, TLS, the WebSocket.
    pub(super) async fn prepare(&self) -> Result<Prepared, Error> {
        let token = self.config.token().await?;
        let since = Instant::now();
        let stream = self.in_time("opening a connection to the hub", self.config.dialer.dial()).await?;
        Ok(Prepared { stream, token, since })
    }

    /// CONNECT and its answer, then SUBSCRIBE and its answer, for what the application uses and the hub does not
    /// remember. `held` is what this client saw the hub remember.
    pub(super) async fn enter(
        &self,
        prepared: Prepared,
        session: Session,
        held: Features,
    ) -> Result<Connected, Error> {
        let connect = self.config.connect_packet(prepared.token.as_ref())?;
        let mut link = Link::new(prepared.stream, &connect, session, self.config.machine.clone())?;
        let entering = async {
            let session_present = accepted(&mut link).await?;
            // Azure and Ferrohub remember the subscriptions of a session for different times: what says that there is
            // no session counts, and what this client saw itself.
            let held = if session_present { held } else { Features::NONE };
            let mut subscriptions = Subscriptions::of_session(held);
            let missing = subscriptions.missing(self.wanted());
            if !missing.is_empty() {
                self.subscribe(&mut link, &mut subscriptions, missing).await?;
            }
            Ok(subscriptions)
        };
        let subscriptions = self.in_time("the hub's answer to CONNECT", entering).await?;
        let renewal = prepared.token.filter(|_| self.config.credential.is_renewable()).map(|token| {
            let renewal = Renewal::of(token.lifetime);
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
        let id = subscriptions.ask(self, link, features).map_err(send_error)?;
        let mut early = Vec::new();
        loop {
            match link.next().await? {
                Event::SubAck { packet_id, codes } if packet_id == id => {
                    link.put_back(early);
                    subscriptions.answered(packet_id, &codes);
                    // A device that cannot be called is not connected; the others' users are told when they ask.
                    return match subscriptions.refused.contains(Feature::Methods) {
                        false => Ok(()),
                        true => Err(Error::new(
                            ErrorKind::Rejected,
                            "the hub does not let this device take method calls",
                        )),
                    };
                }
                _ if early.len() >= MAX_EARLY => {
                    return Err(Error::new(
                        ErrorKind::Protocol,
                        "the hub sends messages instead of an answer to SUBSCRIBE",
                    ));
                }
                event => early.push(event),
            }
        }
    }

    async fn in_time<T>(&self, what: &str, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        timeout(self.config.connect_timeout, work)
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, format!("{what} took too long"))))
    }
}

impl Driver {
    /// One attempt, given up when the application wants no more.
    pub(super) async fn connect(&mut self) -> Result<Connected, Ending> {
        self.status(Status::Connecting);
        // An attempt that fails has not used up what the session holds.
        let (shared, session, held) = (self.shared.clone(), self.session.clone(), self.subscriptions.held);
        let attempt = async {
            let prepared = shared.prepare().await?;
            shared.enter(prepared, session, held).await
        };
        tokio::select! {
            outcome = attempt => {
                let mut connected = outcome.map_err(Ending::Lost)?;
                self.begin(&mut connected);
                Ok(connected)
            }
            _ = self.commands.recv() => Err(Ending::Requested),
        }
    }
}

async fn accepted(link: &mut Link) -> Result<bool, Error> {
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
    Error::caused(ErrorKind::Protocol, format!("the packet cannot be sent: {error}"), error)
}
