//! `ferrohub env`: prints shell exports with which unmodified clients trust the hub and can authenticate.

use std::fmt::Write as _;

use anyhow::Context as _;
use clap::Args;
use ferrohub_development_issuer::DevelopmentCredentials;

use crate::global_flags::GlobalFlags;
use crate::login;
use crate::output;
use crate::starting;

/// The policy in the connection string for readers of events: it has no right but the one that they need.
const EVENT_READER: &str = "service";

/// Flags of `ferrohub env`.
#[derive(Debug, Args)]
pub(crate) struct Env {}

impl Env {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        let config = global.load(Vec::new())?;
        let endpoints = starting::endpoints(&config.data_dir)?;
        let mut exports: Vec<(&str, String)> = Vec::new();
        if let Some(ca) = &endpoints.ca_certificate {
            for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
                exports.push((name, ca.clone()));
            }
        }
        for (variable, name) in
            [("IOTHUB_CONNECTION_STRING", "iothubowner"), ("IOTHUB_SERVICE_CONNECTION_STRING", "service")]
        {
            if let Some(login) = login::policy_connection_string(&config, &endpoints, name)? {
                exports.push((variable, login.reveal()));
                if name == EVENT_READER {
                    exports.push(("EVENTHUB_CONNECTION_STRING", login.reveal_for_event_hubs()));
                }
            }
        }
        if config.entra.development {
            let entra = DevelopmentCredentials::read(&config.data_dir).context(
                "cannot read the credentials of the development issuer; start the hub once with \
                     entra.development = true",
            )?;
            exports.push(("AZURE_TENANT_ID", entra.tenant));
            exports.push(("AZURE_CLIENT_ID", entra.client_id));
            exports.push(("AZURE_CLIENT_SECRET", entra.client_secret));
            exports.push(("AZURE_AUTHORITY_HOST", format!("https://{}", endpoints.host_for_services())));
            exports.push(("IOTHUB_HOSTNAME", endpoints.host_for_services()));
        }
        let mut text = String::new();
        for (name, value) in exports {
            writeln!(text, "export {name}='{}'", value.replace('\'', r"'\''"))?;
        }
        output::print_bytes(text.as_bytes())
    }
}
