//! Texts for a command that failed: the error, and a hint at the remedy.

use std::error::Error as StdError;

use ferrohub_model::ErrorKind;
use serde_json::{Map, Value, json};

use crate::login;
use crate::output::Output;

/// Formats an error with its causes, separated by colons. A cause that the text already contains is not repeated.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = match HubError::from_cause(cause) {
            Some(error) => error.describe(),
            None => cause.to_string(),
        };
        if !text.is_empty() {
            // hyper's "client error (Connect)" says nothing that its cause does not say.
            if text.contains(cause.as_str()) || cause.starts_with("client error (") {
                continue;
            }
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
}

/// An error of one of the two SDKs.
struct HubError<'a> {
    kind: ErrorKind,
    message: &'a str,
    status: Option<u16>,
    code: Option<u32>,
    code_name: Option<&'a str>,
    tracking_id: Option<&'a str>,
    text: String,
}

macro_rules! hub_error {
    ($error:expr) => {{
        let error = $error;
        HubError {
            kind: error.kind(),
            message: error.message(),
            status: error.status(),
            code: error.code(),
            code_name: error.code_name(),
            tracking_id: error.tracking_id(),
            text: error.to_string(),
        }
    }};
}

impl<'a> HubError<'a> {
    fn from_cause(cause: &'a (dyn StdError + 'static)) -> Option<Self> {
        if let Some(error) = cause.downcast_ref::<ferrohub_service::Error>() {
            return Some(hub_error!(error));
        }
        cause.downcast_ref::<ferrohub_device::Error>().map(|error| hub_error!(error))
    }

    fn describe(&self) -> String {
        if self.status.is_none()
            && matches!(self.kind, ErrorKind::Connection | ErrorKind::Tls | ErrorKind::Timeout)
            && let Some(address) = login::called_address()
        {
            return format!("no response from the hub at {address}: {}", self.text);
        }
        describe_refusal(self.message, &self.text)
    }
}

/// Formats an error of the hub. `text` is `message` followed by its code in parentheses: a full stop between them is
/// removed. A message of one word, such as the device id, is not a sentence; it gets a beginning.
fn describe_refusal(message: &str, text: &str) -> String {
    let begin = if message.contains(' ') { "" } else { "the hub refused the request: " };
    match text.strip_prefix(message) {
        Some(code) if !code.is_empty() => format!("{begin}{}{code}", message.trim_end_matches('.')),
        _ => format!("{begin}{text}"),
    }
}

/// Formats an error for `--output json`.
pub(crate) fn to_json(error: &anyhow::Error) -> Value {
    let mut fields = Map::new();
    fields.insert("message".to_owned(), describe(error).into());
    if let Some(refused) = hub_error(error) {
        for (name, value) in [
            ("status", refused.status.map(Value::from)),
            ("code", refused.code.map(Value::from)),
            ("codeName", refused.code_name.map(Value::from)),
            ("trackingId", refused.tracking_id.map(Value::from)),
        ] {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        }
    }
    if let Some(hint) = for_error(error) {
        fields.insert("hint".to_owned(), hint.into());
    }
    json!({ "error": fields })
}

/// Returns the format of a command line, also of one that cannot be parsed.
pub(crate) fn requested_output(arguments: impl IntoIterator<Item = String>) -> Output {
    let mut previous = String::new();
    for argument in arguments {
        if argument == "--output=json" || (previous == "--output" && argument == "json") {
            return Output::Json;
        }
        previous = argument;
    }
    Output::Table
}

fn hub_error(error: &anyhow::Error) -> Option<HubError<'_>> {
    error.chain().find_map(HubError::from_cause)
}

/// Returns a hint at the remedy, if there is one for this error.
pub(crate) fn for_error(error: &anyhow::Error) -> Option<&'static str> {
    let refused = hub_error(error)?;
    Some(match refused.kind {
        ErrorKind::Connection | ErrorKind::Tls => return Some(for_connection(&describe(error))),
        ErrorKind::Unauthorized => {
            "The hub refused the credentials. Run `ferrohub policy show iothubowner` where the hub's data folder is, \
             and pass the connection string that it prints with --login."
        }
        ErrorKind::NotFound => return for_not_found(refused.code_name?, refused.message),
        ErrorKind::DeviceNotOnline => {
            "The device is not connected, or has not subscribed to methods. --connect-timeout SECONDS waits for it; \
             `ferrohub device show` prints its last activity time."
        }
        ErrorKind::DeviceTimeout => {
            "The device did not respond within --timeout. Pass a larger --timeout (up to 300)."
        }
        ErrorKind::PreconditionFailed => {
            "The etag differs: the identity or twin was changed in the meantime. Read it again and repeat the \
             command."
        }
        ErrorKind::BadRequest => return for_bad_request(refused.code_name?, refused.message),
        ErrorKind::Throttled => "The hub has reached a limit for now. Repeat the command in some seconds.",
        ErrorKind::Unavailable => "The hub is starting or stopping; try again in a moment.",
        _ => return None,
    })
}

fn for_bad_request(code: &str, message: &str) -> Option<&'static str> {
    Some(match code {
        "ArgumentInvalid" if message.contains("The query is not valid") => {
            "docs/query-language.md describes the language. Put the query in double quotes, and texts in it in single quotes."
        }
        "InvalidDigitalTwinPatchPath" => {
            "Run `ferrohub digital-twin show DEVICE --output json` to see the properties and components of a device."
        }
        _ => return None,
    })
}

/// The code of a disabled device is that of an unknown one, and so is the code of an unknown module in a method call.
fn for_not_found(code: &str, message: &str) -> Option<&'static str> {
    Some(match code {
        "DeviceNotFound" if message.contains("disabled") => {
            "Run `ferrohub device update DEVICE --enable` to enable the device."
        }
        "DeviceNotFound" if message.contains('/') => {
            "Run `ferrohub module list DEVICE` to see the modules of a device."
        }
        "DeviceNotFound" => "Run `ferrohub device list` to see the registered devices.",
        "ModuleNotFound" => "Run `ferrohub module list DEVICE` to see the modules of a device.",
        _ => return None,
    })
}

/// `text` is the error with all its causes.
fn for_connection(text: &str) -> &'static str {
    if text.contains("certificate") {
        "This client does not trust the hub's certificate. Where the hub's data folder is, eval \"$(ferrohub env)\" sets \
         SSL_CERT_FILE; for another machine see docs/how-to/connect-a-real-device.md."
    } else if text.contains("refused") {
        "No hub listens at this address. Start a hub with `ferrohub serve`, or pass the connection string of another one \
         with --login."
    } else if text.contains("dns error") || text.contains("lookup") {
        "The host name in the connection string cannot be resolved. Add it to DNS or to /etc/hosts."
    } else {
        "Is the hub running, and can this machine reach it? Start a hub with `ferrohub serve`; `ferrohub wait` waits until \
         it is ready."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_full_stop_precedes_the_code() {
        for (message, text, expected) in [
            (
                "There is no device d.",
                "There is no device d. (DeviceNotFound, 404001)",
                "There is no device d (DeviceNotFound, 404001)",
            ),
            (
                "Precondition failed: Invalid ETag",
                "Precondition failed: Invalid ETag (PreconditionFailed, 412001)",
                "Precondition failed: Invalid ETag (PreconditionFailed, 412001)",
            ),
            ("it broke.", "it broke.", "it broke."),
            (
                "nope",
                "nope (DeviceNotFound, 404001)",
                "the hub refused the request: nope (DeviceNotFound, 404001)",
            ),
        ] {
            assert_eq!(describe_refusal(message, text), expected);
        }
    }

    #[test]
    fn causes_are_separated_by_colons_and_not_repeated() {
        let error = anyhow::anyhow!("no such file").context("cannot read x");
        assert_eq!(describe(&error), "cannot read x: no such file");
        let error =
            anyhow::anyhow!("refused").context("tcp connect error: refused").context("cannot connect");
        assert_eq!(describe(&error), "cannot connect: tcp connect error: refused");
    }

    #[test]
    fn a_hint_fits_its_cause() {
        for (code, message, hint) in [
            ("DeviceNotFound", "There is no device d.", Some("ferrohub device list")),
            ("DeviceNotFound", "Device d is disabled.", Some("--enable")),
            ("DeviceNotFound", "Device d/m is not registered.", Some("module list")),
            ("ModuleNotFound", "There is no module m on device d.", Some("module list")),
            ("GenericNotFound", "The file does not exist.", None),
        ] {
            let found = for_not_found(code, message);
            assert_eq!(found.is_some(), hint.is_some(), "{message}");
            assert!(found.unwrap_or_default().contains(hint.unwrap_or_default()), "{message}: {found:?}");
        }
        assert!(
            for_bad_request("ArgumentInvalid", "The query is not valid. Line 1, column 1: x")
                .unwrap()
                .contains("query-language.md")
        );
        assert!(for_bad_request("InvalidDigitalTwinPatchPath", "x").unwrap().contains("digital-twin show"));
        assert_eq!(for_bad_request("ArgumentInvalid", "The id is too long."), None);
        assert!(for_connection("tcp connect error: Connection refused").contains("serve"));
        assert!(for_connection("invalid peer certificate: UnknownIssuer").contains("SSL_CERT_FILE"));
        assert!(for_connection("dns error: failed to lookup").contains("DNS"));
    }

    #[test]
    fn the_format_is_read_from_any_command_line() {
        let output = |text: &str| requested_output(text.split(' ').map(str::to_owned));
        assert_eq!(output("device show d --output json"), Output::Json);
        assert_eq!(output("device --output=json frobnicate"), Output::Json);
        assert_eq!(output("device show json"), Output::Table);
    }
}
