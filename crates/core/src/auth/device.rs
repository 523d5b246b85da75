//! Authentication of devices with SAS tokens or certificates.

use ferrohub_model::device::Status;
use ferrohub_model::sas::SasToken;
use ferrohub_model::{Right, Timestamp};

use super::{Authorities, CertificateError, PeerCertificate};
use crate::auth::Credential;
use crate::policies::Policies;
use crate::registry::{Authentication, Identity};

/// Why authentication of a device failed. For logs and metrics; the device only learns that it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceAuthError {
    /// The identity does not exist.
    #[error("the identity does not exist")]
    UnknownIdentity,
    /// The identity, or the module's device, is disabled.
    #[error("the identity is disabled")]
    Disabled,
    /// The device presented neither a password nor a certificate.
    #[error("neither a token nor a certificate was presented")]
    NoCredential,
    /// The password is not a SAS token.
    #[error("the token is malformed: {0}")]
    Malformed(#[from] ferrohub_model::sas::SasError),
    /// The identity has another authentication type.
    #[error("the identity uses another authentication type")]
    WrongAuthenticationType,
    /// No key of the identity or policy signed the token.
    #[error("the token's signature does not match")]
    BadSignature,
    /// The token expired.
    #[error("the token expired at {0}")]
    Expired(Timestamp),
    /// The token's resource is neither this identity nor above it.
    #[error("the token is for another resource")]
    WrongResource,
    /// The policy is unknown.
    #[error("the policy is unknown")]
    UnknownPolicy,
    /// The policy lacks the right `DeviceConnect`.
    #[error("the policy lacks DeviceConnect")]
    NoRight,
    /// The certificate is not valid for this identity.
    #[error("the certificate is not accepted: {0}")]
    Certificate(#[from] CertificateError),
}

impl DeviceAuthError {
    /// Returns a fixed word for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownIdentity => "unknown_identity",
            Self::Disabled => "disabled",
            Self::NoCredential => "no_credential",
            Self::Malformed(_) => "malformed_token",
            Self::WrongAuthenticationType => "wrong_authentication_type",
            Self::BadSignature => "bad_signature",
            Self::Expired(_) => "expired",
            Self::WrongResource => "wrong_resource",
            Self::UnknownPolicy => "unknown_policy",
            Self::NoRight => "no_right",
            Self::Certificate(_) => "certificate",
        }
    }
}

/// The credential that an identity authenticated with, and its expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCredential {
    /// The credential.
    pub credential: Credential,
    /// The expiry of the token or certificate.
    pub expires: Timestamp,
}

/// The registry's entry of the identity that a client claims to be.
pub(crate) struct Claim<'a> {
    /// The identity.
    pub(crate) identity: &'a Identity,
    /// For a module: its device, if that exists.
    pub(crate) device: Option<&'a Identity>,
}

impl<'a> Claim<'a> {
    /// Returns the device: the identity itself, or the device of the module.
    fn device(&self) -> Option<&'a Identity> {
        if self.identity.id.module_str().is_some() { self.device } else { Some(self.identity) }
    }
}

/// What devices and modules are verified against.
pub(crate) struct Verifier<'a> {
    pub(crate) host: &'a str,
    pub(crate) policies: &'a Policies,
    pub(crate) authorities: &'a Authorities,
    pub(crate) now: Timestamp,
}

/// Verifies the token or certificate that a client presented, and that the identity and its device are enabled. A token
/// takes precedence.
pub(crate) async fn authenticate(
    claim: &Claim<'_>,
    token: Option<&str>,
    certificate: Option<&PeerCertificate>,
    verifier: &Verifier<'_>,
) -> Result<VerifiedCredential, DeviceAuthError> {
    let device = claim.device().ok_or(DeviceAuthError::UnknownIdentity)?;
    if claim.identity.status == Status::Disabled || device.status == Status::Disabled {
        return Err(DeviceAuthError::Disabled);
    }
    // An empty password counts as no password.
    match (token.filter(|token| !token.is_empty()), certificate) {
        (Some(token), _) => authenticate_with_token(claim, token, verifier),
        // Boxed: a connect with a token needs no memory for the verification of certificates.
        (None, Some(certificate)) => {
            let Verifier { authorities, now, .. } = verifier;
            Box::pin(authenticate_with_certificate(claim.identity, certificate, authorities, *now)).await
        }
        (None, None) => Err(DeviceAuthError::NoCredential),
    }
}

fn authenticate_with_token(
    claim: &Claim<'_>,
    text: &str,
    verifier: &Verifier<'_>,
) -> Result<VerifiedCredential, DeviceAuthError> {
    let Verifier { host, policies, now, .. } = verifier;
    let identity = claim.identity;
    let token = SasToken::parse(text)?;
    let resource = token
        .resource()
        .filter(|resource| resource.is_on_host(host))
        .ok_or(DeviceAuthError::WrongResource)?;
    let credential = match token.policy() {
        None => {
            if !resource.matches_own_key_of(&identity.id) {
                return Err(DeviceAuthError::WrongResource);
            }
            verify_own_key(claim, &token)?
        }
        Some(name) => {
            // A policy key may replace a device key, but not a device certificate.
            if !matches!(identity.authentication, Authentication::Sas { .. }) {
                return Err(DeviceAuthError::WrongAuthenticationType);
            }
            let policy = policies.get(name).ok_or(DeviceAuthError::UnknownPolicy)?;
            if !resource.covers(&identity.id) {
                return Err(DeviceAuthError::WrongResource);
            }
            if !token.is_signed_by(&policy.primary_key) && !token.is_signed_by(&policy.secondary_key) {
                return Err(DeviceAuthError::BadSignature);
            }
            if !policy.rights.contains(Right::DeviceConnect) {
                return Err(DeviceAuthError::NoRight);
            }
            Credential::Policy { name: policy.name.clone() }
        }
    };
    if token.expiry() <= *now {
        return Err(DeviceAuthError::Expired(token.expiry()));
    }
    Ok(VerifiedCredential { credential, expires: token.expiry() })
}

/// Verifies the signature of a token without a policy. A module may use the key of its device, like the module tests of
/// Microsoft's C SDK and Edge's local hub, unless it authenticates with certificates.
fn verify_own_key(claim: &Claim<'_>, token: &SasToken<'_>) -> Result<Credential, DeviceAuthError> {
    let find_key = |authentication: &Authentication| match authentication {
        Authentication::Sas { primary, secondary } => {
            [primary, secondary].into_iter().find(|key| token.is_signed_by(key)).map(|key| key.fingerprint())
        }
        _ => None,
    };
    let own = &claim.identity.authentication;
    if let Some(key) = find_key(own) {
        return Ok(Credential::DeviceKey(key));
    }
    let device = claim.device.map(|device| &device.authentication);
    match (own, device) {
        (Authentication::Sas { .. } | Authentication::None, Some(device @ Authentication::Sas { .. })) => {
            find_key(device).map(Credential::ParentDeviceKey).ok_or(DeviceAuthError::BadSignature)
        }
        (Authentication::Sas { .. }, _) => Err(DeviceAuthError::BadSignature),
        _ => Err(DeviceAuthError::WrongAuthenticationType),
    }
}

async fn authenticate_with_certificate(
    identity: &Identity,
    certificate: &PeerCertificate,
    authorities: &Authorities,
    now: Timestamp,
) -> Result<VerifiedCredential, DeviceAuthError> {
    match &identity.authentication {
        Authentication::SelfSigned { primary, secondary } => {
            let listed = [primary, secondary]
                .into_iter()
                .flatten()
                .any(|thumbprint| certificate.has_thumbprint(thumbprint));
            if !listed {
                return Err(CertificateError::Thumbprint.into());
            }
            let expires = certificate.check_validity(now)?;
            Ok(VerifiedCredential { credential: Credential::Thumbprint, expires })
        }
        Authentication::CertificateAuthority => {
            let (name, expires) = authorities.verify(certificate, identity.id.as_str(), now).await?;
            Ok(VerifiedCredential { credential: Credential::Authority { name }, expires })
        }
        Authentication::Sas { .. } | Authentication::None => Err(DeviceAuthError::WrongAuthenticationType),
    }
}

#[cfg(test)]
mod tests;
