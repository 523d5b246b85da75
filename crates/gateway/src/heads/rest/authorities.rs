//! `/ferrohub/certificate-authorities`: certificate authorities of devices. Azure IoT Hub has no such API: Azure Resource
//! Manager does this.

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use ferrohub_core::ServiceCaller;
use ferrohub_core::auth::{Authority, thumbprint_sha256};
use ferrohub_model::{ErrorCode, HubError, Timestamp, pem};
use serde::{Deserialize, Serialize};

use super::RestResult;
use super::request::RestRequest;
use super::response::json;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuthorityJson {
    name: String,
    subject: String,
    thumbprint: String,
    not_before: Timestamp,
    not_after: Timestamp,
    verified: bool,
    source: &'static str,
}

impl From<&Authority> for AuthorityJson {
    fn from(authority: &Authority) -> Self {
        Self {
            name: authority.name.to_string(),
            subject: authority.subject.clone(),
            thumbprint: thumbprint_sha256(&authority.certificate),
            not_before: authority.validity.0,
            not_after: authority.validity.1,
            verified: authority.verified,
            source: if authority.configured { "config" } else { "store" },
        }
    }
}

pub(super) async fn list(caller: ServiceCaller, _: RestRequest) -> RestResult {
    let authorities = caller.list_authorities()?;
    json(&authorities.iter().map(|authority| AuthorityJson::from(&**authority)).collect::<Vec<_>>())
}

pub(super) async fn get(caller: ServiceCaller, request: RestRequest) -> RestResult {
    json(&AuthorityJson::from(&*caller.get_authority(&request.parameter("authority")?)?))
}

#[derive(Deserialize)]
struct CertificateBody {
    certificate: String,
}

/// Returns the only certificate of a PEM text as DER.
fn der(text: &str) -> Result<Vec<u8>, HubError> {
    let invalid = |reason: String| HubError::new(ErrorCode::ArgumentInvalid, reason);
    let mut certificates = pem::certificates(text.as_bytes())
        .map_err(|error| invalid(format!("The certificate cannot be read: {error}.")))?;
    match (certificates.pop(), certificates.len()) {
        (Some(certificate), 0) => Ok(certificate),
        (_, rest) => Err(invalid(format!(
            "There are {} certificates in the file; send one at a time, each authority with a name of its own.",
            rest + 1
        ))),
    }
}

pub(super) async fn put(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    let body: CertificateBody = request.read_json().await?;
    let authority = caller.add_authority(&request.parameter("authority")?, der(&body.certificate)?).await?;
    json(&AuthorityJson::from(&*authority))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerificationCode {
    verification_code: String,
}

pub(super) async fn create_verification_code(caller: ServiceCaller, request: RestRequest) -> RestResult {
    let verification_code = caller.challenge_authority(&request.parameter("authority")?).await?;
    json(&VerificationCode { verification_code })
}

pub(super) async fn verify(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    let body: CertificateBody = request.read_json().await?;
    let authority =
        caller.verify_authority(&request.parameter("authority")?, &der(&body.certificate)?).await?;
    json(&AuthorityJson::from(&*authority))
}

pub(super) async fn delete(caller: ServiceCaller, request: RestRequest) -> RestResult {
    caller.remove_authority(&request.parameter("authority")?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
