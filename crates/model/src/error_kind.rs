//! The kinds of error that both SDKs report.

/// The kind of an SDK error, for an application to match.
///
/// Both SDKs use this one list. [`CallEnded`](Self::CallEnded), [`QueueFull`](Self::QueueFull) and
/// [`Offline`](Self::Offline) come from the device SDK only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument, a setting, a key, a certificate or a connection string is invalid. Nothing was sent.
    InvalidInput,
    /// The hub refused the request as invalid (400, 405, 415).
    BadRequest,
    /// A payload is not JSON of the requested type, or not UTF-8 text.
    InvalidPayload,
    /// The hub does not accept the credential, or the credential does not grant the operation (401, 403, CONNACK 4 or
    /// 5): wrong key, expired token, unknown or disabled device, missing right.
    Unauthorized,
    /// The device, module or resource does not exist, or the device is disabled (404).
    NotFound,
    /// The device is not connected, or has not subscribed to method calls (404103).
    DeviceNotOnline,
    /// The resource exists already (409).
    Conflict,
    /// The resource has changed: the etag or version of the request is not the current one (412).
    PreconditionFailed,
    /// The lock on a message is lost (412002), or the connection that delivered the message has ended. The hub delivers
    /// it again.
    LockLost,
    /// The request or the message is larger than allowed (413).
    TooLarge,
    /// A quota of the hub or of the device is exhausted (403002 to 403011, 403800, 413002, 413003, 413101).
    QuotaExceeded,
    /// Too many requests (429).
    Throttled,
    /// The device did not respond in time (504).
    DeviceTimeout,
    /// A newer connection of the device took over from the one that carried the call (400027).
    TakenOver,
    /// The response of the device was not usable (502).
    BadDeviceResponse,
    /// The hub is starting, stopping or overloaded (503, CONNACK 3).
    Unavailable,
    /// The hub failed (500, and any other 5xx status).
    Server,
    /// The hub refused for another, lasting reason: protocol version, client id, subscription, any other status.
    Rejected,
    /// TLS failed: an unknown certificate authority, a wrong host name, an expired certificate, or a client certificate
    /// that is not accepted.
    Tls,
    /// The peer could not be reached, or the connection was lost.
    Connection,
    /// An operation took longer than its time-out (also 408).
    Timeout,
    /// The token credential failed.
    Credential,
    /// The peer violated the protocol, or its response could not be read.
    Protocol,
    /// The method call has ended: its connection has ended or a response was sent, so no caller waits for a response.
    CallEnded,
    /// The queue for outgoing events or requests is full.
    QueueFull,
    /// There is no connection, and `OfflinePolicy::Fail` is set.
    Offline,
    /// The client is not connected or was disconnected, or the stream was used after a panic.
    Closed,
}

impl ErrorKind {
    /// Returns whether the same operation may succeed later without any change.
    ///
    /// The hub may have carried it out already, except after [`Throttled`](Self::Throttled),
    /// [`DeviceNotOnline`](Self::DeviceNotOnline), [`Credential`](Self::Credential), [`QueueFull`](Self::QueueFull) and
    /// [`Offline`](Self::Offline).
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::DeviceNotOnline
            | Self::Throttled
            | Self::DeviceTimeout
            | Self::TakenOver
            | Self::Unavailable
            | Self::Server
            | Self::Connection
            | Self::Timeout
            | Self::Credential
            | Self::Protocol
            | Self::QueueFull
            | Self::Offline => true,
            Self::InvalidInput
            | Self::BadRequest
            | Self::InvalidPayload
            | Self::Unauthorized
            | Self::NotFound
            | Self::Conflict
            | Self::PreconditionFailed
            | Self::LockLost
            | Self::TooLarge
            | Self::QuotaExceeded
            | Self::BadDeviceResponse
            | Self::Rejected
            | Self::Tls
            | Self::CallEnded
            | Self::Closed => false,
        }
    }
}
