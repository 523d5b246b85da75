//! How a command finds a hub: by a connection string, or by the data folder of a hub on this machine.

use std::net::SocketAddr;
use std::sync::OnceLock;

use anyhow::Context as _;
use clap::Args;
use ferrohub_model::{HostPort, ServiceConnectionString};
use ferrohub_service::ServiceClient;

use crate::config::Config;
use crate::endpoints::Endpoints;
use crate::global_flags::GlobalFlags;
use crate::starting;

/// The policy that has all rights.
const OWNER_POLICY: &str = "iothubowner";
/// Context of the error if neither a connection string nor endpoints are found.
const NO_HUB: &str = "no hub given: pass --login, set IOTHUB_CONNECTION_STRING, or name the hub's data folder with \
                      --data-dir";

/// The address of the hub that this command calls, for errors. A process runs one command.
static CALLED_ADDRESS: OnceLock<String> = OnceLock::new();

/// Returns the address of the hub that this command calls, if it is known.
pub(crate) fn called_address() -> Option<&'static str> {
    CALLED_ADDRESS.get().map(String::as_str)
}

/// Flag of the commands that call a hub.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Connection string of a shared access policy [default: the policy iothubowner of the hub in the data folder]
    #[arg(
        long,
        global = true,
        value_name = "CONNECTION STRING",
        env = "IOTHUB_CONNECTION_STRING",
        hide_env_values = true
    )]
    login: Option<String>,
}

/// Access to a hub.
pub(crate) struct Access {
    /// Client of the service API.
    pub(crate) client: ServiceClient,
    /// Host name of the hub, without port.
    pub(crate) host: String,
    /// Its addresses, if it runs on this machine.
    pub(crate) local: Option<LocalHub>,
}

/// A hub on this machine.
pub(crate) struct LocalHub {
    pub(crate) mqtt: SocketAddr,
    pub(crate) https: SocketAddr,
    /// The certificate of its private CA, PEM.
    pub(crate) ca: Option<Vec<u8>>,
    /// Whether it sends file notifications.
    pub(crate) file_notifications: bool,
}

impl Login {
    /// Finds the hub, and waits for a hub on this machine that is starting. Sends nothing.
    pub(crate) fn access(&self, global: &GlobalFlags) -> anyhow::Result<Access> {
        let config = global.load(Vec::new())?;
        match self.connection_string()? {
            Some(login) => {
                starting::wait_while_starting(&config.data_dir);
                let endpoints = Endpoints::read(&config.data_dir).ok();
                match endpoints.filter(|endpoints| endpoints.is_named_in(&login)) {
                    Some(endpoints) => {
                        Access::local(&login, &starting::wait_until_listening(&config.data_dir, endpoints))
                    }
                    None => Access::remote(&login),
                }
            }
            None => {
                let endpoints = starting::endpoints(&config.data_dir).context(NO_HUB)?;
                let endpoints = starting::wait_until_listening(&config.data_dir, endpoints);
                Access::local(&owner_connection_string(&config, &endpoints)?, &endpoints)
            }
        }
    }

    /// Finds the hub without a wait.
    pub(crate) fn access_now(&self, config: &Config) -> anyhow::Result<Access> {
        let endpoints = Endpoints::read(&config.data_dir);
        match (self.connection_string()?, endpoints) {
            (Some(login), Ok(endpoints)) if endpoints.is_named_in(&login) => {
                Access::local(&login, &endpoints)
            }
            (Some(login), _) => Access::remote(&login),
            (None, endpoints) => {
                let endpoints = endpoints.context(NO_HUB)?;
                Access::local(&owner_connection_string(config, &endpoints)?, &endpoints)
            }
        }
    }

    /// Parses the connection string, if there is one.
    pub(crate) fn connection_string(&self) -> anyhow::Result<Option<ServiceConnectionString>> {
        let parse = |text: &String| {
            text.parse().context(
                "the connection string is not valid; the form is \
                 HostName=…;SharedAccessKeyName=…;SharedAccessKey=…",
            )
        };
        self.login.as_ref().map(parse).transpose()
    }
}

/// Returns the connection string of the owner policy. Its key is in the configuration or in the data folder.
pub(crate) fn owner_connection_string(
    config: &Config,
    endpoints: &Endpoints,
) -> anyhow::Result<ServiceConnectionString> {
    policy_connection_string(config, endpoints, OWNER_POLICY)?.with_context(|| {
        format!("the hub has no shared access policy {OWNER_POLICY}; pass a connection string with --login")
    })
}

/// Returns the connection string of a policy of the hub in the data folder, or `None` if there is no such policy.
pub(crate) fn policy_connection_string(
    config: &Config,
    endpoints: &Endpoints,
    name: &str,
) -> anyhow::Result<Option<ServiceConnectionString>> {
    let configured = config.policies.iter().find(|policy| policy.name == name);
    let key = match configured {
        Some(policy) => Some(policy.primary_key.clone()),
        None => {
            let stored = ferrohub_store::read_policies(&config.data_dir)?;
            stored.into_iter().find(|policy| policy.name == name).map(|policy| policy.primary_key)
        }
    };
    Ok(key.map(|key| ServiceConnectionString {
        host_name: endpoints.host_for_services(),
        policy: name.to_owned(),
        key,
    }))
}

impl Access {
    /// Creates access to a hub on this machine. It is reached at its listen address; its host name is not resolved.
    pub(crate) fn local(login: &ServiceConnectionString, endpoints: &Endpoints) -> anyhow::Result<Self> {
        let ca = match &endpoints.ca_certificate {
            Some(path) => Some(std::fs::read(path).with_context(|| format!("cannot read {path}"))?),
            None => None,
        };
        let local = LocalHub {
            mqtt: endpoints.local_mqtt(),
            https: endpoints.local_https(),
            ca,
            file_notifications: endpoints.file_notifications,
        };
        let _ = CALLED_ADDRESS.set(format!("{} ({})", local.https, endpoints.hostname));
        let mut builder =
            ServiceClient::builder_from_connection_string(&login.reveal())?.connect_to(local.https);
        if let Some(ca) = &local.ca {
            builder = builder.additional_root_certificates(ca.clone());
        }
        Ok(Self { client: builder.build()?, host: endpoints.hostname.clone(), local: Some(local) })
    }

    fn remote(login: &ServiceConnectionString) -> anyhow::Result<Self> {
        let _ = CALLED_ADDRESS.set(login.host_name.clone());
        let host = HostPort::parse(&login.host_name)?.host;
        Ok(Self { client: ServiceClient::from_connection_string(&login.reveal())?, host, local: None })
    }
}
