//! `ferrohub env`: shell exports, so that unmodified clients trust the hub and can log in.

use std::io::Write as _;

use clap::Args;

use crate::cli::Common;
use crate::endpoints::Endpoints;
use crate::login;

/// Flags of `ferrohub env`.
#[derive(Debug, Args)]
pub(crate) struct Env {}

impl Env {
    pub(crate) fn run(self, common: &Common) -> anyhow::Result<()> {
        let config = common.load(Vec::new())?;
        let endpoints = Endpoints::read(&config.data_dir)?;
        let mut exports: Vec<(&str, String)> = Vec::new();
        if let Some(ca) = &endpoints.ca_certificate {
            for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
                exports.push((name, ca.clone()));
            }
        }
        for (variable, name) in
            [("IOTHUB_CONNECTION_STRING", "iothubowner"), ("IOTHUB_SERVICE_CONNECTION_STRING", "service")]
        {
            if let Some(login) = login::policy(&config, &endpoints, name)? {
                exports.push((variable, login.reveal()));
            }
        }
        let mut out = std::io::stdout().lock();
        for (name, value) in exports {
            writeln!(out, "export {name}='{}'", value.replace('\'', r"'\''"))?;
        }
        Ok(())
    }
}
