//! Authentication and authorization: devices by SAS token or certificate, services by SAS token or Microsoft Entra.

mod certificate;
mod credential;
mod device;
mod entra;
mod remedy;
mod scope;
mod service;

pub use certificate::{
    Authorities, Authority, CertificateError, PeerCertificate, certificate_subject_and_issuer,
    thumbprint_sha256,
};
pub use credential::Credential;
pub use device::{DeviceAuthError, VerifiedCredential};
pub use entra::{
    AUDIENCE, EntraError, EntraSettings, EntraTokenVerifier, InvalidKeySet, Issuer, KeySet, KeySource,
    KeySourceError, Role, UnknownRole,
};
pub use remedy::remedy;
pub use scope::TokenScope;
pub use service::Principal;
pub(crate) use service::{
    AuthorizationError, NO_POLICY, VerifiedService, authenticate_policy_key, authenticate_service,
};

pub(crate) use device::{Claim, Verifier, authenticate};
