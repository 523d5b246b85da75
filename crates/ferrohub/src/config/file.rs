//! The types of the configuration, with the names and nesting of the file.
//!
//! A field has the name of its key. `docs/configuration.md` describes each key for users. A key with one value gets
//! that text from [`KEYS`](super::keys::KEYS), so its field has no comment here. Sizes are in bytes; the name of a
//! duration ends with its unit. `Default` gives the values of keys that are not set.

use std::path::PathBuf;

use ferrohub_blobs::AllowedHost;
use ferrohub_core::telemetry::EventSource;
use ferrohub_model::storage_account::StorageAccount;
use ferrohub_model::{Right, SharedAccessKey};
use serde::{Deserialize, Serialize, Serializer};

use super::configurations::ConfigurationsConfig;
use super::jobs::JobsConfig;
use super::messages::MessagesConfig;
use super::queries::QueriesConfig;

/// The effective configuration.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) hostname: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: ListenConfig,
    pub(crate) tls: TlsConfig,
    pub(crate) log: LogConfig,
    pub(crate) faults: FaultsConfig,
    pub(crate) files: FilesConfig,
    pub(crate) limits: LimitsConfig,
    pub(crate) events: EventsConfig,
    pub(crate) messages: MessagesConfig,
    pub(crate) queries: QueriesConfig,
    pub(crate) configurations: ConfigurationsConfig,
    pub(crate) jobs: JobsConfig,
    pub(crate) entra: EntraConfig,
    /// Shared access policies besides those in the data folder.
    #[serde(rename = "policy")]
    pub(crate) policies: Vec<PolicyConfig>,
    /// Certificate authorities for devices, besides those that were added while the hub ran.
    #[serde(rename = "device_ca")]
    pub(crate) device_cas: Vec<AuthorityConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: "localhost".to_owned(),
            data_dir: PathBuf::from("ferrohub-data"),
            listen: ListenConfig::default(),
            tls: TlsConfig::default(),
            log: LogConfig::default(),
            faults: FaultsConfig::default(),
            files: FilesConfig::default(),
            limits: LimitsConfig::default(),
            events: EventsConfig::default(),
            messages: MessagesConfig::default(),
            queries: QueriesConfig::default(),
            configurations: ConfigurationsConfig::default(),
            jobs: JobsConfig::default(),
            entra: EntraConfig::default(),
            policies: Vec::new(),
            device_cas: Vec::new(),
        }
    }
}

/// `[listen]`: the addresses of the listeners.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ListenConfig {
    pub(crate) mqtt: String,
    pub(crate) amqp: String,
    pub(crate) https: String,
    pub(crate) admin: String,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "masked")]
    pub(crate) admin_token: Option<String>,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            mqtt: "[::]:8883".to_owned(),
            amqp: "[::]:5671".to_owned(),
            https: "[::]:443".to_owned(),
            admin: "127.0.0.1:9464".to_owned(),
            admin_token: None,
        }
    }
}

/// `[tls]`: the certificate of the hub.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TlsConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) private_key: Option<PathBuf>,
    pub(crate) names: Vec<String>,
    pub(crate) allow_other_names: bool,
}

/// `log.format`: how a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// `[log]`: what is logged, and in which format.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogConfig {
    pub(crate) level: String,
    pub(crate) format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// `[events]`: the event log.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EventsConfig {
    pub(crate) partitions: u16,
    pub(crate) retention_hours: u64,
    pub(crate) retention_bytes: u64,
    pub(crate) message_bytes: usize,
    #[serde(deserialize_with = "sources")]
    pub(crate) sources: Vec<String>,
    pub(crate) consumer_groups: Vec<String>,
    pub(crate) readers_per_group: usize,
}

impl Default for EventsConfig {
    fn default() -> Self {
        let core = ferrohub_core::telemetry::EventSettings::default();
        Self {
            partitions: 4,
            retention_hours: core.retention.as_secs() / 3600,
            retention_bytes: core.retention_bytes,
            message_bytes: core.event_bytes,
            sources: core.sources.iter().map(|source| source.name().to_owned()).collect(),
            consumer_groups: core.consumer_groups,
            readers_per_group: core.readers_per_group,
        }
    }
}

fn sources<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    match names.iter().find(|name| EventSource::from_name(name).is_none()) {
        None => Ok(names),
        Some(name) => {
            let known = EventSource::ALL.map(EventSource::name).join(", ");
            let text = format!("unknown event source {name:?}; valid are {known}");
            Err(serde::de::Error::custom(text))
        }
    }
}

/// `[faults]`: fault injection for tests.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FaultsConfig {
    pub(crate) enabled: bool,
    pub(crate) max_active: usize,
    pub(crate) max_duration_seconds: u64,
}

impl Default for FaultsConfig {
    fn default() -> Self {
        let core = ferrohub_core::limits::Limits::default();
        Self { enabled: false, max_active: 100, max_duration_seconds: core.fault_duration.as_secs() }
    }
}

/// `[files]`: files that devices upload, and the notifications about them.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FilesConfig {
    pub(crate) enabled: bool,
    pub(crate) blob_bytes: u64,
    pub(crate) total_bytes: u64,
    pub(crate) bytes_per_device: u64,
    pub(crate) uploads_per_device: u32,
    pub(crate) url_lifetime_seconds: u64,
    pub(crate) max_transfers: usize,
    pub(crate) max_transfers_per_device: usize,
    pub(crate) idle_timeout_seconds: u64,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "storage_account",
        serialize_with = "masked"
    )]
    pub(crate) storage_connection_string: Option<StorageAccount>,
    pub(crate) storage_container: String,
    pub(crate) notifications: bool,
    pub(crate) notification_time_to_live_seconds: u64,
    pub(crate) notification_lock_seconds: u64,
    pub(crate) max_notification_deliveries: u32,
    #[serde(deserialize_with = "import_hosts", serialize_with = "as_texts")]
    pub(crate) import_hosts: Vec<AllowedHost>,
}

impl Default for FilesConfig {
    fn default() -> Self {
        let core = ferrohub_core::limits::FileLimits::default();
        let notifications = ferrohub_core::limits::NotificationLimits::default();
        Self {
            enabled: true,
            blob_bytes: 1024 * 1024 * 1024,
            total_bytes: 10 * 1024 * 1024 * 1024,
            bytes_per_device: 1024 * 1024 * 1024,
            uploads_per_device: core.uploads_per_device,
            url_lifetime_seconds: core.url_lifetime.as_secs(),
            max_transfers: 128,
            max_transfers_per_device: 8,
            idle_timeout_seconds: 60,
            storage_connection_string: None,
            storage_container: "uploads".to_owned(),
            notifications: false,
            notification_time_to_live_seconds: notifications.time_to_live.as_secs(),
            notification_lock_seconds: notifications.lock_duration.as_secs(),
            max_notification_deliveries: notifications.max_deliveries,
            import_hosts: Vec::new(),
        }
    }
}

fn storage_account<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<StorageAccount>, D::Error> {
    let text = String::deserialize(deserializer)?;
    // An environment variable can only be empty, not absent from the file: empty means none.
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn import_hosts<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<AllowedHost>, D::Error> {
    let hosts = Vec::<String>::deserialize(deserializer)?;
    hosts.iter().map(|host| host.parse().map_err(serde::de::Error::custom)).collect()
}

fn as_texts<S: Serializer>(hosts: &[AllowedHost], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(hosts.iter().map(ToString::to_string))
}

/// `[limits]`: maximum numbers, sizes and times.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsConfig {
    pub(crate) devices: u64,
    pub(crate) modules_per_device: u64,
    pub(crate) twin_tags_bytes: usize,
    pub(crate) twin_desired_bytes: usize,
    pub(crate) twin_reported_bytes: usize,
    pub(crate) in_flight_methods_per_device: u16,
    pub(crate) method_payload_bytes: usize,
    pub(crate) certificate_authorities: usize,
    pub(crate) connections: usize,
    pub(crate) unauthenticated_connections: usize,
    pub(crate) handshake_timeout_seconds: u64,
    pub(crate) connect_timeout_seconds: u64,
    pub(crate) write_timeout_seconds: u64,
    pub(crate) max_keep_alive_seconds: u64,
    pub(crate) mqtt_packet_bytes: usize,
    pub(crate) http_body_bytes: usize,
    pub(crate) http_request_timeout_seconds: u64,
    pub(crate) https_write_timeout_seconds: u64,
    pub(crate) https_connections_per_caller: usize,
    pub(crate) amqp_connections_per_caller: usize,
    pub(crate) reconnect_grace_seconds: u64,
    pub(crate) activity_flush_interval_seconds: u64,
    pub(crate) shutdown_timeout_seconds: u64,
}

impl Default for LimitsConfig {
    /// The defaults of the other crates where they have any.
    fn default() -> Self {
        let core = ferrohub_core::limits::Limits::default();
        let mqtt = ferrohub_mqtt::server::Config::default();
        Self {
            devices: core.devices,
            modules_per_device: core.modules_per_device,
            twin_tags_bytes: core.twins.tags_bytes,
            twin_desired_bytes: core.twins.desired_bytes,
            twin_reported_bytes: core.twins.reported_bytes,
            in_flight_methods_per_device: core.in_flight_methods_per_device,
            method_payload_bytes: core.method_payload_bytes,
            certificate_authorities: core.certificate_authorities,
            connections: 1_000_000,
            unauthenticated_connections: 2048,
            handshake_timeout_seconds: 10,
            connect_timeout_seconds: 30,
            write_timeout_seconds: 30,
            max_keep_alive_seconds: mqtt.max_keep_alive.as_secs(),
            mqtt_packet_bytes: 272 * 1024,
            http_body_bytes: 1024 * 1024,
            http_request_timeout_seconds: 30,
            https_write_timeout_seconds: 60,
            https_connections_per_caller: 256,
            amqp_connections_per_caller: 256,
            reconnect_grace_seconds: core.reconnect_grace.as_secs(),
            activity_flush_interval_seconds: core.activity_flush_interval.as_secs(),
            shutdown_timeout_seconds: core.shutdown_timeout.as_secs(),
        }
    }
}

/// `[[policy]]`: a shared access policy, which is a named pair of keys with rights.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyConfig {
    /// Replaces the policy of this name in the data folder, if there is one.
    pub(crate) name: String,
    /// The names of the rights.
    #[serde(deserialize_with = "rights")]
    pub(crate) rights: Vec<&'static str>,
    /// Base64 in the file.
    #[serde(serialize_with = "masked")]
    pub(crate) primary_key: SharedAccessKey,
    /// Base64 in the file.
    #[serde(serialize_with = "masked")]
    pub(crate) secondary_key: SharedAccessKey,
}

fn rights<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<&'static str>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names
        .iter()
        .map(|name| {
            Right::from_name(name).map(Right::name).ok_or_else(|| {
                let known = Right::ALL.map(Right::name).join(", ");
                serde::de::Error::custom(format!("unknown right {name:?}; valid are {known}"))
            })
        })
        .collect()
}

/// Serialises a secret as `***`.
fn masked<T, S: Serializer>(_: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("***")
}

/// `[[device_ca]]`: certificate authorities for devices. They need no proof of possession.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthorityConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// `None`: the file name without extension.
    pub(crate) name: Option<String>,
    /// PEM or DER. A PEM file may contain several certificates; each is an authority.
    pub(crate) file: PathBuf,
}

/// `[entra]`: bearer tokens of Microsoft Entra and of other OpenID Connect issuers.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EntraConfig {
    pub(crate) development: bool,
    pub(crate) tenants: Vec<String>,
    pub(crate) audiences: Vec<String>,
    /// Issuers besides those of `tenants`.
    #[serde(rename = "issuer", skip_serializing_if = "Vec::is_empty")]
    pub(crate) issuers: Vec<IssuerConfig>,
    /// Roles besides those in the tokens.
    #[serde(rename = "assignment", skip_serializing_if = "Vec::is_empty")]
    pub(crate) assignments: Vec<AssignmentConfig>,
}

/// `[[entra.issuer]]`: an OpenID Connect issuer other than Microsoft.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssuerConfig {
    /// The exact claim `iss` of its tokens.
    pub(crate) issuer: String,
    /// The required claim `tid`. `None`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    /// PEM file with the authorities that its HTTPS certificate may come from. `None`: those of the operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
}

/// `[[entra.assignment]]`: a role for a principal, besides the roles in its token.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssignmentConfig {
    /// The claim `oid`, `appid`, `azp` or `sub` of its tokens.
    pub(crate) principal: String,
    /// The name of the role, such as `IoT Hub Data Contributor`.
    pub(crate) role: String,
}
