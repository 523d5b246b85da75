//! The configuration keys that have a single value: path and description.

/// A configuration key. Its environment variable is `FERROHUB_` and the path in upper case, with underscores for dots.
pub(crate) struct Key {
    pub(crate) path: &'static str,
    pub(crate) about: &'static str,
}

const fn key(path: &'static str, about: &'static str) -> Key {
    Key { path, about }
}

/// All keys, in the order of the documentation.
pub(crate) const KEYS: &[Key] = &[
    key(
        "hostname",
        "Host name of the hub: in connection strings, tokens, user names and the server certificate.",
    ),
    key("data_dir", "Data folder: databases, certificates and files."),
    key("listen.mqtt", "Listen address for MQTT over TLS. Device SDKs always use port 8883."),
    key(
        "listen.amqp",
        "Listen address for AMQP over TLS, which is for services. Their SDKs always use port 5671.",
    ),
    key(
        "listen.https",
        "Listen address for HTTPS, and MQTT and AMQP over WebSocket. Device SDKs always use port 443; without the privilege for it the hub listens on 8443.",
    ),
    key(
        "listen.admin",
        "Listen address for health (/healthz, /readyz) and metrics (/metrics). Without listen.admin_token it is plain HTTP, and must be a loopback address.",
    ),
    key(
        "listen.admin_token",
        "Token that clients of listen.admin must send (Authorization: Bearer TOKEN), at least 16 characters. With it the listener uses TLS, with the certificate of the hub, and may have any address [default: none].",
    ),
    key(
        "tls.certificate",
        "PEM file with the certificate chain of the server [default: the hub issues its own].",
    ),
    key("tls.private_key", "PEM file with the private key of tls.certificate."),
    key("tls.names", "Additional host names and addresses for the certificate that the hub issues."),
    key(
        "tls.allow_other_names",
        "Starts also if the names in tls.certificate do not cover hostname, for clients that connect through a proxy.",
    ),
    key(
        "log.level",
        "error, warn, info, debug or trace, or a filter such as ferrohub_core=debug,warn. Payloads are logged only at trace.",
    ),
    key("log.format", "text or json."),
    key(
        "entra.development",
        "Runs a token issuer for development inside the hub; requires a loopback address in listen.https.",
    ),
    key("entra.tenants", "Microsoft Entra tenant ids whose tokens are accepted."),
    key("entra.audiences", "Token audiences to accept besides https://iothubs.azure.net."),
    key(
        "events.partitions",
        "Number of partitions of the event log, 2 to 32. It is fixed when the log is created; a different value later is an error.",
    ),
    key("events.retention_hours", "Maximum age of an event in the log."),
    key("events.retention_bytes", "Maximum size of the log; the oldest events are removed first."),
    key("events.message_bytes", "Maximum size of a device-to-cloud message, body and properties."),
    key(
        "events.sources",
        "Hub events to record besides telemetry: twinChangeEvents, deviceLifecycleEvents, deviceConnectionStateEvents.",
    ),
    key("events.consumer_groups", "Consumer groups besides $Default."),
    key(
        "events.readers_per_group",
        "Maximum readers of one consumer group on each partition; more are refused with 429001.",
    ),
    key("faults.enabled", "Allows fault injection, for tests. Never in production."),
    key("faults.max_active", "Maximum number of active faults."),
    key("faults.max_duration_seconds", "Maximum duration of a fault."),
    key("files.enabled", "Whether devices may upload files."),
    key("files.blob_bytes", "Maximum size of a file."),
    key(
        "files.total_bytes",
        "Maximum size of the hub's folder for files, unfinished uploads included; more is refused with 507.",
    ),
    key(
        "files.bytes_per_device",
        "Maximum size of the files of one device, unfinished uploads included; more is refused with 507.",
    ),
    key("files.uploads_per_device", "Maximum number of unfinished uploads per device."),
    key(
        "files.url_lifetime_seconds",
        "Lifetime of an upload URL, which is also the time limit of the upload: 1 to 86400.",
    ),
    key("files.max_transfers", "Maximum concurrent transfers of devices, and as many again of services."),
    key(
        "files.max_transfers_per_device",
        "Maximum concurrent transfers of one device; more are refused with 503.",
    ),
    key(
        "files.idle_timeout_seconds",
        "Time without progress after which a transfer is aborted; also how long it may continue after its URL expired.",
    ),
    key(
        "files.storage_connection_string",
        "Connection string of an Azure Storage account for files [default: files are kept in the data folder].",
    ),
    key("files.storage_container", "Container in that account, which must exist."),
    key("files.notifications", "Whether services are notified of uploaded files."),
    key("files.notification_time_to_live_seconds", "Time to live of a file notification: 60 to 172800."),
    key("files.notification_lock_seconds", "Lock duration of a received file notification: 5 to 300."),
    key("files.max_notification_deliveries", "Maximum deliveries of a file notification: 1 to 100."),
    key(
        "files.import_hosts",
        "Hosts of storage that import and export jobs may reach, such as account.blob.core.windows.net; none but these. Without a scheme it is https.",
    ),
    key(
        "queries.indexed_paths",
        "Paths of twins that have an index, such as tags.building or properties.reported.firmware, at most 32. They make =, IN and STARTSWITH fast in queries on many twins.",
    ),
    key(
        "queries.max_running",
        "Maximum number of queries that run at the same time: 1 to 64. Fewer than processors, so that they do not delay calls.",
    ),
    key(
        "queries.max_waiting",
        "Maximum number of queries that wait for others; more are refused with 429001.",
    ),
    key(
        "queries.timeout_seconds",
        "How long a page of a query may take, and may wait for others before: 1 to 600.",
    ),
    key("queries.page_bytes", "Maximum size of a page: 1024 to 67108864. A larger page is split."),
    key("queries.max_groups", "Maximum number of groups of a query with GROUP BY: 1 to 1000000."),
    key("configurations.max_count", "Maximum number of configurations: 0 to 1000. Azure allows 100."),
    key("configurations.max_bytes", "Maximum size of a configuration in JSON: 1024 to 4194304."),
    key("configurations.max_metrics", "Maximum number of metrics of a configuration: 0 to 20."),
    key(
        "configurations.sweep_seconds",
        "How often all devices are compared with the configurations, beside what changes cause: 10 to 86400.",
    ),
    key(
        "configurations.max_waiting_devices",
        "Maximum number of changed devices that wait to be compared; if more change, all devices are.",
    ),
    key(
        "jobs.max_active",
        "Maximum number of jobs that have not ended, those that start later included: 1 to 10000; more are refused with 429004.",
    ),
    key("jobs.max_devices", "Maximum number of devices on which a job works at the same time: 1 to 4096."),
    key(
        "jobs.max_devices_per_hub",
        "Maximum number of devices on which all jobs work at the same time: 1 to 65536.",
    ),
    key("jobs.history_days", "How long a job and its rows are kept after its end: 1 to 3650 days."),
    key("limits.devices", "Maximum number of devices."),
    key("limits.modules_per_device", "Maximum number of modules per device."),
    key("limits.twin_tags_bytes", "Maximum size of the tags of a twin."),
    key("limits.twin_desired_bytes", "Maximum size of the desired properties of a twin."),
    key("limits.twin_reported_bytes", "Maximum size of the reported properties of a twin."),
    key(
        "limits.in_flight_methods_per_device",
        "Maximum method calls in flight per device; more are refused with 403800.",
    ),
    key("limits.method_payload_bytes", "Maximum payload of a method request, and of its response."),
    key("limits.certificate_authorities", "Maximum number of certificate authorities for devices."),
    key("limits.connections", "Maximum number of open connections."),
    key(
        "limits.unauthenticated_connections",
        "Maximum number of connections that have not authenticated; when it is reached, a new connection evicts the oldest of them.",
    ),
    key("limits.handshake_timeout_seconds", "Time-out of the TLS handshake."),
    key(
        "limits.connect_timeout_seconds",
        "Time-out from the end of the handshake to CONNECT, or to the token of an AMQP client.",
    ),
    key("limits.write_timeout_seconds", "Time-out for writing to an MQTT or AMQP client that does not read."),
    key("limits.max_keep_alive_seconds", "Upper limit for the keep-alive interval of a device."),
    key("limits.mqtt_packet_bytes", "Maximum size of an MQTT packet."),
    key("limits.http_body_bytes", "Maximum size of the body of an HTTP request."),
    key("limits.http_request_timeout_seconds", "Time-out for receiving an HTTP request."),
    key(
        "limits.https_write_timeout_seconds",
        "How long an HTTPS client may read nothing of a response before its connection is closed.",
    ),
    key(
        "limits.https_connections_per_caller",
        "Maximum open HTTPS connections of one policy, Entra principal or device; more are refused with 429001.",
    ),
    key(
        "limits.amqp_connections_per_caller",
        "Maximum open AMQP connections of one policy or Entra principal; the token on a further one is refused.",
    ),
    key(
        "limits.reconnect_grace_seconds",
        "How long a method call waits for a device that sent DISCONNECT to reconnect and respond.",
    ),
    key(
        "limits.activity_flush_interval_seconds",
        "Interval at which last-activity times are saved; a crash loses at most this much.",
    ),
    key(
        "limits.shutdown_timeout_seconds",
        "How long a shutdown waits for method calls; connections then get the same time to close.",
    ),
    key(
        "messages.queue_length",
        "Maximum messages queued per device or module, 1 to 1000; more are refused with 403004.",
    ),
    key("messages.message_bytes", "Maximum size of a cloud-to-device message, body and properties."),
    key("messages.time_to_live_seconds", "Default time to live of a message."),
    key("messages.max_time_to_live_seconds", "Maximum time to live of a message."),
    key("messages.lock_seconds", "Lock duration of a message received over HTTPS."),
    key("messages.max_deliveries", "Maximum deliveries of a message that the device abandons."),
    key("messages.feedback_time_to_live_seconds", "Time to live of feedback."),
    key("messages.feedback_lock_seconds", "Lock duration of a feedback batch."),
    key("messages.max_feedback_deliveries", "Maximum deliveries of a feedback batch that is abandoned."),
    key(
        "messages.feedback_delay_seconds",
        "How long a feedback batch waits for more records; 64 fill a batch.",
    ),
    key("messages.feedback_records", "Maximum number of feedback records; the oldest are dropped."),
];

/// Renamed keys: old path and new path. An old key, in the file or in the environment, is an error that names the new
/// key.
pub(crate) const RENAMED: &[(&str, &str)] = &[
    ("faults.at_once", "faults.max_active"),
    ("faults.max_seconds", "faults.max_duration_seconds"),
    ("files.transfers", "files.max_transfers"),
    ("files.transfers_per_device", "files.max_transfers_per_device"),
    ("files.notification_ttl_seconds", "files.notification_time_to_live_seconds"),
    ("files.notification_max_deliveries", "files.max_notification_deliveries"),
    ("messages.feedback_max_deliveries", "messages.max_feedback_deliveries"),
    ("limits.sockets", "limits.connections"),
    ("limits.strangers", "limits.unauthenticated_connections"),
    ("limits.keep_alive_cap_seconds", "limits.max_keep_alive_seconds"),
    ("limits.activity_interval_seconds", "limits.activity_flush_interval_seconds"),
    ("limits.shutdown_grace_seconds", "limits.shutdown_timeout_seconds"),
];

/// Returns the environment variable of a key.
pub(crate) fn environment_name(path: &str) -> String {
    format!("FERROHUB_{}", path.to_ascii_uppercase().replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::fs;

    use toml::Value;

    use super::{KEYS, environment_name};
    use crate::config::Config;

    /// One line for each key: path, environment variable and default.
    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/configuration-keys.txt");

    /// Has every key that is not in [`KEYS`].
    const TABLES: &str = r#"
        [[policy]]
        name = "p"
        rights = []
        primary_key = "AAECAwQFBgcICQoLDA0ODw=="
        secondary_key = "AAECAwQFBgcICQoLDA0ODw=="
        [[device_ca]]
        name = "n"
        file = "f"
        [[entra.issuer]]
        issuer = "i"
        tenant = "t"
        ca_file = "f"
        [[entra.assignment]]
        principal = "p"
        role = "r"
    "#;

    /// Adds the paths of all values below `value` that are not in [`KEYS`].
    fn collect_other_keys(value: &Value, path: &str, paths: &mut Vec<String>) {
        match value {
            _ if KEYS.iter().any(|key| key.path == path) => {}
            Value::Table(table) => {
                for (name, value) in table {
                    let separator = if path.is_empty() { "" } else { "." };
                    collect_other_keys(value, &format!("{path}{separator}{name}"), paths);
                }
            }
            Value::Array(values) => {
                for value in values.iter().filter(|value| value.is_table()) {
                    collect_other_keys(value, &format!("{path}[]"), paths);
                }
                if values.iter().all(|value| !value.is_table()) {
                    paths.push(path.to_owned());
                }
            }
            _ => paths.push(path.to_owned()),
        }
    }

    fn listing() -> String {
        let defaults = Value::try_from(Config::default()).unwrap();
        let mut text = String::new();
        for key in KEYS {
            let default = key.path.split('.').try_fold(&defaults, |value, part| value.get(part));
            let default = default.map_or_else(|| "none".to_owned(), Value::to_string);
            let _ = writeln!(text, "{} | {} | {default}", key.path, environment_name(key.path));
        }
        let mut others = Vec::new();
        let config: Config = toml::from_str(TABLES).unwrap();
        collect_other_keys(&Value::try_from(config).unwrap(), "", &mut others);
        others.sort();
        for path in others {
            let _ = writeln!(text, "{path} | none | none");
        }
        text
    }

    /// To accept a change: run this test with `UPDATE_GOLDEN=1`.
    #[test]
    fn the_keys_are_those_of_the_golden_file() {
        let listing = listing();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(GOLDEN, &listing).unwrap();
        }
        let golden = fs::read_to_string(GOLDEN).unwrap();
        assert_eq!(
            listing, golden,
            "keys, environment variables or defaults differ from {GOLDEN}. Users' configurations depend on them: \
             give a renamed key a row in RENAMED, describe the change in CHANGELOG.md, and run this test with \
             UPDATE_GOLDEN=1"
        );
    }
}
