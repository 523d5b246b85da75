//! What only a Ferrohub has: its own policies and certificate authorities, managed over HTTPS.
//!
//! Each operation needs all four rights of a shared access policy.

use http::Method;
use serde::{Deserialize, Serialize};

use crate::uri::segment;
use crate::{Error, ServiceClient};

/// A hub's own settings. Get it with [`ServiceClient::management`].
#[derive(Debug, Clone, Copy)]
pub struct Management<'a>(&'a ServiceClient);

/// A shared access policy.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// `RegistryRead`, `RegistryWrite`, `ServiceConnect`, `DeviceConnect`.
    pub rights: Vec<String>,
    /// Base64.
    pub primary_key: String,
    /// Base64.
    pub secondary_key: String,
    /// `config` if it stands in the hub's configuration, where alone it can be changed; else `store`.
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

/// One of a policy's two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyKey {
    /// The first.
    Primary,
    /// The second.
    Secondary,
}

/// A certificate authority whose devices may connect.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateAuthority {
    /// What its owner calls it.
    pub name: String,
    /// The subject of its certificate.
    pub subject: String,
    /// SHA-256 of its certificate.
    pub thumbprint: String,
    /// When its certificate begins to be good, RFC 3339.
    pub not_before: String,
    /// When its certificate ends to be good, RFC 3339.
    pub not_after: String,
    /// Whether its owner proved to hold its private key; only then do its devices get in.
    pub verified: bool,
    /// `config` or `store`, as for a policy.
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
    /// The hub's own settings, if it is a Ferrohub.
    #[must_use]
    pub fn management(&self) -> Management<'_> {
        Management(self)
    }
}

fn authority_path(name: &str) -> String {
    format!("/ferrohub/certificate-authorities/{}", segment(name))
}

impl Management<'_> {
    pub(crate) fn client(&self) -> &ServiceClient {
        self.0
    }

    /// All shared access policies, by name, keys included.
    ///
    /// # Errors
    /// Those that any request can have.
    pub async fn policies(&self) -> Result<Vec<Policy>, Error> {
        self.0.request(Method::GET, "/ferrohub/policies", "").send_json().await
    }

    /// One shared access policy.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound)
    pub async fn policy(&self, name: &str) -> Result<Policy, Error> {
        self.0.request(Method::GET, &format!("/ferrohub/policies/{}", segment(name)), "").send_json().await
    }

    /// Replaces one of a policy's keys by a new random one. The other goes on being good.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound),
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if it stands in the configuration.
    pub async fn regenerate_key(&self, name: &str, key: PolicyKey) -> Result<Policy, Error> {
        let path = format!("/ferrohub/policies/{}/regenerate-key", segment(name));
        self.0.request(Method::POST, &path, "").json(&serde_json::json!({ "key": key }))?.send_json().await
    }

    /// All certificate authorities, by name.
    ///
    /// # Errors
    /// Those that any request can have.
    pub async fn certificate_authorities(&self) -> Result<Vec<CertificateAuthority>, Error> {
        self.0.request(Method::GET, "/ferrohub/certificate-authorities", "").send_json().await
    }

    /// One certificate authority.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound)
    pub async fn certificate_authority(&self, name: &str) -> Result<CertificateAuthority, Error> {
        self.0.request(Method::GET, &authority_path(name), "").send_json().await
    }

    /// Adds a certificate authority. Its devices get in once it is verified.
    ///
    /// # Errors
    /// [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) if the PEM text holds no certificate of a
    /// certificate authority, [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if the name is taken.
    pub async fn create_certificate_authority(
        &self,
        name: &str,
        pem: &str,
    ) -> Result<CertificateAuthority, Error> {
        let body = CertificateBody { certificate: pem };
        self.0.request(Method::PUT, &authority_path(name), "").json(&body)?.send_json().await
    }

    /// A new code to prove with: its owner signs a certificate with the code as common name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound)
    pub async fn create_verification_code(&self, name: &str) -> Result<String, Error> {
        let path = format!("{}/verification-code", authority_path(name));
        let code: VerificationCode = self.0.request(Method::POST, &path, "").send_json().await?;
        Ok(code.verification_code)
    }

    /// Hands in the certificate that proves it.
    ///
    /// # Errors
    /// [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) if it does not.
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

    /// Removes a certificate authority. Devices that authenticated with it are disconnected.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound)
    pub async fn delete_certificate_authority(&self, name: &str) -> Result<(), Error> {
        self.0.request(Method::DELETE, &authority_path(name), "").send().await.map(drop)
    }
}
