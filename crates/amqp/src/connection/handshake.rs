//! Protocol headers, SASL and open (AMQP §2.2, 2.7.1, 5.3).

use std::{fmt, mem, time::Duration};

use bytes::{Bytes, BytesMut};

use super::{Connection, Stage};
use crate::{
    Event, ProtocolError,
    codec::{Encoder, Field, Owned, Symbol, Symbols, Value},
    frame::{MIN_MAX_FRAME_SIZE, ProtocolHeader},
    performative::{Open, SaslCode, SaslFrame, SaslInit, SaslMechanisms, SaslOutcome},
};

/// What a client sends in the SASL layer.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The mechanism, such as `PLAIN`, `ANONYMOUS` or `MSSBCBS`.
    pub mechanism: &'static str,
    /// The initial response, such as a user name and a password after a zero byte each.
    pub response: Option<Bytes>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (response hidden)", self.mechanism)
    }
}

impl Connection {
    /// Server: accepts the mechanism and the response of the client, then processes the held input. Poll events
    /// afterwards, and treat an error like one of [`handle_input`](Self::handle_input). Has no effect if no decision is
    /// pending. The limits for unauthenticated clients stay until [`set_authenticated`](Self::set_authenticated).
    pub fn accept_sasl(&mut self) -> Result<(), ProtocolError> {
        if !matches!(self.stage, Stage::SaslDecision) {
            return Ok(());
        }
        self.output.sasl(SaslOutcome { code: SaslCode::Ok, additional_data: None });
        self.stage = Stage::AmqpHeader;
        let processed = self.process(&[]);
        self.close_on_error(processed)
    }

    /// Server: refuses the mechanism or the response of the client and closes the connection. Has no effect if no
    /// decision is pending.
    pub fn refuse_sasl(&mut self, code: SaslCode) {
        if matches!(self.stage, Stage::SaslDecision) {
            self.output.sasl(SaslOutcome { code, additional_data: None });
            self.set_closed();
        }
    }

    /// Client: sends what can be sent without an answer.
    pub(super) fn start(&mut self, credentials: Option<Credentials>) {
        match credentials {
            Some(credentials) => {
                self.output.raw(&ProtocolHeader::Sasl.to_bytes());
                self.stage = Stage::Sasl { credentials, header: false };
            }
            None => self.send_client_open(),
        }
    }

    pub(super) fn handle_header(&mut self, bytes: [u8; ProtocolHeader::LEN]) -> Result<(), ProtocolError> {
        let header = ProtocolHeader::from_bytes(bytes);
        match (&mut self.stage, header) {
            (Stage::Header, Some(ProtocolHeader::Amqp)) => {
                self.output.raw(&bytes);
                self.stage = Stage::Opening;
            }
            (Stage::Header, Some(ProtocolHeader::Sasl)) => {
                self.output.raw(&bytes);
                self.send_mechanisms();
                self.stage = Stage::SaslInit;
            }
            // After SASL a server answers the second header; a client has sent its own.
            (Stage::AmqpHeader, Some(ProtocolHeader::Amqp)) => {
                if !self.is_client {
                    self.output.raw(&bytes);
                }
                self.stage = Stage::Opening;
            }
            (Stage::Sasl { header, .. }, Some(ProtocolHeader::Sasl)) => *header = true,
            (Stage::Header, None) => {
                // AMQP §2.2: answer with a supported header, then close.
                self.output.raw(&ProtocolHeader::Sasl.to_bytes());
                return Err(ProtocolError::ProtocolHeader);
            }
            _ => return Err(ProtocolError::ProtocolHeader),
        }
        Ok(())
    }

    pub(super) fn handle_sasl(&mut self, frame: SaslFrame<'_>) -> Result<(), ProtocolError> {
        match (mem::replace(&mut self.stage, Stage::Closed), frame) {
            (Stage::SaslInit, SaslFrame::Init(init)) => {
                self.stage = Stage::SaslDecision;
                if self.config.sasl_mechanisms.contains(&init.mechanism.0) {
                    self.output.event(Event::SaslInit(Owned::encoded(&init)));
                } else {
                    self.refuse_sasl(SaslCode::Auth);
                }
            }
            (Stage::Sasl { credentials, header: true }, SaslFrame::Mechanisms(offer)) => {
                if !offer.mechanisms.is_some_and(|offered| offered.contains(credentials.mechanism)) {
                    self.output.event(Event::SaslRefused(SaslCode::Auth));
                    return Ok(());
                }
                self.output.sasl(SaslInit {
                    mechanism: Symbol(credentials.mechanism),
                    initial_response: credentials.response.as_deref(),
                    hostname: self.config.hostname.as_deref(),
                });
                self.stage = Stage::SaslSent;
            }
            (Stage::SaslSent, SaslFrame::Outcome(SaslOutcome { code: SaslCode::Ok, .. })) => {
                self.send_client_open();
            }
            (Stage::SaslSent, SaslFrame::Outcome(SaslOutcome { code, .. })) => {
                self.output.event(Event::SaslRefused(code));
            }
            (_, frame) => return Err(ProtocolError::Unexpected(frame.name())),
        }
        Ok(())
    }

    pub(super) fn handle_open(&mut self, open: &Open<'_>) -> Result<(), ProtocolError> {
        if open.max_frame_size < MIN_MAX_FRAME_SIZE {
            return Err(ProtocolError::MaxFrameSize(open.max_frame_size));
        }
        self.output.set_max_frame_size(open.max_frame_size);
        self.channel_max = open.channel_max;
        self.peer_idle =
            open.idle_time_out.filter(|&idle| idle > 0).map(|idle| Duration::from_millis(idle.into()));
        if !self.is_client {
            self.send_open();
        }
        self.stage = Stage::Open;
        // The idle time-outs begin; the handshake time-out goes on for an unauthenticated client.
        self.sent = self.now;
        if self.authenticated {
            self.received = self.now;
        }
        self.output.event(Event::Open(Owned::encoded(open)));
        Ok(())
    }

    /// The header and the open of a client need no answer in between (AMQP §2.4.5, pipelined open).
    fn send_client_open(&mut self) {
        self.output.raw(&ProtocolHeader::Amqp.to_bytes());
        self.send_open();
        self.stage = Stage::AmqpHeader;
    }

    fn send_open(&mut self) {
        let open = Open {
            container_id: &self.config.container_id,
            hostname: self.config.hostname.as_deref(),
            max_frame_size: self.config.max_frame_size,
            channel_max: self.config.channel_max,
            idle_time_out: Some(self.config.idle_time_out.as_millis().try_into().unwrap_or(u32::MAX)),
            ..Open::default()
        };
        let sent = self.output.frame(0, open);
        debug_assert!(sent.is_ok(), "container id and hostname fit into 512 bytes");
    }

    fn send_mechanisms(&mut self) {
        let mut array = BytesMut::new();
        Encoder::new(&mut array).symbols(self.config.sasl_mechanisms.iter().copied());
        let mechanisms = Value::decode(&mut &array[..]).ok().and_then(Symbols::from_value);
        self.output.sasl(SaslMechanisms { mechanisms });
    }
}
