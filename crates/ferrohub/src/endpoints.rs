//! The file `endpoints.json`: a running hub writes its addresses there for commands on the same machine. It contains no
//! secrets.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
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
    /// HTTPS.
    pub(crate) https: SocketAddr,
    /// Health and metrics.
    pub(crate) admin: SocketAddr,
    /// Path of the certificate of the hub's private CA, if it has one.
    pub(crate) ca_certificate: Option<String>,
}

impl Endpoints {
    /// Reads the file that the hub of this data folder wrote.
    pub(crate) fn read(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join(FILE);
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "there are no endpoints in {}: no hub has run there; start one with `ferrohub serve`",
                data_dir.display()
            )
        })?;
        serde_json::from_str(&text).with_context(|| {
            format!("cannot parse {}; restart the hub, which writes the file again", path.display())
        })
    }

    /// Writes the file. It is replaced atomically.
    pub(crate) fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        let (path, partial) = (data_dir.join(FILE), data_dir.join("endpoints.new"));
        std::fs::write(&partial, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&partial, &path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Returns the host name for connection strings of services, with the port unless it is 443.
    pub(crate) fn host_for_services(&self) -> String {
        match self.https.port() {
            HTTPS_PORT => self.hostname.clone(),
            port => format!("{}:{port}", self.hostname),
        }
    }
}
