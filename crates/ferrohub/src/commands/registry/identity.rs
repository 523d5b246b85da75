//! Command-line parts that devices and modules share: credentials, and how they are shown.

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use ferrohub_model::connection_string::DeviceCredential;
use ferrohub_model::{DeviceConnectionString, IdentityId, SharedAccessKey, Timestamp};
use ferrohub_service::{Authentication, AuthenticationType, ConnectionState};
use serde_json::json;

use crate::login::Access;
use crate::output::{Output, details, print_line};

/// Authentication type of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum AuthFlag {
    /// Shared access key
    #[default]
    Sas,
    /// Certificate with a registered thumbprint
    SelfSigned,
    /// Certificate issued by a registered certificate authority
    CertificateAuthority,
}

/// Flags for the credentials of a new identity.
#[derive(Debug, Args)]
pub(crate) struct CredentialArgs {
    /// Authentication type
    #[arg(long, value_enum, default_value_t)]
    auth: AuthFlag,
    /// Primary key in base64 [default: both keys are generated]
    #[arg(long, requires = "secondary_key", value_name = "BASE64")]
    primary_key: Option<String>,
    /// Secondary key in base64
    #[arg(long, requires = "primary_key", value_name = "BASE64")]
    secondary_key: Option<String>,
    /// Thumbprint of the certificate: SHA-1 or SHA-256, in hexadecimal digits
    #[arg(long, required_if_eq("auth", "self-signed"), value_name = "HEX")]
    primary_thumbprint: Option<String>,
    /// Thumbprint of a second certificate
    #[arg(long, requires = "primary_thumbprint", value_name = "HEX")]
    secondary_thumbprint: Option<String>,
}

impl CredentialArgs {
    /// Returns the credentials for the request, or `None` if the hub generates the keys.
    pub(crate) fn authentication(&self) -> Option<Authentication> {
        match (self.auth, &self.primary_key, &self.secondary_key, &self.primary_thumbprint) {
            (AuthFlag::SelfSigned, _, _, Some(thumbprint)) => {
                Some(Authentication::thumbprints(thumbprint, self.secondary_thumbprint.clone()))
            }
            (AuthFlag::CertificateAuthority, ..) => Some(Authentication::certificate_authority()),
            (AuthFlag::Sas, Some(primary), Some(secondary), _) => {
                Some(Authentication::keys(primary, secondary))
            }
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KeyName {
    /// Primary key
    Primary,
    /// Secondary key
    Secondary,
}

/// Changes of the keys of an identity.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KeyOperation {
    /// Regenerate the primary key
    Primary,
    /// Regenerate the secondary key
    Secondary,
    /// Regenerate both keys
    Both,
    /// Swap both keys
    Swap,
}

impl From<KeyOperation> for ferrohub_service::KeyChange {
    fn from(key: KeyOperation) -> Self {
        match key {
            KeyOperation::Primary => Self::Primary,
            KeyOperation::Secondary => Self::Secondary,
            KeyOperation::Both => Self::Both,
            KeyOperation::Swap => Self::Swap,
        }
    }
}

/// Flags that change the keys of an identity.
#[derive(Debug, Args)]
pub(crate) struct KeyChangeArgs {
    /// Regenerate a key
    #[arg(long, value_enum, value_name = "KEY")]
    regenerate_key: Option<KeyName>,
    /// Swap primary and secondary key
    #[arg(long, conflicts_with = "regenerate_key")]
    swap_keys: bool,
}

/// Which key to regenerate, by position or with `--key`.
#[derive(Debug, Args)]
#[group(id = "which-key", required = true, multiple = false, args = ["position", "key"])]
pub(crate) struct KeyArg<K: ValueEnum + Send + Sync + 'static> {
    /// Which key; the other one stays valid
    #[arg(value_enum, value_name = "KEY")]
    position: Option<K>,
    /// The same as KEY
    #[arg(long, value_enum, value_name = "KEY")]
    key: Option<K>,
}

impl<K: ValueEnum + Send + Sync + 'static> KeyArg<K> {
    pub(crate) fn get(self) -> anyhow::Result<K> {
        self.position.or(self.key).context("give the key: primary or secondary")
    }
}

/// Prints a connection string: as it is, or as a JSON object as the Azure CLI prints it.
pub(crate) fn print_connection_string(output: Output, login: &DeviceConnectionString) -> anyhow::Result<()> {
    match output {
        Output::Table => print_line(&login.reveal()),
        Output::Json => output.print(&json!({ "connectionString": login.reveal() }), |_| details::<&str>([])),
    }
}

impl KeyChangeArgs {
    /// Returns whether no change is requested.
    pub(crate) fn is_empty(&self) -> bool {
        self.regenerate_key.is_none() && !self.swap_keys
    }

    pub(crate) fn apply(&self, authentication: Option<&mut Authentication>) -> anyhow::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let keys = authentication.and_then(|authentication| authentication.symmetric_key.as_mut());
        let keys = keys
            .filter(|keys| keys.primary_key.is_some())
            .context("the identity does not authenticate with keys, so there is none to change")?;
        let fresh = || Some(SharedAccessKey::generate().to_base64());
        match self.regenerate_key {
            Some(KeyName::Primary) => keys.primary_key = fresh(),
            Some(KeyName::Secondary) => keys.secondary_key = fresh(),
            None => std::mem::swap(&mut keys.primary_key, &mut keys.secondary_key),
        }
        Ok(())
    }
}

/// Returns the connection string of an identity.
pub(crate) fn connection_string(
    access: &Access,
    identity: IdentityId,
    authentication: Option<Authentication>,
    secondary: bool,
) -> anyhow::Result<DeviceConnectionString> {
    let authentication = authentication.unwrap_or_default();
    let credential = match authentication.kind {
        Some(AuthenticationType::Sas) | None => {
            let keys = authentication.symmetric_key.unwrap_or_default();
            let key = if secondary { keys.secondary_key } else { keys.primary_key };
            let key = key.context(
                "the hub did not return the key; the policy of --login needs the right RegistryRead",
            )?;
            DeviceCredential::Key(
                SharedAccessKey::from_base64(&key).context("the key from the hub is not valid")?,
            )
        }
        Some(AuthenticationType::None) => bail!(
            "{identity} has no credentials (authentication type none), so there is no connection string"
        ),
        Some(_) => DeviceCredential::X509,
    };
    Ok(DeviceConnectionString {
        host_name: access.host.clone(),
        identity,
        credential,
        gateway_host_name: None,
    })
}

/// Returns what to know before this id is used in connection strings of other clients, if anything.
pub(crate) fn connection_string_warning(id: &str) -> Option<String> {
    if id.contains(';') {
        return Some(format!(
            "warning: the id {id:?} contains ';'. Ferrohub writes it in quotes in connection strings, which Microsoft's \
             clients cannot read; give those the id and the key separately, or choose another id"
        ));
    }
    id.contains(['%', '+']).then(|| {
        format!(
            "warning: the id {id:?} contains '%' or '+', which Microsoft's Java client decodes in connection strings; \
             for that client write %25 for '%' and %2B for '+'"
        )
    })
}

pub(crate) fn authentication_type(authentication: Option<&Authentication>) -> &'static str {
    authentication.and_then(|authentication| authentication.kind).unwrap_or_default().name()
}

pub(crate) fn connection_state(state: Option<ConnectionState>) -> String {
    state.map(|state| format!("{state:?}")).unwrap_or_default()
}

/// Formats a time. Azure sends the year 1 for "never".
pub(crate) fn time_or_never(time: Option<Timestamp>) -> String {
    match time {
        Some(time) if time > Timestamp::from_unix_millis(0) => time.to_string(),
        _ => "never".to_owned(),
    }
}

/// Returns rows with the credentials, secrets included. Absent values are empty.
pub(crate) fn authentication_rows(authentication: Option<&Authentication>) -> Vec<(&'static str, String)> {
    let mut rows = vec![("Authentication", authentication_type(authentication).to_owned())];
    let Some(authentication) = authentication else { return rows };
    if let Some(thumbprints) = &authentication.x509_thumbprint {
        rows.push(("Thumbprint", thumbprints.primary_thumbprint.clone().unwrap_or_default()));
        rows.push(("Secondary thumbprint", thumbprints.secondary_thumbprint.clone().unwrap_or_default()));
    }
    if let Some(keys) = &authentication.symmetric_key {
        rows.push(("Primary key", keys.primary_key.clone().unwrap_or_default()));
        rows.push(("Secondary key", keys.secondary_key.clone().unwrap_or_default()));
    }
    rows
}
