//! The one table of errors: name, number and HTTP status of everything the hub can refuse.
//!
//! The number is the HTTP status times 1000 plus a count, as Azure publishes it. Core returns these
//! typed; each protocol head translates them once.

use std::borrow::Cow;
use std::fmt;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        /// A kind of refusal; the variants carry Azure's own names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code in the table.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The six-digit number, such as 404103.
            #[must_use]
            pub fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            /// The name as the `iothub-errorcode` header carries it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

error_codes! {
    /// The api-version is missing or not one the hub knows.
    InvalidProtocolVersion = 400001;
    /// The operation is not possible as it was asked for.
    InvalidOperation = 400003;
    /// An argument has a value that is not allowed.
    ArgumentInvalid = 400004;
    /// A required argument is missing.
    ArgumentNull = 400005;
    /// The body is not the JSON it should be.
    IotHubFormatError = 400006;
    /// No store for uploaded files is configured.
    DefaultStorageEndpointNotConfigured = 400014;
    /// No upload of that correlation id was begun by this device.
    InvalidFileUploadCorrelationId = 400015;
    /// The upload of that correlation id took too long.
    ExpiredFileUploadCorrelationId = 400016;
    /// The outcome that a device tells of its upload is none.
    InvalidFileUploadCompletionStatus = 400019;
    /// The store for uploaded files, or the file in it, is not there.
    InvalidStorageEndpointOrBlob = 400020;
    /// The caller went away, or a newer connection displaced the one that held the call.
    ConnectionForcefullyClosedOnNewConnection = 400027;
    /// The edge scope is none, or not one that the device may have.
    InvalidDeviceScope = 400028;
    /// A fault that somebody injected ended the connection.
    ConnectionForcefullyClosedOnFaultInjection = 400029;
    /// A fault that somebody injected keeps the connection out.
    ConnectionRejectedOnFaultInjection = 400030;
    /// No such hub here: the token or the connection names another host.
    IotHubNotFound = 401001;
    /// Not authenticated, or without the right.
    IotHubUnauthorizedAccess = 401002;
    /// The module is the hub's own on an edge device; nobody makes or deletes it by hand.
    SystemModuleModifyUnauthorizedAccess = 401100;
    /// The principal is known but its roles do not allow the operation.
    GenericForbidden = 403000;
    /// The hub holds as much as it may.
    IotHubQuotaExceeded = 403002;
    /// As many messages wait for the device as may.
    DeviceMaximumQueueDepthExceeded = 403004;
    /// The device has begun as many uploads as it may at once.
    DeviceMaximumActiveFileUploadLimitExceeded = 403006;
    /// The message's expiry is past, or too far away.
    InvalidMessageExpiryTime = 403009;
    /// The device has as many calls in flight as it may.
    DeviceMaximumInflightMethodExceeded = 403800;
    /// No resource at this path.
    GenericNotFound = 404000;
    /// No device of that id, or it is disabled.
    DeviceNotFound = 404001;
    /// No certificate of that name.
    CertificateNotFound = 404008;
    /// No module of that id.
    ModuleNotFound = 404010;
    /// The device is not connected, or does not listen for methods.
    DeviceNotOnline = 404103;
    /// The path exists, the verb does not.
    GenericMethodNotAllowed = 405000;
    /// Something of that name exists already.
    GenericConflict = 409000;
    /// The device exists already.
    DeviceAlreadyExists = 409001;
    /// The module exists already.
    ModuleAlreadyExistsOnDevice = 409301;
    /// If-Match does not match.
    PreconditionFailed = 412001;
    /// The message's lock ran out, or somebody else holds it.
    DeviceMessageLockLost = 412002;
    /// The message or body is larger than the limit.
    MessageTooLarge = 413001;
    /// The hub has as many devices as it may.
    TooManyDevices = 413002;
    /// The device has as many modules as it may.
    TooManyModulesOnDevice = 413003;
    /// The body's media type or encoding is not supported.
    GenericUnsupportedMediaType = 415000;
    /// Too many requests.
    ThrottlingException = 429001;
    /// The hub failed; its log says why.
    ServerError = 500001;
    /// The device's answer was not usable.
    GenericBadGateway = 502000;
    /// The hub is stopping or starting.
    ServiceUnavailable = 503001;
    /// The device did not answer in time.
    GatewayTimeout = 504101;
}

impl ErrorCode {
    /// The HTTP status: the number's first three digits.
    #[must_use]
    pub fn http_status(self) -> u16 {
        u16::try_from(self.number() / 1000).unwrap_or(500)
    }

    /// The code of that name, as found in the `iothub-errorcode` header.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.number())
    }
}

/// A refusal: what kind, and what to tell the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct HubError {
    /// What kind of refusal.
    pub code: ErrorCode,
    /// For people; never holds a secret.
    pub message: Cow<'static, str>,
    /// The time-out that ran out, in seconds, where one did.
    pub timeout_seconds: Option<u32>,
}

impl HubError {
    /// A refusal of this kind, with a text for people.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), timeout_seconds: None }
    }

    /// The same, saying which time-out ran out.
    #[must_use]
    pub fn with_timeout_seconds(mut self, seconds: u32) -> Self {
        self.timeout_seconds = Some(seconds);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_real_status_and_every_name_is_found_again() {
        for code in ErrorCode::ALL {
            assert!((400..600).contains(&code.http_status()), "{code}");
            assert_eq!(ErrorCode::from_name(code.name()), Some(*code));
        }
    }
}
