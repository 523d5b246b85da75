//! `/ferrohub/…`: management of the hub itself. Azure IoT Hub has no such API: Azure Resource Manager does this.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use ferrohub_core::auth::{Authority, Operation, thumbprint_sha256};
use ferrohub_core::policies::PolicyKey;
use ferrohub_core::policies::{Policy, PolicySource};
use ferrohub_model::{ErrorCode, HubError, Timestamp, pem};
use serde::{Deserialize, Serialize};

use super::error::{ApiError, registry_error};
use super::request::{authorization, json, read_json};
use super::request_path::Path;
use super::server::Api;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/policies", get(list_policies))
        .route("/policies/{name}", get(get_policy))
        .route("/policies/{name}/regenerate-key", post(regenerate_key))
        .route("/certificate-authorities", get(list_authorities))
        .route(
            "/certificate-authorities/{name}",
            get(get_authority).put(add_authority).delete(remove_authority),
        )
        .route("/certificate-authorities/{name}/verification-code", post(challenge_authority))
        .route("/certificate-authorities/{name}/verify", post(verify_authority))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyJson {
    name: String,
    rights: Vec<&'static str>,
    primary_key: String,
    secondary_key: String,
    source: &'static str,
}

impl From<&Policy> for PolicyJson {
    fn from(policy: &Policy) -> Self {
        Self {
            name: policy.name.to_string(),
            rights: policy.rights.iter().map(ferrohub_model::Right::name).collect(),
            primary_key: policy.primary_key.to_base64(),
            secondary_key: policy.secondary_key.to_base64(),
            source: match policy.source {
                PolicySource::Configuration => "config",
                PolicySource::Store => "store",
            },
        }
    }
}

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

async fn authorize_management(api: &Api, headers: &HeaderMap) -> Result<(), ApiError> {
    api.hub.authorize(authorization(headers), Operation::ManageHub).await.map(|_| ()).map_err(registry_error)
}

async fn list_policies(State(api): State<Api>, headers: HeaderMap) -> Result<Response, ApiError> {
    authorize_management(&api, &headers).await?;
    let policies: Vec<PolicyJson> =
        api.hub.policies().iter().map(|policy| PolicyJson::from(&**policy)).collect();
    json(&policies).map_err(registry_error)
}

async fn get_policy(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    authorize_management(&api, &headers).await?;
    let policy = api.hub.policy(&name).map_err(registry_error)?;
    json(&PolicyJson::from(&*policy)).map_err(registry_error)
}

#[derive(Deserialize)]
struct RegenerateKey {
    key: String,
}

async fn regenerate_key(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    authorize_management(&api, &headers).await?;
    let request: RegenerateKey = read_json(body, &api.limits).await.map_err(registry_error)?;
    let which = match request.key.to_ascii_lowercase().as_str() {
        "primary" => PolicyKey::Primary,
        "secondary" => PolicyKey::Secondary,
        _ => {
            return Err(registry_error(HubError::new(
                ErrorCode::ArgumentInvalid,
                "key must be primary or secondary.",
            )));
        }
    };
    let policy = api.hub.regenerate_key(&name, which).await.map_err(registry_error)?;
    json(&PolicyJson::from(&*policy)).map_err(registry_error)
}

async fn list_authorities(State(api): State<Api>, headers: HeaderMap) -> Result<Response, ApiError> {
    authorize_management(&api, &headers).await?;
    let authorities: Vec<AuthorityJson> =
        api.hub.authorities().iter().map(|authority| AuthorityJson::from(&**authority)).collect();
    json(&authorities).map_err(registry_error)
}

async fn get_authority(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    authorize_management(&api, &headers).await?;
    let authority = api.hub.authority(&name).map_err(registry_error)?;
    json(&AuthorityJson::from(&*authority)).map_err(registry_error)
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

async fn add_authority(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    authorize_management(&api, &headers).await?;
    let body: CertificateBody = read_json(body, &api.limits).await.map_err(registry_error)?;
    let authority = api
        .hub
        .add_authority(&name, der(&body.certificate).map_err(registry_error)?)
        .await
        .map_err(registry_error)?;
    json(&AuthorityJson::from(&*authority)).map_err(registry_error)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerificationCode {
    verification_code: String,
}

async fn challenge_authority(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    authorize_management(&api, &headers).await?;
    let verification_code = api.hub.challenge_authority(&name).await.map_err(registry_error)?;
    json(&VerificationCode { verification_code }).map_err(registry_error)
}

async fn verify_authority(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    authorize_management(&api, &headers).await?;
    let body: CertificateBody = read_json(body, &api.limits).await.map_err(registry_error)?;
    let authority = api
        .hub
        .verify_authority(&name, &der(&body.certificate).map_err(registry_error)?)
        .await
        .map_err(registry_error)?;
    json(&AuthorityJson::from(&*authority)).map_err(registry_error)
}

async fn remove_authority(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    authorize_management(&api, &headers).await?;
    api.hub.remove_authority(&name).await.map_err(registry_error)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
