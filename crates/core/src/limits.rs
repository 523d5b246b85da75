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
    /// Certificate authorities.
    pub certificate_authorities: usize,
    /// Shared access policies.
    pub policies: usize,
    /// How long a device that said goodbye may take to come back and answer the calls it left.
    pub reconnect_grace: Duration,
    /// How often it is written down when connected devices were last heard of.
    pub activity_interval: Duration,
    /// How long a hub that stops lets calls finish.
    pub shutdown_grace: Duration,
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
            certificate_authorities: 100,
            policies: 16,
            reconnect_grace: Duration::from_secs(5),
            activity_interval: Duration::from_secs(300),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}
