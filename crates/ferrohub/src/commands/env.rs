//! `ferrohub env`: shell exports, so that unmodified clients trust the hub and can log in.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use ferrohub_model::ServiceConnectionString;

use crate::cli::Common;
use crate::endpoints::Endpoints;

/// Flags of `ferrohub env`.
#[derive(Debug, Args)]
pub(crate) struct Env {}

impl Env {
    pub(crate) fn run(self, common: &Common) -> anyhow::Result<()> {
        let config = common.load(Vec::new())?;
        let endpoints = Endpoints::read(&config.data_dir)?;
        let policies =
            ferrohub_store::read_policies(&config.data_dir).context("cannot read the hub's policies")?;
        let mut exports: Vec<(&str, String)> = Vec::new();
        if let Some(ca) = &endpoints.ca_certificate {
            for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
                exports.push((name, ca.clone()));
            }
        }
        let configured = config.policies.iter().map(|policy| (policy.name.as_str(), &policy.primary_key));
        let stored = policies.iter().map(|policy| (policy.name.as_str(), &policy.primary_key));
        let keys: Vec<_> = configured.chain(stored).collect();
        for (variable, policy) in
            [("IOTHUB_CONNECTION_STRING", "iothubowner"), ("IOTHUB_SERVICE_CONNECTION_STRING", "service")]
        {
            if let Some((_, key)) = keys.iter().find(|(name, _)| *name == policy) {
                let login = ServiceConnectionString {
                    host_name: endpoints.host_for_services(),
                    policy: policy.to_owned(),
                    key: (*key).clone(),
                };
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
