//! What the hub refuses to exceed. Each limit has a name, a default and a tested refusal.

use std::time::Duration;

use crate::messages::MessageLimits;
use crate::twins::TwinLimits;

/// Limits of the hub's rules. Those of a protocol live with its head.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Devices in the hub.
    pub devices: u64,
    /// Modules on one device.
    pub modules_per_device: u64,
    /// Calls in flight to one device.
    pub in_flight_methods_per_device: u16,
    /// Bytes of a method's payload, either way.
    pub method_payload_bytes: usize,
    /// What a twin may hold.
    pub twins: TwinLimits,
    /// Messages to devices, and what becomes of them.
    pub messages: MessageLimits,
    /// Uploads of files.
    pub files: FileLimits,
    /// Certificate authorities.
    pub certificate_authorities: usize,
    /// Shared access policies.
    pub policies: usize,
    /// How long a device that said goodbye may take to come back and answer the calls it left.
    pub reconnect_grace: Duration,
    /// How often it is written down when connected devices were last heard of.
    pub activity_flush_interval: Duration,
    /// Faults that may be injected at once; 0: none at all.
    pub faults: usize,
    /// How long a fault may last.
    pub fault_duration: Duration,
    /// How long a hub that stops lets calls finish; connections have as long again to end.
    pub shutdown_timeout: Duration,
}

/// Limits of uploads, and of telling services about them.
#[derive(Debug, Clone)]
pub struct FileLimits {
    /// Uploads that one device may have begun and not ended.
    pub uploads_per_device: u32,
    /// How long the URL of an upload is good, and the upload may take.
    pub url_lifetime: Duration,
    /// How services are told of uploads; none if they are not.
    pub notifications: Option<NotificationLimits>,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self { uploads_per_device: 10, url_lifetime: Duration::from_secs(3600), notifications: None }
    }
}

/// Limits of what waits for services.
#[derive(Debug, Clone)]
pub struct NotificationLimits {
    /// How long a notification waits.
    pub time_to_live: Duration,
    /// How long it is locked for whoever received it.
    pub lock_duration: Duration,
    /// How often it is handed out.
    pub max_deliveries: u32,
    /// How many wait; then the oldest go.
    pub max_queued: u32,
}

impl Default for NotificationLimits {
    fn default() -> Self {
        Self {
            time_to_live: Duration::from_secs(3600),
            lock_duration: Duration::from_secs(60),
            max_deliveries: 100,
            max_queued: 10_000,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            devices: 1_000_000,
            modules_per_device: 50,
            in_flight_methods_per_device: 128,
            method_payload_bytes: ferrohub_model::method::MAX_PAYLOAD_SIZE,
            twins: TwinLimits::default(),
            messages: MessageLimits::default(),
            files: FileLimits::default(),
            certificate_authorities: 100,
            policies: 16,
            reconnect_grace: Duration::from_secs(5),
            activity_flush_interval: Duration::from_secs(300),
            faults: 0,
            fault_duration: Duration::from_secs(3600),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}
