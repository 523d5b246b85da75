//! Limits that the hub enforces. Each limit has a name, a default and a test of its enforcement.

use std::time::Duration;

use crate::cloud_to_device::MessageLimits;
use crate::configurations::ConfigurationLimits;
use crate::import_export::ImportExportLimits;
use crate::jobs::JobLimits;
use crate::queries::QueryLimits;
use crate::twins::TwinLimits;

/// Protocol-independent limits. Each protocol front end has its own limits in addition.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Maximum number of devices in the hub.
    pub devices: u64,
    /// Maximum number of modules of a device.
    pub modules_per_device: u64,
    /// Maximum number of method calls in flight to one device or module.
    pub in_flight_methods_per_device: u16,
    /// Maximum size of a method's request payload and of its response payload, in bytes.
    pub method_payload_bytes: usize,
    /// Limits of twins.
    pub twins: TwinLimits,
    /// Limits of queries on twins.
    pub queries: QueryLimits,
    /// Limits of configurations.
    pub configurations: ConfigurationLimits,
    /// Limits of jobs.
    pub jobs: JobLimits,
    /// Limits of cloud-to-device messages and their feedback.
    pub messages: MessageLimits,
    /// Limits of file uploads.
    pub files: FileLimits,
    /// Limits of import and export jobs.
    pub import_export: ImportExportLimits,
    /// Maximum number of certificate authorities.
    pub certificate_authorities: usize,
    /// Maximum number of shared access policies.
    pub policies: usize,
    /// How long after a DISCONNECT a device may reconnect and still answer the method calls in flight.
    pub reconnect_grace: Duration,
    /// How often the last-activity times of connected devices are saved.
    pub activity_flush_interval: Duration,
    /// Maximum number of active injected faults; 0 disables fault injection.
    pub faults: usize,
    /// Maximum duration of an injected fault.
    pub fault_duration: Duration,
    /// How long a graceful shutdown waits for method calls in flight. Connections then have the same time to close.
    pub shutdown_timeout: Duration,
}

/// Limits of file uploads and file notifications.
#[derive(Debug, Clone)]
pub struct FileLimits {
    /// Maximum number of unfinished uploads of one device.
    pub uploads_per_device: u32,
    /// Validity of an upload URL, which is also the maximum duration of the upload.
    pub url_lifetime: Duration,
    /// Limits of file notifications, or `None` if notifications are disabled.
    pub notifications: Option<NotificationLimits>,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self { uploads_per_device: 10, url_lifetime: Duration::from_secs(3600), notifications: None }
    }
}

/// Limits of file notifications.
#[derive(Debug, Clone)]
pub struct NotificationLimits {
    /// How long a notification stays queued.
    pub time_to_live: Duration,
    /// How long a notification is locked for its receiver.
    pub lock_duration: Duration,
    /// Maximum number of deliveries of a notification.
    pub max_deliveries: u32,
    /// Maximum number of queued notifications. When the queue is full, the oldest are removed.
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
            queries: QueryLimits::default(),
            configurations: ConfigurationLimits::default(),
            jobs: JobLimits::default(),
            messages: MessageLimits::default(),
            files: FileLimits::default(),
            import_export: ImportExportLimits::default(),
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
