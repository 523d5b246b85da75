//! The error codes of the hub: name, number and HTTP status.
//!
//! The number is the HTTP status times 1000 plus a counter, as published by Azure. The core returns [`HubError`]s; each
//! protocol translates them in one place.

use std::borrow::Cow;
use std::fmt;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        /// An error code. The variants have Azure's names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// All error codes.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the six-digit number, such as 404103.
            #[must_use]
            pub fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            /// Returns the name, as in the `iothub-errorcode` header.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

error_codes! {
    /// The request is not valid.
    GenericBadRequest = 400000;
    /// The api-version is missing or not supported.
    InvalidProtocolVersion = 400001;
    /// The operation is not possible in this form.
    InvalidOperation = 400003;
    /// An argument has a value that is not allowed.
    ArgumentInvalid = 400004;
    /// A required argument is missing.
    ArgumentNull = 400005;
    /// The body is not the expected JSON.
    IotHubFormatError = 400006;
    /// A container of an import or export cannot be used.
    BlobContainerValidationError = 400008;
    /// Two items of a request are about the same identity.
    DeviceDefinedMultipleTimes = 400011;
    /// No store for uploaded files is configured.
    DefaultStorageEndpointNotConfigured = 400014;
    /// The device has not begun an upload with this correlation id.
    InvalidFileUploadCorrelationId = 400015;
    /// The upload with this correlation id has expired.
    ExpiredFileUploadCorrelationId = 400016;
    /// The outcome that a device reported for its upload is not valid.
    InvalidFileUploadCompletionStatus = 400019;
    /// The store for uploaded files does not exist, or the file does not exist in it.
    InvalidStorageEndpointOrBlob = 400020;
    /// The caller disconnected, or a newer connection of the device took over while the call was in flight.
    ConnectionForcefullyClosedOnNewConnection = 400027;
    /// The edge scope does not exist, or the device may not have it.
    InvalidDeviceScope = 400028;
    /// An injected fault closed the connection.
    ConnectionForcefullyClosedOnFaultInjection = 400029;
    /// An injected fault refused the connection.
    ConnectionRejectedOnFaultInjection = 400030;
    /// The hub has no identity of its own that could access a storage account.
    ManagedIdentityNotEnabled = 400032;
    /// The target condition of a configuration is not valid.
    InvalidConfigurationTargetCondition = 400401;
    /// The content of a configuration is not valid.
    InvalidConfigurationContent = 400402;
    /// The content of a configuration cannot be changed.
    CannotModifyImmutableConfigurationContent = 400403;
    /// The metrics of a configuration are not valid.
    InvalidConfigurationCustomMetricsQuery = 400404;
    /// The body is not a JSON Patch, or has an operation that digital twins do not have.
    InvalidDigitalTwinJsonPatch = 400505;
    /// A value of a JSON Patch is none that a property or component of a digital twin may have.
    InvalidDigitalTwinPatch = 400507;
    /// A path of a JSON Patch names nothing that can be changed in the digital twin.
    InvalidDigitalTwinPatchPath = 400508;
    /// The token or the connection names another host than this hub.
    IotHubNotFound = 401001;
    /// The caller is not authenticated, or lacks the right.
    IotHubUnauthorizedAccess = 401002;
    /// The module is a system module of an edge device: only the hub creates and deletes it.
    SystemModuleModifyUnauthorizedAccess = 401100;
    /// The principal is authenticated, but its roles do not allow the operation.
    GenericForbidden = 403000;
    /// A limit of the hub is reached.
    IotHubQuotaExceeded = 403002;
    /// The hub has its maximum number of active jobs.
    JobQuotaExceeded = 403003;
    /// The device's queue has its maximum number of messages.
    DeviceMaximumQueueDepthExceeded = 403004;
    /// The device has its maximum number of active uploads.
    DeviceMaximumActiveFileUploadLimitExceeded = 403006;
    /// The message's expiry is in the past, or too far in the future.
    InvalidMessageExpiryTime = 403009;
    /// The device has its maximum number of calls in flight.
    DeviceMaximumInflightMethodExceeded = 403800;
    /// No resource exists at this path.
    GenericNotFound = 404000;
    /// The device does not exist, or is disabled.
    DeviceNotFound = 404001;
    /// The job does not exist.
    JobNotFound = 404002;
    /// The certificate does not exist.
    CertificateNotFound = 404008;
    /// The module does not exist.
    ModuleNotFound = 404010;
    /// The device is not connected, or has not subscribed to methods.
    DeviceNotOnline = 404103;
    /// The configuration does not exist.
    ConfigurationNotFound = 404301;
    /// The path does not support this HTTP method.
    GenericMethodNotAllowed = 405000;
    /// The name already exists.
    GenericConflict = 409000;
    /// The device already exists.
    DeviceAlreadyExists = 409001;
    /// The job already exists.
    JobAlreadyExists = 409104;
    /// The module already exists.
    ModuleAlreadyExistsOnDevice = 409301;
    /// The configuration already exists.
    ConfigurationAlreadyExists = 409401;
    /// Another request applies content to the device.
    ApplyConfigurationAlreadyInProgressOnDevice = 409402;
    /// `If-Match` does not match the etag.
    PreconditionFailed = 412001;
    /// The message's lock has expired, or has another owner.
    DeviceMessageLockLost = 412002;
    /// A job ended before its work on the device began.
    JobRunPreconditionFailed = 412003;
    /// The message or body is larger than the limit.
    MessageTooLarge = 413001;
    /// The hub has its maximum number of devices.
    TooManyDevices = 413002;
    /// The device has its maximum number of modules.
    TooManyModulesOnDevice = 413003;
    /// The hub has its maximum number of configurations.
    ConfigurationCountLimitExceeded = 413101;
    /// The body's media type or encoding is not supported.
    GenericUnsupportedMediaType = 415000;
    /// The caller sends too many requests.
    ThrottlingException = 429001;
    /// The hub has its maximum number of active jobs.
    ThrottlingMaxActiveJobCountExceeded = 429004;
    /// The hub failed; its log contains the reason.
    ServerError = 500001;
    /// The device's response is not valid.
    GenericBadGateway = 502000;
    /// The hub is stopping or starting.
    ServiceUnavailable = 503001;
    /// The device did not respond in time.
    GatewayTimeout = 504101;
}

impl ErrorCode {
    /// Returns the HTTP status: the first three digits of the number.
    #[must_use]
    pub fn http_status(self) -> u16 {
        u16::try_from(self.number() / 1000).unwrap_or(500)
    }

    /// Returns the code of this name, as in the `iothub-errorcode` header.
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

/// An error of the hub: its code, and a message for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct HubError {
    /// The error code.
    pub code: ErrorCode,
    /// The message for people; never contains a secret.
    pub message: Cow<'static, str>,
    /// The time-out that expired, in seconds, if any.
    pub timeout_seconds: Option<u32>,
}

impl HubError {
    /// Creates an error with a message for people.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), timeout_seconds: None }
    }

    /// Sets the time-out that expired.
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
    fn every_code_has_an_http_error_status_and_is_found_by_its_name() {
        for code in ErrorCode::ALL {
            assert!((400..600).contains(&code.http_status()), "{code}");
            assert_eq!(ErrorCode::from_name(code.name()), Some(*code));
        }
    }
}
