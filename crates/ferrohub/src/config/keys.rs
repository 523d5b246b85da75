//! Every key of the configuration that has one value: its path, and what it is for.

/// One key. Its name in the environment is `FERROHUB_` and the path in capitals, dots as underscores.
pub(crate) struct Key {
    pub(crate) path: &'static str,
    pub(crate) about: &'static str,
}

const fn key(path: &'static str, about: &'static str) -> Key {
    Key { path, about }
}

/// In the order of the documentation.
pub(crate) const KEYS: &[Key] = &[
    key(
        "hostname",
        "The hub's name: what connection strings, tokens and user names carry, and the certificate certifies.",
    ),
    key("data_dir", "The folder for everything that must survive a restart."),
    key("listen.mqtt", "Where MQTT over TLS listens. Device SDKs hard-wire port 8883."),
    key(
        "listen.https",
        "Where HTTPS and MQTT over WebSocket listen. Device SDKs hard-wire port 443; where it is not permitted, 8443 is used.",
    ),
    key(
        "listen.admin",
        "Where health (/healthz, /readyz) and metrics (/metrics) are told, without TLS; must be a loopback address.",
    ),
    key("tls.certificate", "PEM file with the server's certificate chain; without it the hub makes its own."),
    key("tls.private_key", "PEM file with the private key of tls.certificate."),
    key("tls.names", "More names and addresses for the certificate that the hub makes."),
    key(
        "log.level",
        "error, warn, info, debug or trace, or a filter such as ferrohub_core=debug,warn. Payloads show only at trace.",
    ),
    key("log.format", "text or json."),
    key(
        "entra.development",
        "Runs a token issuer for development inside the hub; needs listen.https on loopback.",
    ),
    key("entra.tenants", "Tenant ids of Microsoft Entra whose tokens are accepted."),
    key("entra.audiences", "Audiences to accept besides https://iothubs.azure.net."),
    key(
        "events.partitions",
        "Partitions of the event log, 2 to 32. Fixed when the log is made: another number later is an error.",
    ),
    key("events.retention_hours", "How long an event stays in the log at most."),
    key("events.retention_bytes", "How much the log holds at most; then the oldest events go."),
    key("events.message_bytes", "Largest message from a device, body and properties."),
    key(
        "events.sources",
        "What goes into the log besides telemetry: twinChangeEvents, deviceLifecycleEvents, deviceConnectionStateEvents.",
    ),
    key("events.consumer_groups", "Groups of readers besides $Default."),
    key(
        "events.readers_per_group",
        "Readers that one group may have on each partition; more are refused with 429001.",
    ),
    key("faults.enabled", "Lets a test inject faults; not for a hub that somebody relies on."),
    key("faults.max_active", "Faults that may be injected at once."),
    key("faults.max_duration_seconds", "How long a fault may last."),
    key("files.enabled", "Whether devices may upload files."),
    key("files.blob_bytes", "Largest file."),
    key(
        "files.total_bytes",
        "Size of the hub's folder for files, those under way included; more is refused with 507.",
    ),
    key("files.uploads_per_device", "Uploads that one device may have begun and not ended."),
    key(
        "files.url_lifetime_seconds",
        "How long the URL of an upload is good, and the upload may take: 1 to 86400.",
    ),
    key(
        "files.max_transfers",
        "Files of devices that may come and go at once, and as many again of services.",
    ),
    key(
        "files.max_transfers_per_device",
        "Files of one device that may come and go at once; more are refused with 503.",
    ),
    key(
        "files.idle_timeout_seconds",
        "How long a file that comes or goes may stand still, or go on when its URL has run out.",
    ),
    key(
        "files.storage_connection_string",
        "An account of Azure Storage to keep files in; without it the hub keeps them in its data folder.",
    ),
    key("files.storage_container", "The container in that account. It must exist."),
    key("files.notifications", "Whether services are told of uploaded files."),
    key("files.notification_time_to_live_seconds", "How long a notification waits: 60 to 172800."),
    key("files.notification_lock_seconds", "How long a notification is locked for its receiver: 5 to 300."),
    key("files.max_notification_deliveries", "How often a notification is handed out: 1 to 100."),
    key("limits.devices", "Devices in the hub."),
    key("limits.modules_per_device", "Modules on one device."),
    key("limits.twin_tags_bytes", "Size of a twin's tags."),
    key("limits.twin_desired_bytes", "Size of a twin's desired properties."),
    key("limits.twin_reported_bytes", "Size of a twin's reported properties."),
    key(
        "limits.in_flight_methods_per_device",
        "Method calls in flight to one device; more are refused with 403800.",
    ),
    key("limits.method_payload_bytes", "Payload of a method call, either way."),
    key("limits.certificate_authorities", "Certificate authorities for devices."),
    key("limits.connections", "Sockets open at once."),
    key(
        "limits.unauthenticated_connections",
        "Sockets open at once whose peer has not authenticated yet; the longest silent ones make room for newcomers.",
    ),
    key("limits.handshake_timeout_seconds", "How long a peer may take for the TLS handshake."),
    key("limits.connect_timeout_seconds", "How long a device may take from the handshake to CONNECT."),
    key("limits.write_timeout_seconds", "How long a device may leave what it is sent unread."),
    key("limits.max_keep_alive_seconds", "Longest silence of a device, whatever keep-alive it asked for."),
    key("limits.mqtt_packet_bytes", "Largest MQTT packet."),
    key("limits.http_body_bytes", "Largest body of an HTTP request."),
    key("limits.http_request_timeout_seconds", "How long a caller may take to send a request."),
    key(
        "limits.reconnect_grace_seconds",
        "How long a device that disconnected in good order may take to come back and answer the calls it left.",
    ),
    key(
        "limits.activity_flush_interval_seconds",
        "How often it is written down when connected devices were last heard of; a hub that dies forgets no more of it.",
    ),
    key(
        "limits.shutdown_timeout_seconds",
        "How long a hub that stops lets calls finish; connections have as long again to end.",
    ),
    key(
        "messages.queue_length",
        "Messages that wait for one device or module, 1 to 1000; more are refused with 403004.",
    ),
    key("messages.message_bytes", "Size of a message to a device, properties included."),
    key(
        "messages.time_to_live_seconds",
        "How long a message waits for its device if its sender does not say.",
    ),
    key("messages.max_time_to_live_seconds", "How long a message may wait at most."),
    key(
        "messages.lock_seconds",
        "How long a device that received a message over HTTPS may take to complete it.",
    ),
    key("messages.max_deliveries", "How often a message is delivered to a device that gives it back."),
    key("messages.feedback_time_to_live_seconds", "How long feedback waits to be heard."),
    key(
        "messages.feedback_lock_seconds",
        "How long a back end that received feedback may take to complete it.",
    ),
    key(
        "messages.feedback_max_deliveries",
        "How often feedback is delivered to back ends that give it back.",
    ),
    key(
        "messages.feedback_delay_seconds",
        "How long the first record of a batch of feedback waits for others; 64 fill a batch.",
    ),
    key("messages.feedback_records", "Records of feedback that wait; the oldest give way."),
];

/// Keys that were renamed: old path and new path. An old one is an error that names the new one, in the file and in the
/// environment.
pub(crate) const RENAMED: &[(&str, &str)] = &[
    ("faults.at_once", "faults.max_active"),
    ("faults.max_seconds", "faults.max_duration_seconds"),
    ("files.transfers", "files.max_transfers"),
    ("files.transfers_per_device", "files.max_transfers_per_device"),
    ("files.notification_ttl_seconds", "files.notification_time_to_live_seconds"),
    ("files.notification_max_deliveries", "files.max_notification_deliveries"),
    ("limits.sockets", "limits.connections"),
    ("limits.strangers", "limits.unauthenticated_connections"),
    ("limits.keep_alive_cap_seconds", "limits.max_keep_alive_seconds"),
    ("limits.activity_interval_seconds", "limits.activity_flush_interval_seconds"),
    ("limits.shutdown_grace_seconds", "limits.shutdown_timeout_seconds"),
];

/// The name of a key in the environment.
pub(crate) fn environment_name(path: &str) -> String {
    format!("FERROHUB_{}", path.to_ascii_uppercase().replace('.', "_"))
}
