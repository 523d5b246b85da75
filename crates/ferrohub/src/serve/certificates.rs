//! The files with certificates: read at the start, and again when they are renewed or the operator asks for it (SIGHUP).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use ferrohub_core::Hub;
use ferrohub_core::background::Stop;
use ferrohub_gateway::tls::{self, PrivateCa, RequiredHost, ServerCertificate};
use ferrohub_model::Timestamp;
use tokio::sync::Notify;
use tracing::{error, info};

use super::authorities;
use crate::config::{AuthorityConfig, Config};

/// How often the server certificate is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(3600);

/// Loads the configured certificate, or issues one with the hub's private CA.
pub(super) fn load(config: &Config) -> anyhow::Result<(ServerCertificate, Option<PrivateCa>)> {
    if let (Some(certificate), Some(private_key)) = (&config.tls.certificate, &config.tls.private_key) {
        let files =
            tls::CertificateFiles { certificate: certificate.clone(), private_key: private_key.clone() };
        let host =
            RequiredHost { name: config.hostname.clone(), allow_other_names: config.tls.allow_other_names };
        return Ok((ServerCertificate::load(files, Some(host))?, None));
    }
    let mut names = vec![config.hostname.clone()];
    names.extend(config.tls.names.iter().cloned());
    for name in ["localhost", "127.0.0.1", "::1"] {
        names.push(name.to_owned());
    }
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let folder = std::path::absolute(config.data_dir.join("tls"))?;
    let ca = PrivateCa::new(&folder, names);
    let files = ca.ensure(SystemTime::now()).context("cannot create the hub's certificates")?;
    Ok((ServerCertificate::load(files, None)?, Some(ca)))
}

/// The files that a running hub reads again.
pub(super) struct CertificateFiles {
    pub(super) server: Arc<ServerCertificate>,
    /// The CA that issues the server certificate, if none is configured.
    pub(super) private_ca: Option<PrivateCa>,
    /// The authorities for devices in the configuration.
    pub(super) device_cas: Vec<AuthorityConfig>,
    pub(super) hub: Arc<Hub>,
}

impl CertificateFiles {
    /// Renews the certificate of the private CA before it expires, and reloads configured files that were replaced: the
    /// server certificate every hour, all files when `reload` is notified. What cannot be loaded stays as it is.
    ///
    /// Runs until it is stopped.
    pub(super) async fn keep_current(self: Arc<Self>, reload: Arc<Notify>, mut stop: Stop) {
        let mut known = self.certificate_file();
        loop {
            let is_requested = tokio::select! {
                () = tokio::time::sleep(CHECK_INTERVAL) => false,
                () = reload.notified() => true,
                () = stop.requested() => return,
            };
            if let Some(ca) = &self.private_ca
                && let Err(error) = ca.ensure(SystemTime::now())
            {
                error!(%error, "cannot renew the server certificate");
            }
            let current = self.certificate_file();
            if (is_requested || current != known) && self.reload_server_certificate() {
                known = current;
            }
            if is_requested {
                self.reload_device_authorities().await;
            }
        }
    }

    fn certificate_file(&self) -> Option<Vec<u8>> {
        std::fs::read(&self.server.files().certificate).ok()
    }

    fn reload_server_certificate(&self) -> bool {
        let file = self.server.files().certificate.display();
        match self.server.reload() {
            Ok(is_other) => {
                let expires =
                    self.server.expiry().map(|seconds| Timestamp::from_unix_seconds(seconds).to_string());
                match is_other {
                    true => info!(%file, expires, "loaded the new server certificate"),
                    false => info!(%file, expires, "the server certificate is unchanged"),
                }
                true
            }
            Err(error) => {
                error!(%error, "cannot load the new server certificate; the previous one stays in use");
                false
            }
        }
    }

    async fn reload_device_authorities(&self) {
        if self.device_cas.is_empty() {
            return;
        }
        let replaced = match authorities::read(&self.device_cas) {
            Ok(authorities) => {
                self.hub.replace_configured_authorities(authorities).await.map_err(anyhow::Error::from)
            }
            Err(error) => Err(error),
        };
        match replaced {
            Ok(()) => info!("loaded the certificate authorities of [[device_ca]]"),
            Err(error) => error!(
                error = format!("{error:#}"),
                "cannot load the certificate authorities of [[device_ca]]; the previous ones stay in use"
            ),
        }
    }
}
