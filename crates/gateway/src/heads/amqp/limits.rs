//! Limits of the AMQP endpoint.

use std::sync::Arc;
use std::time::Duration;

use ferrohub_amqp::Config;
use ferrohub_amqp::performative::SenderSettleMode;

/// Largest message that a link accepts, in bytes. A message that is larger than a message to a device may be, but not
/// larger than this, is rejected and the link stays; a larger one detaches the link. Azure does the same.
const MAX_MESSAGE_SIZE: u64 = 1024 * 1024;
/// Maximum number of bytes of incomplete messages of a connection: one of the largest messages and its last frame.
const MAX_ASSEMBLY: usize = 2 * 1024 * 1024;
/// Maximum number of links of a connection: a service has a pair for `$cbs` and `$management` each, and one per address or
/// partition.
const MAX_LINKS: usize = 64;
/// Maximum number of sessions of a connection. Node begins one for each of the up to 32 partitions that it reads.
const MAX_SESSIONS: usize = 64;
/// Messages that a sender may send before the hub has settled the first.
const MESSAGE_CREDIT: u32 = 100;
/// Messages of a connection that are stored together. The bytes are bounded by one read and one message of the largest size.
pub(super) const MAX_BATCH: usize = 32;
/// Tokens that a client may send before the hub has settled the first.
const TOKEN_CREDIT: u32 = 16;
/// Largest message with a token, in bytes.
const MAX_TOKEN_SIZE: u64 = 64 * 1024;
/// Callers whose tokens are valid at a time on a connection.
pub(super) const MAX_CALLERS: usize = 8;
/// Tokens that are valid at a time on a connection: Node puts one for each of its links.
pub(super) const MAX_TOKENS: usize = MAX_LINKS;
/// Items of a receiving link that the client has not settled. It gets no more, whatever its credit.
pub(super) const MAX_LOCKED: usize = 100;
/// Answers of `$cbs` and `$management` that wait until the client gives credit for them. More requests are rejected; the
/// client is not authenticated by them.
pub(super) const MAX_PENDING_ANSWERS: usize = 16;
/// Requests to `$management` that a client may send before the hub has settled the first.
const REQUEST_CREDIT: u32 = 16;
/// Largest request to `$management`, in bytes. It may contain a token.
const MAX_REQUEST_SIZE: u64 = 64 * 1024;
/// Events of one link that are read at a time.
pub(super) const MAX_EVENTS_PER_READ: usize = 512;
/// Bytes of events of one link that are read at a time, and may wait to be sent.
pub(super) const MAX_BYTES_PER_READ: usize = 128 * 1024;
/// Bytes of events of a connection that may wait to be sent: then nothing is read for any of its links.
pub(super) const MAX_UNSENT_BYTES: usize = 512 * 1024;
/// Time for a client whose credential is no longer valid to send a new one, or to close the connection.
pub(super) const REVOKED_TIMEOUT: Duration = Duration::from_secs(5);

/// Limits of the AMQP endpoint.
#[derive(Debug, Clone)]
pub struct AmqpLimits {
    /// Limits of the protocol state machine.
    pub(super) protocol: Arc<Config>,
    /// Maximum time that output may be pending because the client does not read.
    pub(super) write_timeout: Duration,
}

impl AmqpLimits {
    /// Creates limits. `handshake_timeout` is the time for a client to authenticate, `write_timeout` the maximum time that
    /// output may be pending because the client does not read.
    #[must_use]
    pub fn new(handshake_timeout: Duration, write_timeout: Duration) -> Self {
        let protocol = Config {
            handshake_timeout,
            max_links: MAX_LINKS,
            max_sessions: MAX_SESSIONS,
            max_assembly: MAX_ASSEMBLY,
            ..Config::default()
        };
        Self { protocol: Arc::new(protocol), write_timeout }
    }
}

/// What the hub grants on a link that it receives on.
pub(super) fn message_grant() -> ferrohub_amqp::Grant {
    ferrohub_amqp::Grant { credit: MESSAGE_CREDIT, max_message_size: MAX_MESSAGE_SIZE, snd_settle_mode: None }
}

/// What the hub grants on a link on which it sends. The size is that of Azure.
pub(super) fn feed_grant() -> ferrohub_amqp::Grant {
    ferrohub_amqp::Grant { credit: 0, max_message_size: 256 * 1024, snd_settle_mode: None }
}

/// What the hub grants on a link on which it sends events: settled, whatever the client says, as Azure does.
pub(super) fn event_grant() -> ferrohub_amqp::Grant {
    ferrohub_amqp::Grant { snd_settle_mode: Some(SenderSettleMode::Settled), ..feed_grant() }
}

/// What the hub grants on the links of `$management`.
pub(super) fn management_grant() -> ferrohub_amqp::Grant {
    ferrohub_amqp::Grant { credit: REQUEST_CREDIT, max_message_size: MAX_REQUEST_SIZE, snd_settle_mode: None }
}

/// What the hub grants on the links of `$cbs`.
pub(super) fn token_grant() -> ferrohub_amqp::Grant {
    ferrohub_amqp::Grant { credit: TOKEN_CREDIT, max_message_size: MAX_TOKEN_SIZE, snd_settle_mode: None }
}
