//! The management API of a Ferrohub: policies and certificate authorities.
//!
//! Each operation needs all four rights of a shared access policy.

use ferrohub_model::{Timestamp, percent};
use http::Method;
use serde::{Deserialize, Serialize};

use crate::{Error, ServiceClient};

/// The management API of a Ferrohub; from [`ServiceClient::management`]. Azure does not have it. Each operation
/// needs a shared access policy with all four rights; otherwise it fails with
/// [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized).
#[derive(Debug, Clone, Copy)]
pub struct Management<'a>(&'a ServiceClient);

/// A shared access policy.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Policy {
    /// The name.
    pub name: String,
    /// The rights: `RegistryRead`, `RegistryWrite`, `ServiceConnect`, `DeviceConnect`.
    pub rights: Vec<String>,
    /// The primary key, base64.
    pub primary_key: String,
    /// The secondary key, base64.
    pub secondary_key: String,
    /// `config` if the policy is defined in the configuration, and can be changed only there; otherwise `store`.
    pub source: String,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("rights", &self.rights)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// One of the two keys of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PolicyKey {
    /// The primary key.
    Primary,
    /// The secondary key.
    Secondary,
}

/// A certificate authority for device certificates.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CertificateAuthority {
    /// The name.
    pub name: String,
    /// The subject of the certificate.
    pub subject: String,
    /// The SHA-256 thumbprint of the certificate, in hexadecimal digits.
    pub thumbprint: String,
    /// The begin of the validity of the certificate.
    pub not_before: Timestamp,
    /// The end of the validity of the certificate.
    pub not_after: Timestamp,
    /// Whether proof of possession of the private key was given. Devices can connect only after that.
    pub verified: bool,
    /// `config` or `store`, as in [`Policy::source`].
    pub source: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VerificationCode {
    verification_code: String,
}

#[derive(Serialize)]
struct CertificateBody<'a> {
    certificate: &'a str,
}

impl ServiceClient {
    /// Returns the management API, if the hub is a Ferrohub.
    #[must_use]
    pub fn management(&self) -> Management<'_> {
        Management(self)
    }
}

fn authority_path(name: &str) -> String {
    format!("/ferrohub/certificate-authorities/{}", percent::encode(name))
}

impl Management<'_> {
    pub(crate) fn client(&self) -> &ServiceClient {
        self.0
    }

    /// Lists the shared access policies with their keys, sorted by name.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn list_policies(&self) -> Result<Vec<Policy>, Error> {
        self.0.request(Method::GET, "/ferrohub/policies", "").send_json().await
    }

    /// Returns a shared access policy with its keys.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), and those of any request.
    pub async fn get_policy(&self, name: &str) -> Result<Policy, Error> {
        self.0
            .request(Method::GET, &format!("/ferrohub/policies/{}", percent::encode(name)), "")
            .send_json()
            .await
    }

    /// Replaces a key of a policy with a new random one. The other key stays valid.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound),
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if the policy is defined in the configuration,
    /// and those of any request.
    pub async fn regenerate_policy_key(&self, name: &str, key: PolicyKey) -> Result<Policy, Error> {
        let path = format!("/ferrohub/policies/{}/regenerate-key", percent::encode(name));
        self.0.request(Method::POST, &path, "").json(&serde_json::json!({ "key": key }))?.send_json().await
    }

    /// Lists the certificate authorities, sorted by name.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn list_certificate_authorities(&self) -> Result<Vec<CertificateAuthority>, Error> {
        self.0.request(Method::GET, "/ferrohub/certificate-authorities", "").send_json().await
    }

    /// Returns a certificate authority.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), and those of any request.
    pub async fn get_certificate_authority(&self, name: &str) -> Result<CertificateAuthority, Error> {
        self.0.request(Method::GET, &authority_path(name), "").send_json().await
    }

    /// Creates a certificate authority from the text of its certificate, not a path. Its devices can connect after it
    /// is verified.
    ///
    /// # Errors
    /// [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) if the PEM text contains no certificate of a
    /// certificate authority, [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if the name exists, and those of any
    /// request.
    pub async fn create_certificate_authority(
        &self,
        name: &str,
        pem: &str,
    ) -> Result<CertificateAuthority, Error> {
        let body = CertificateBody { certificate: pem };
        self.0.request(Method::PUT, &authority_path(name), "").json(&body)?.send_json().await
    }

    /// Creates a new verification code. The proof of possession is a certificate with this code as common name, signed
    /// by the certificate authority.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), and those of any request.
    pub async fn create_verification_code(&self, name: &str) -> Result<String, Error> {
        let path = format!("{}/verification-code", authority_path(name));
        let code: VerificationCode = self.0.request(Method::POST, &path, "").send_json().await?;
        Ok(code.verification_code)
    }

    /// Verifies a certificate authority with the certificate that proves possession of its private key.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound),
    /// [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) if the proof is not valid, and those of any request.
    pub async fn verify_certificate_authority(
        &self,
        name: &str,
        proof_pem: &str,
    ) -> Result<CertificateAuthority, Error> {
        let path = format!("{}/verify", authority_path(name));
        self.0
            .request(Method::POST, &path, "")
            .json(&CertificateBody { certificate: proof_pem })?
            .send_json()
            .await
    }

    /// Deletes a certificate authority. Devices that authenticated with it are disconnected.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), and those of any request.
    pub async fn delete_certificate_authority(&self, name: &str) -> Result<(), Error> {
        self.0.request(Method::DELETE, &authority_path(name), "").send().await.map(drop)
    }
}
