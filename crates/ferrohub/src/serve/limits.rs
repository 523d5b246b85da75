//! Converts the configured limits to the types of the other crates.

use std::sync::Arc;
use std::time::Duration;

use ferrohub_core::limits::{FileLimits, Limits, NotificationLimits};
use ferrohub_core::telemetry::{EventSettings, EventSource};
use ferrohub_core::twins::TwinLimits;
use ferrohub_gateway::{AmqpLimits, GatewayLimits, MqttLimits};

use crate::config::{Config, EventsConfig, FilesConfig, LimitsConfig};

pub(super) fn core_limits(config: &Config) -> Limits {
    let Config { limits: config, messages, queries, jobs, configurations, files, faults, .. } = config;
    Limits {
        devices: config.devices,
        modules_per_device: config.modules_per_device,
        twins: TwinLimits {
            tags_bytes: config.twin_tags_bytes,
            desired_bytes: config.twin_desired_bytes,
            reported_bytes: config.twin_reported_bytes,
            ..TwinLimits::default()
        },
        queries: queries.limits(),
        configurations: configurations.limits(),
        jobs: jobs.limits(),
        messages: messages.limits(),
        files: file_limits(files),
        in_flight_methods_per_device: config.in_flight_methods_per_device,
        method_payload_bytes: config.method_payload_bytes,
        certificate_authorities: config.certificate_authorities,
        reconnect_grace: Duration::from_secs(config.reconnect_grace_seconds),
        activity_flush_interval: Duration::from_secs(config.activity_flush_interval_seconds.max(1)),
        faults: if faults.enabled { faults.max_active } else { 0 },
        fault_duration: Duration::from_secs(faults.max_duration_seconds),
        shutdown_timeout: Duration::from_secs(config.shutdown_timeout_seconds),
        ..Limits::default()
    }
}

pub(super) fn event_settings(config: &EventsConfig) -> EventSettings {
    EventSettings {
        sources: config.sources.iter().filter_map(|name| EventSource::from_name(name)).collect(),
        retention: Duration::from_secs(config.retention_hours.saturating_mul(3600)),
        retention_bytes: config.retention_bytes,
        consumer_groups: config.consumer_groups.clone(),
        readers_per_group: config.readers_per_group,
        event_bytes: config.message_bytes,
    }
}

fn file_limits(config: &FilesConfig) -> FileLimits {
    let notifications = NotificationLimits {
        time_to_live: Duration::from_secs(config.notification_time_to_live_seconds),
        lock_duration: Duration::from_secs(config.notification_lock_seconds),
        max_deliveries: config.max_notification_deliveries,
        ..NotificationLimits::default()
    };
    FileLimits {
        uploads_per_device: config.uploads_per_device,
        url_lifetime: Duration::from_secs(config.url_lifetime_seconds),
        notifications: config.notifications.then_some(notifications),
    }
}

pub(super) fn gateway_limits(config: &LimitsConfig, files: &FilesConfig) -> GatewayLimits {
    let protocol = ferrohub_mqtt::server::Config {
        limits: ferrohub_mqtt::Limits {
            max_packet_size: config.mqtt_packet_bytes,
            // Topics contain device ids, which may contain `+` and `#`.
            wildcards_in_topics: true,
            ..ferrohub_mqtt::Limits::default()
        },
        connect_timeout: Duration::from_secs(config.connect_timeout_seconds),
        max_keep_alive: Duration::from_secs(config.max_keep_alive_seconds),
        ..ferrohub_mqtt::server::Config::default()
    };
    GatewayLimits {
        connections: config.connections,
        unauthenticated_connections: config.unauthenticated_connections,
        handshake_timeout: Duration::from_secs(config.handshake_timeout_seconds),
        mqtt: MqttLimits {
            protocol: Arc::new(protocol),
            write_timeout: Duration::from_secs(config.write_timeout_seconds),
        },
        amqp: AmqpLimits::new(
            Duration::from_secs(config.connect_timeout_seconds),
            Duration::from_secs(config.write_timeout_seconds),
        ),
        http_body_bytes: config.http_body_bytes,
        http_request_timeout: Duration::from_secs(config.http_request_timeout_seconds),
        https_write_timeout: Duration::from_secs(config.https_write_timeout_seconds),
        https_connections_per_caller: config.https_connections_per_caller,
        amqp_connections_per_caller: config.amqp_connections_per_caller,
        file_transfers: files.max_transfers,
        file_transfers_per_device: files.max_transfers_per_device,
        file_idle_timeout: Duration::from_secs(files.idle_timeout_seconds),
    }
}
