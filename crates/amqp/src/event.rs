//! What the state machine tells the application.

use bytes::Bytes;

use crate::{
    codec::Owned,
    ids::{DeliveryId, DeliveryTag, LinkId, SessionId, Unsettled},
    performative::{AmqpError, Attach, Open, Outcome, SaslCode, SaslInit},
};

/// The reason that a peer gives for a detach, end or close.
pub type Reason = Option<Owned<AmqpError<'static>>>;

/// Something that the peer did.
///
/// When a session ends, its links end with it, without events of their own; so do the deliveries of a link.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// Server: the client has chosen one of the mechanisms. Answer with
    /// [`accept_sasl`](crate::Connection::accept_sasl) or [`refuse_sasl`](crate::Connection::refuse_sasl); input is held
    /// until then.
    SaslInit(Owned<SaslInit<'static>>),
    /// Client: the server has refused the credentials. The connection is closed.
    SaslRefused(SaslCode),
    /// The peer has opened the connection. A server's own open is sent already.
    Open(Owned<Open<'static>>),
    /// The peer has begun a session, or has answered our begin. A server's answer is sent already.
    Begin(SessionId),
    /// The peer asks for a link. Answer with [`accept_link`](crate::Connection::accept_link) or
    /// [`refuse_link`](crate::Connection::refuse_link).
    ///
    /// Or the peer has answered our attach. If it carries neither source nor target, the peer refuses the link: a detach
    /// with the reason follows.
    Attach {
        /// The link.
        link: LinkId,
        /// What the peer asks for.
        attach: Owned<Attach<'static>>,
    },
    /// The receiver of a link on which we send has changed its credit.
    Credit {
        /// The link.
        link: LinkId,
        /// Messages that can be sent now.
        credit: u32,
        /// Whether the receiver wants the credit used at once: send what there is, then call
        /// [`drained`](crate::Connection::drained).
        drain: bool,
    },
    /// A message has arrived, completely.
    Delivery(Delivery),
    /// The receiver of a message that we sent unsettled has decided about it.
    Outcome {
        /// The link.
        link: LinkId,
        /// The message.
        delivery: DeliveryId,
        /// The decision; absent if the receiver settled without one.
        outcome: Option<Outcome>,
        /// Whether the receiver has settled. If not, it waits for [`settle_sent`](crate::Connection::settle_sent).
        settled: bool,
    },
    /// The peer has detached a link, or has answered our detach; it is answered already. Or the machine has detached the
    /// link, because the peer exceeded one of its limits.
    Detach {
        /// The link.
        link: LinkId,
        /// The reason: that of the peer, if it gave one, or ours.
        error: Reason,
    },
    /// A session has ended: by the peer, in answer to our end, or by us because the peer violated the protocol. It is
    /// answered already.
    End {
        /// The session.
        session: SessionId,
        /// The reason: that of the peer, or ours.
        error: Reason,
    },
    /// The peer has closed the connection. It is answered already: send the remaining output, then close the transport.
    Close {
        /// The reason, if the peer gave one.
        error: Reason,
    },
}

/// A message that has arrived.
#[derive(Debug, PartialEq)]
pub struct Delivery {
    /// The link.
    pub link: LinkId,
    /// The sender's name for it.
    pub tag: DeliveryTag,
    /// The format, such as [`BATCH_FORMAT`](crate::message::BATCH_FORMAT).
    pub message_format: u32,
    /// The encoded message; see [`Message::parse`](crate::message::Message::parse).
    pub payload: Bytes,
    /// To be settled with [`settle`](crate::Connection::settle). Absent if the sender has settled it.
    pub unsettled: Option<Unsettled>,
}
