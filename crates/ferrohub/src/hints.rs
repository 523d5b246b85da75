//! Texts for a command that failed: the error, and a hint at the remedy.

use ferrohub_model::ErrorKind;

/// Formats an error with its causes, separated by colons.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let texts: Vec<String> = error
        .chain()
        .map(|cause| match cause.downcast_ref::<ferrohub_service::Error>() {
            Some(refused) => describe_refusal(refused.message(), &refused.to_string()),
            None => cause.to_string(),
        })
        .collect();
    texts.join(": ")
}

/// Formats an error of the hub. `text` is `message` followed by its code in parentheses: a full stop between them is
/// removed.
fn describe_refusal(message: &str, text: &str) -> String {
    match text.strip_prefix(message) {
        Some(code) if !code.is_empty() => format!("{}{code}", message.trim_end_matches('.')),
        _ => text.to_owned(),
    }
}

/// Returns a hint at the remedy, if there is one for this error.
pub(crate) fn for_error(error: &anyhow::Error) -> Option<&'static str> {
    let (kind, code_name) = error.chain().find_map(|cause| {
        let service = cause.downcast_ref::<ferrohub_service::Error>().map(|e| (e.kind(), e.code_name()));
        service.or_else(|| {
            cause.downcast_ref::<ferrohub_device::Error>().map(|error| (error.kind(), error.code_name()))
        })
    })?;
    Some(match kind {
        ErrorKind::Connection | ErrorKind::Tls => {
            "Is the hub running, and does this client trust its certificate? Start a hub with `ferrohub serve`; \
             eval \"$(ferrohub env)\" sets SSL_CERT_FILE."
        }
        ErrorKind::Unauthorized => {
            "The hub refused the credentials. Run `ferrohub policy show iothubowner` where the hub's data folder is, \
             and pass the connection string that it prints with --login."
        }
        ErrorKind::NotFound => match code_name {
            Some("DeviceNotFound") => "Run `ferrohub device list` to see the registered devices.",
            Some("ModuleNotFound") => "Run `ferrohub module list DEVICE` to see the modules of a device.",
            _ => return None,
        },
        ErrorKind::DeviceNotOnline => {
            "The device is not connected, or has not subscribed to methods. `ferrohub invoke --connect-timeout \
             SECONDS` waits for it; `ferrohub device show` prints its last activity time."
        }
        ErrorKind::DeviceTimeout => {
            "The device did not respond within --timeout. Pass a larger --timeout (up to 300)."
        }
        ErrorKind::PreconditionFailed => {
            "The etag differs: the identity or twin was changed in the meantime. Read it again and repeat the \
             command."
        }
        ErrorKind::Unavailable => "The hub is starting or stopping; try again in a moment.",
        _ => return None,
    })
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
        ] {
            assert_eq!(describe_refusal(message, text), expected);
        }
    }

    #[test]
    fn causes_are_separated_by_colons() {
        let error = anyhow::anyhow!("no such file").context("cannot read x");
        assert_eq!(describe(&error), "cannot read x: no such file");
    }
}
