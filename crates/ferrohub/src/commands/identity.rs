//! What devices and modules have in common on the command line: how they prove themselves, and how that is shown.

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use ferrohub_model::connection_string::DeviceCredential;
use ferrohub_model::{DeviceConnectionString, IdentityId, SharedAccessKey, Timestamp};
use ferrohub_service::{Authentication, AuthenticationType, ConnectionState};

use crate::login::Access;

/// How an identity proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum AuthFlag {
    /// With a shared access key
    #[default]
    Sas,
    /// With a certificate that the hub knows by its thumbprint
    SelfSigned,
    /// With a certificate from a certificate authority that the hub knows
    CertificateAuthority,
}

/// Flags that say how a new identity proves itself.
#[derive(Debug, Args)]
pub(crate) struct CredentialArgs {
    /// How it proves itself
    #[arg(long, value_enum, default_value_t)]
    auth: AuthFlag,
    /// Its first key, in base64 [default: the hub makes both]
    #[arg(long, requires = "secondary_key", value_name = "BASE64")]
    primary_key: Option<String>,
    /// Its second key, in base64
    #[arg(long, requires = "primary_key", value_name = "BASE64")]
    secondary_key: Option<String>,
    /// SHA-1 or SHA-256 of its certificate, in hexadecimal digits
    #[arg(long, required_if_eq("auth", "self-signed"), value_name = "HEX")]
    primary_thumbprint: Option<String>,
    /// The same of a second certificate
    #[arg(long, requires = "primary_thumbprint", value_name = "HEX")]
    secondary_thumbprint: Option<String>,
}

impl CredentialArgs {
    /// What a request says about it; nothing where the hub makes the keys.
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
    /// The first
    Primary,
    /// The second
    Secondary,
}

/// What to do with an identity's keys.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KeyOperation {
    /// A new first one
    Primary,
    /// A new second one
    Secondary,
    /// They change places
    Swap,
}

impl From<KeyOperation> for ferrohub_service::KeyChange {
    fn from(key: KeyOperation) -> Self {
        match key {
            KeyOperation::Primary => Self::Primary,
            KeyOperation::Secondary => Self::Secondary,
            KeyOperation::Swap => Self::Swap,
        }
    }
}

/// Flags that change the keys of an identity.
#[derive(Debug, Args)]
pub(crate) struct KeyChangeArgs {
    /// Replace a key by a new random one
    #[arg(long, value_enum, value_name = "KEY")]
    regenerate_key: Option<KeyName>,
    /// Exchange primary and secondary key
    #[arg(long, conflicts_with = "regenerate_key")]
    swap_keys: bool,
}

impl KeyChangeArgs {
    pub(crate) fn apply(&self, authentication: Option<&mut Authentication>) -> anyhow::Result<()> {
        if self.regenerate_key.is_none() && !self.swap_keys {
            return Ok(());
        }
        let keys = authentication.and_then(|authentication| authentication.symmetric_key.as_mut());
        let keys = keys.filter(|keys| keys.primary_key.is_some()).context("it has no keys")?;
        let fresh = || Some(SharedAccessKey::generate().to_base64());
        match self.regenerate_key {
            Some(KeyName::Primary) => keys.primary_key = fresh(),
            Some(KeyName::Secondary) => keys.secondary_key = fresh(),
            None => std::mem::swap(&mut keys.primary_key, &mut keys.secondary_key),
        }
        Ok(())
    }
}

/// What an identity connects with.
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
            let key = key.context("the hub did not tell the key: the login may not read it")?;
            DeviceCredential::Key(SharedAccessKey::from_base64(&key).context("the key")?)
        }
        Some(AuthenticationType::None) => bail!("{identity} has no way to connect"),
        Some(_) => DeviceCredential::X509,
    };
    Ok(DeviceConnectionString {
        host_name: access.host.clone(),
        identity,
        credential,
        gateway_host_name: None,
    })
}

pub(crate) fn authentication_type(authentication: Option<&Authentication>) -> &'static str {
    authentication.and_then(|authentication| authentication.kind).unwrap_or_default().name()
}

pub(crate) fn connection_state(state: Option<ConnectionState>) -> String {
    state.map(|state| format!("{state:?}")).unwrap_or_default()
}

/// The year 1 stands for never.
pub(crate) fn time_or_never(time: Option<Timestamp>) -> String {
    match time {
        Some(time) if time > Timestamp::from_unix_millis(0) => time.to_string(),
        _ => "never".to_owned(),
    }
}

/// How it proves itself, secrets included; what it does not have is empty.
pub(crate) fn authentication_rows(authentication: Option<&Authentication>) -> Vec<(&'static str, String)> {
    let mut rows = vec![("Authentication", authentication_type(authentication).to_owned())];
    let Some(authentication) = authentication else { return rows };
    if let Some(thumbprints) = &authentication.x509_thumbprint {
        rows.push(("Thumbprint", thumbprints.primary_thumbprint.clone().unwrap_or_default()));
        rows.push(("Second thumbprint", thumbprints.secondary_thumbprint.clone().unwrap_or_default()));
    }
    if let Some(keys) = &authentication.symmetric_key {
        rows.push(("Primary key", keys.primary_key.clone().unwrap_or_default()));
        rows.push(("Secondary key", keys.secondary_key.clone().unwrap_or_default()));
    }
    rows
}
