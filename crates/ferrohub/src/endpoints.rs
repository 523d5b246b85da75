//! What a running hub tells the commands on the same machine: where it listens. No secrets in it.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

const FILE: &str = "endpoints.json";
const HTTPS_PORT: u16 = 443;

/// Where a hub listens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Endpoints {
    /// The hub's name.
    pub(crate) hostname: String,
    /// MQTT over TLS.
    pub(crate) mqtt: SocketAddr,
    /// HTTPS.
    pub(crate) https: SocketAddr,
    /// Health and metrics.
    pub(crate) admin: SocketAddr,
    /// The certificate of the hub's own CA, if it has one.
    pub(crate) ca_certificate: Option<String>,
}

impl Endpoints {
    /// Reads what the hub of this folder wrote.
    pub(crate) fn read(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join(FILE);
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("no hub has run in {}: start one with `ferrohub serve`", data_dir.display())
        })?;
        serde_json::from_str(&text).with_context(|| format!("{} is not readable", path.display()))
    }

    /// Leaves them for others to read.
    pub(crate) fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        let (path, partial) = (data_dir.join(FILE), data_dir.join("endpoints.new"));
        std::fs::write(&partial, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&partial, &path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The host part of a service's connection string: with the port where it is not the usual one.
    pub(crate) fn host_for_services(&self) -> String {
        match self.https.port() {
            HTTPS_PORT => self.hostname.clone(),
            port => format!("{}:{port}", self.hostname),
        }
    }
}
