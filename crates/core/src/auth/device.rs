//! Authentication of devices with SAS tokens or certificates.

use ferrohub_model::device::Status;
use ferrohub_model::sas::SasToken;
use ferrohub_model::{Right, Timestamp};

use super::{Authorities, CertificateError, PeerCertificate, Policies};
use crate::connections::Credential;
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
    /// The token's resource is not this identity.
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

/// Verifies the token or certificate that a device presented for `identity`. A token takes precedence.
pub(crate) async fn authenticate(
    identity: &Identity,
    token: Option<&str>,
    certificate: Option<&PeerCertificate>,
    host: &str,
    policies: &Policies,
    authorities: &Authorities,
    now: Timestamp,
) -> Result<VerifiedCredential, DeviceAuthError> {
    if identity.status == Status::Disabled {
        return Err(DeviceAuthError::Disabled);
    }
    // An empty password counts as no password.
    match (token.filter(|token| !token.is_empty()), certificate) {
        (Some(token), _) => authenticate_with_token(identity, token, host, policies, now),
        // Boxed: a connect with a token needs no memory for the verification of certificates.
        (None, Some(certificate)) => {
            Box::pin(authenticate_with_certificate(identity, certificate, authorities, now)).await
        }
        (None, None) => Err(DeviceAuthError::NoCredential),
    }
}

fn authenticate_with_token(
    identity: &Identity,
    text: &str,
    host: &str,
    policies: &Policies,
    now: Timestamp,
) -> Result<VerifiedCredential, DeviceAuthError> {
    let token = SasToken::parse(text)?;
    let resource = token
        .resource()
        .filter(|resource| resource.is_on_host(host))
        .ok_or(DeviceAuthError::WrongResource)?;
    let path = identity.id.resource_path();
    let credential = match token.policy() {
        None => {
            let Authentication::Sas { primary, secondary } = &identity.authentication else {
                return Err(DeviceAuthError::WrongAuthenticationType);
            };
            if !resource.is_path(&path) {
                return Err(DeviceAuthError::WrongResource);
            }
            let key = [primary, secondary].into_iter().find(|key| token.is_signed_by(key));
            Credential::DeviceKey(key.ok_or(DeviceAuthError::BadSignature)?.fingerprint())
        }
        Some(name) => {
            // A policy key may replace a device key, but not a device certificate.
            if !matches!(identity.authentication, Authentication::Sas { .. }) {
                return Err(DeviceAuthError::WrongAuthenticationType);
            }
            let policy = policies.get(name).ok_or(DeviceAuthError::UnknownPolicy)?;
            if !resource.covers(&path) {
                return Err(DeviceAuthError::WrongResource);
            }
            if !token.is_signed_by(&policy.primary_key) && !token.is_signed_by(&policy.secondary_key) {
                return Err(DeviceAuthError::BadSignature);
            }
            if !policy.rights.has(Right::DeviceConnect) {
                return Err(DeviceAuthError::NoRight);
            }
            Credential::Policy { name: policy.name.clone() }
        }
    };
    if token.expiry() <= now {
        return Err(DeviceAuthError::Expired(token.expiry()));
    }
    Ok(VerifiedCredential { credential, expires: token.expiry() })
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
