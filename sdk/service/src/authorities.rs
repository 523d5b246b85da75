//! Certificate authorities for devices, of a Ferrohub.

use ferrohub_model::{Timestamp, percent};
use http::Method;
use serde::{Deserialize, Serialize};

use crate::{Error, Management};

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
    /// `config` or `store`, as in [`Policy::source`](crate::Policy::source).
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

fn authority_path(name: &str) -> String {
    format!("/ferrohub/certificate-authorities/{}", percent::encode(name))
}

impl Management<'_> {
    /// Lists the certificate authorities, sorted by name.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn list_certificate_authorities(&self) -> Result<Vec<CertificateAuthority>, Error> {
        self.client().request(Method::GET, "/ferrohub/certificate-authorities", "").send_json().await
    }

    /// Returns a certificate authority.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), and those of any request.
    pub async fn get_certificate_authority(&self, name: &str) -> Result<CertificateAuthority, Error> {
        self.client().request(Method::GET, &authority_path(name), "").send_json().await
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
        self.client().request(Method::PUT, &authority_path(name), "").json(&body)?.send_json().await
    }

    /// Creates a new verification code. The proof of possession is a certificate with this code as common name, signed
    /// by the certificate authority.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), and those of any request.
    pub async fn create_verification_code(&self, name: &str) -> Result<String, Error> {
        let path = format!("{}/verification-code", authority_path(name));
        let code: VerificationCode = self.client().request(Method::POST, &path, "").send_json().await?;
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
        self.client()
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
        self.client().request(Method::DELETE, &authority_path(name), "").send().await.map(drop)
    }
}
