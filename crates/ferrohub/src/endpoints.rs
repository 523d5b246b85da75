//! The file `endpoints.json`: a running hub writes its addresses there for commands on the same machine. It contains no
//! secrets.
//!
//! While a hub starts, the file has its process id only, so that commands wait for it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context as _, bail};
use ferrohub_model::ServiceConnectionString;
use serde::{Deserialize, Serialize};

const FILE: &str = "endpoints.json";
const HTTPS_PORT: u16 = 443;

/// The addresses that a hub listens on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Endpoints {
    /// Host name of the hub.
    pub(crate) hostname: String,
    /// MQTT over TLS.
    pub(crate) mqtt: SocketAddr,
    /// AMQP over TLS. Files of older versions do not have it.
    #[serde(default)]
    pub(crate) amqp: Option<SocketAddr>,
    /// HTTPS.
    pub(crate) https: SocketAddr,
    /// Health and metrics.
    pub(crate) admin: SocketAddr,
    /// Path of the certificate of the hub's private CA, if it has one.
    pub(crate) ca_certificate: Option<String>,
    /// Whether the hub sends file notifications.
    #[serde(default)]
    pub(crate) file_notifications: bool,
    /// Process id of the hub. Files of older versions do not have it.
    #[serde(default)]
    pub(crate) pid: Option<u32>,
}

/// The content of the file while a hub starts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Starting {
    /// Process id of the hub.
    starting: u32,
}

/// Returns whether a hub is starting in this data folder.
pub(crate) fn is_starting(data_dir: &Path) -> bool {
    let starting = fs::read(data_dir.join(FILE)).ok().and_then(|text| serde_json::from_slice(&text).ok());
    starting.is_some_and(|Starting { starting }| Path::new("/proc").join(starting.to_string()).exists())
}

/// Replaces the addresses of the previous run with the process id of this one. The caller has the lock of the folder.
pub(crate) fn announce_start(data_dir: &Path) -> anyhow::Result<()> {
    replace(data_dir, &Starting { starting: std::process::id() })
}

/// Replaces the file atomically.
fn replace(data_dir: &Path, content: &impl Serialize) -> anyhow::Result<()> {
    let (path, partial) = (data_dir.join(FILE), data_dir.join("endpoints.new"));
    let written = fs::write(&partial, serde_json::to_vec_pretty(content)?);
    written
        .and_then(|()| fs::rename(&partial, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

impl Endpoints {
    /// Reads the file that the hub of this data folder wrote.
    pub(crate) fn read(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| {
            format!(
                "there are no endpoints in {}: no hub has run there; start one with `ferrohub serve`",
                data_dir.display()
            )
        })?;
        if serde_json::from_str::<Starting>(&text).is_ok() {
            match is_starting(data_dir) {
                true => bail!("the hub in {} is starting; try again in a moment", data_dir.display()),
                false => bail!(
                    "the last start of the hub in {} failed; start it with `ferrohub serve`, which prints the reason",
                    data_dir.display()
                ),
            }
        }
        serde_json::from_str(&text).with_context(|| {
            format!("cannot parse {}; restart the hub, which writes the file again", path.display())
        })
    }

    /// Writes the file. It is replaced atomically.
    pub(crate) fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        replace(data_dir, self)
    }

    /// Returns whether a connection string is for this hub: the host names are equal.
    pub(crate) fn is_named_in(&self, login: &ServiceConnectionString) -> bool {
        login.host_name == self.host_for_services()
    }

    /// Returns the address at which a client on this machine reaches HTTPS.
    pub(crate) fn local_https(&self) -> SocketAddr {
        loopback_if_unspecified(self.https)
    }

    /// Returns the address at which a client on this machine reaches MQTT.
    pub(crate) fn local_mqtt(&self) -> SocketAddr {
        loopback_if_unspecified(self.mqtt)
    }

    /// Returns the host name for connection strings of services, with the port unless it is 443.
    pub(crate) fn host_for_services(&self) -> String {
        match self.https.port() {
            HTTPS_PORT => self.hostname.clone(),
            port => format!("{}:{port}", self.hostname),
        }
    }
}

/// Replaces an unspecified listen address with the loopback address.
fn loopback_if_unspecified(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        // `[::]` implies that the machine has IPv6: without it the hub listens on 0.0.0.0.
        let ip = if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
        address.set_ip(ip);
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_starting_while_its_process_runs() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_starting(folder.path()));
        announce_start(folder.path()).unwrap();
        assert!(is_starting(folder.path()));
        let error = Endpoints::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is starting"), "{error}");
        // A process id that no process can have.
        replace(folder.path(), &Starting { starting: u32::MAX }).unwrap();
        assert!(!is_starting(folder.path()));
        let error = Endpoints::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("failed"), "{error}");
        let address = "0.0.0.0:1".parse().unwrap();
        let endpoints = Endpoints {
            hostname: "h".to_owned(),
            mqtt: address,
            amqp: Some(address),
            https: address,
            admin: address,
            ca_certificate: None,
            file_notifications: false,
            pid: Some(1),
        };
        endpoints.write(folder.path()).unwrap();
        assert!(!is_starting(folder.path()));
        let read = Endpoints::read(folder.path()).unwrap();
        assert_eq!((read.pid, read.local_https()), (Some(1), "127.0.0.1:1".parse().unwrap()));
    }
}
