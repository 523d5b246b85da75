//! Metrics of the process, the data folder and the certificate. They are read when they are requested.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ferrohub_core::Hub;
use ferrohub_core::metrics::registered;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rustix::time::{ClockId, clock_gettime};

use crate::transport::tls::ServerCertificate;

type FloatGauge = Gauge<f64, AtomicU64>;
type IntGauge = Gauge<i64, AtomicI64>;

/// The label of the build.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabel {
    version: &'static str,
}

/// The label of a database.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DatabaseLabel {
    database: &'static str,
}

/// The databases in the data folder: the value of the label, and the file.
const DATABASES: [(&str, &str); 2] = [("hub", "hub.db"), ("events", "events.db")];

/// Metrics that the hub reads from the operating system and the store.
#[derive(Debug, Clone)]
pub struct SystemMetrics(Arc<Values>);

#[derive(Debug)]
struct Values {
    data_dir: PathBuf,
    devices: IntGauge,
    database_bytes: Family<DatabaseLabel, IntGauge>,
    disk_free_bytes: FloatGauge,
    disk_size_bytes: FloatGauge,
    certificate_expiry: FloatGauge,
    cpu_seconds: Counter<f64, AtomicU64>,
    /// The CPU time at the last request.
    last_cpu_seconds: Mutex<f64>,
    start_time: FloatGauge,
    resident_bytes: IntGauge,
    virtual_bytes: IntGauge,
    open_files: IntGauge,
    max_files: IntGauge,
}

impl SystemMetrics {
    /// Creates the metrics and registers them in `registry`. `version` is the version of the program.
    #[expect(clippy::disallowed_methods, reason = "the start time of the process, once")]
    pub fn register(registry: &mut Registry, version: &'static str, data_dir: &Path) -> Self {
        let build: Family<BuildLabel, IntGauge> =
            registered(registry, "ferrohub_build_info", "Version of the program; the value is always 1");
        build.get_or_create(&BuildLabel { version }).set(1);
        let values = Values {
            data_dir: data_dir.to_path_buf(),
            devices: registered(registry, "ferrohub_devices", "Registered devices"),
            database_bytes: registered(
                registry,
                "ferrohub_database_bytes",
                "Size of the files of a database, including its write-ahead log",
            ),
            disk_free_bytes: registered(
                registry,
                "ferrohub_disk_free_bytes",
                "Free bytes on the file system of the data folder",
            ),
            disk_size_bytes: registered(
                registry,
                "ferrohub_disk_size_bytes",
                "Size of the file system of the data folder",
            ),
            certificate_expiry: registered(
                registry,
                "ferrohub_certificate_expiry_timestamp_seconds",
                "When the server certificate expires, in Unix time",
            ),
            cpu_seconds: registered(
                registry,
                "process_cpu_seconds",
                "Total user and system CPU time in seconds",
            ),
            last_cpu_seconds: Mutex::default(),
            start_time: registered(
                registry,
                "process_start_time_seconds",
                "Start time of the process, in Unix time",
            ),
            resident_bytes: registered(
                registry,
                "process_resident_memory_bytes",
                "Resident memory size in bytes",
            ),
            virtual_bytes: registered(
                registry,
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes",
            ),
            open_files: registered(registry, "process_open_fds", "Open file descriptors"),
            max_files: registered(registry, "process_max_fds", "Maximum number of open file descriptors"),
        };
        for (database, _) in DATABASES {
            let _ = values.database_bytes.get_or_create(&DatabaseLabel { database });
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        values.start_time.set(since.as_secs_f64());
        Self(Arc::new(values))
    }

    /// Reads the current values. A value that cannot be read keeps its last one.
    pub(crate) async fn refresh(&self, hub: &Hub, certificate: &ServerCertificate) {
        if let Ok(devices) = hub.count_devices().await {
            self.0.devices.set(i64::try_from(devices).unwrap_or(i64::MAX));
        }
        if let Some(expiry) = certificate.expiry() {
            self.0.certificate_expiry.set(expiry as f64);
        }
        let values = self.0.clone();
        // The files are usually in the cache of the operating system, but a disk may be slow.
        let _ = tokio::task::spawn_blocking(move || values.read_files()).await;
    }
}

impl Values {
    fn read_files(&self) {
        for (database, file) in DATABASES {
            let bytes: u64 = ["", "-wal", "-shm"]
                .iter()
                .filter_map(|suffix| self.data_dir.join(format!("{file}{suffix}")).metadata().ok())
                .map(|metadata| metadata.len())
                .sum();
            let gauge = self.database_bytes.get_or_create(&DatabaseLabel { database });
            gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        if let Ok(disk) = rustix::fs::statvfs(&self.data_dir) {
            self.disk_free_bytes.set(disk.f_bavail as f64 * disk.f_frsize as f64);
            self.disk_size_bytes.set(disk.f_blocks as f64 * disk.f_frsize as f64);
        }
        self.read_process();
    }

    fn read_process(&self) {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
        let mut last = self.last_cpu_seconds.lock().unwrap_or_else(PoisonError::into_inner);
        if seconds > *last {
            self.cpu_seconds.inc_by(seconds - *last);
            *last = seconds;
        }
        drop(last);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        for (name, gauge) in [("VmRSS:", &self.resident_bytes), ("VmSize:", &self.virtual_bytes)] {
            let kib = status.lines().find_map(|line| line.strip_prefix(name));
            if let Some(kib) =
                kib.and_then(|text| text.trim().trim_end_matches("kB").trim().parse::<i64>().ok())
            {
                gauge.set(kib.saturating_mul(1024));
            }
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            self.open_files.set(i64::try_from(files.count()).unwrap_or(i64::MAX));
        }
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let max = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        if let Some(max) = max.and_then(|text| text.split_whitespace().next()) {
            self.max_files.set(max.parse().unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_this_process_are_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("hub.db"), [0; 100]).unwrap();
        std::fs::write(folder.path().join("hub.db-wal"), [0; 11]).unwrap();
        let metrics = SystemMetrics::register(&mut Registry::default(), "1.2.3", folder.path());
        metrics.0.read_files();
        let values = &metrics.0;
        assert_eq!(values.database_bytes.get_or_create(&DatabaseLabel { database: "hub" }).get(), 111);
        assert_eq!(values.database_bytes.get_or_create(&DatabaseLabel { database: "events" }).get(), 0);
        assert!(values.disk_size_bytes.get() >= values.disk_free_bytes.get());
        assert!(values.disk_size_bytes.get() > 0.0 && values.start_time.get() > 1.5e9);
        assert!(values.cpu_seconds.get() > 0.0);
        for gauge in [&values.resident_bytes, &values.virtual_bytes, &values.open_files, &values.max_files] {
            assert!(gauge.get() > 0);
        }
    }
}
