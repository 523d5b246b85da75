//! What to do next when a command failed.

use ferrohub_model::ErrorKind;

/// A hint for people, where there is one.
pub(crate) fn for_error(error: &anyhow::Error) -> Option<&'static str> {
    let kind = error.chain().find_map(|cause| {
        let service = cause.downcast_ref::<ferrohub_service::Error>().map(ferrohub_service::Error::kind);
        service.or_else(|| cause.downcast_ref::<ferrohub_device::Error>().map(ferrohub_device::Error::kind))
    })?;
    Some(match kind {
        ErrorKind::Connection | ErrorKind::Tls => {
            "Is the hub running, and does this machine trust its certificate? `ferrohub serve` starts one; \
             eval \"$(ferrohub env)\" sets SSL_CERT_FILE."
        }
        ErrorKind::Unauthorized => {
            "The connection string is not good for this. `ferrohub policy show iothubowner`, run where the hub's \
             data folder is, tells a good one."
        }
        ErrorKind::NotFound => "`ferrohub device list` shows what is registered.",
        ErrorKind::DeviceNotOnline => {
            "The device is not connected, or does not listen for methods. --connect-timeout SECONDS waits for it; \
             `ferrohub device show` tells when it was last heard of."
        }
        ErrorKind::DeviceTimeout => "The device took longer than --timeout allows.",
        ErrorKind::PreconditionFailed => "Somebody else changed it meanwhile; look again.",
        ErrorKind::Unavailable => "The hub is starting or stopping; try again in a moment.",
        _ => return None,
    })
}
