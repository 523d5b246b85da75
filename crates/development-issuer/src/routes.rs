//! The endpoints that `azure-identity` calls: discovery, keys, token.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrohub_core::auth::AUDIENCE;
use ferrohub_core::{log_limited, request_peer};
use ferrohub_model::random::random_bytes;
use ferrohub_model::{Timestamp, percent};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Value, json};

use crate::{DevelopmentIssuer, LIFETIME_SECONDS};

/// Maximum size of a form in bytes; usual forms have a few hundred bytes.
const MAX_FORM: usize = 16 * 1024;

pub(super) fn routes(issuer: DevelopmentIssuer) -> Router {
    Router::new()
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(discovery))
        .route("/{tenant}/discovery/v2.0/keys", get(keys))
        .route("/{tenant}/oauth2/v2.0/token", post(token))
        .with_state(issuer)
}

/// An error response according to RFC 6749: status, `error`, `error_description`.
struct OAuthError(StatusCode, &'static str, &'static str);

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let Self(status, error, description) = self;
        let mut response =
            json_response(status, &json!({ "error": error, "error_description": description }));
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"ferrohub\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// Builds a JSON response that must not be cached.
fn json_response(status: StatusCode, body: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, body.to_string()).into_response()
}

const WRONG_TENANT: OAuthError =
    OAuthError(StatusCode::BAD_REQUEST, "invalid_tenant", "The tenant does not exist.");
const WRONG_CLIENT: OAuthError =
    OAuthError(StatusCode::UNAUTHORIZED, "invalid_client", "The client id or the client secret is wrong.");

/// Checks the tenant in the path, which may be undecodable.
fn check_tenant(
    issuer: &DevelopmentIssuer,
    tenant: Result<Path<String>, PathRejection>,
) -> Result<String, OAuthError> {
    match tenant {
        Ok(Path(tenant)) if tenant == issuer.tenant() => Ok(tenant),
        _ => Err(WRONG_TENANT),
    }
}

async fn discovery(
    State(issuer): State<DevelopmentIssuer>,
    tenant: Result<Path<String>, PathRejection>,
) -> Result<Response, OAuthError> {
    let tenant = check_tenant(&issuer, tenant)?;
    let base = format!("{}/{tenant}", issuer.0.authority);
    Ok(json_response(
        StatusCode::OK,
        &json!({
            "issuer": issuer.issuer(),
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            "jwks_uri": format!("{base}/discovery/v2.0/keys"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "scopes_supported": ["openid"],
        }),
    ))
}

async fn keys(
    State(issuer): State<DevelopmentIssuer>,
    tenant: Result<Path<String>, PathRejection>,
) -> Result<Response, OAuthError> {
    check_tenant(&issuer, tenant)?;
    Ok(json_response(StatusCode::OK, &issuer.key_set()))
}

#[expect(clippy::disallowed_methods, reason = "the issuer is not a part of the hub and has its own clock")]
async fn token(
    State(issuer): State<DevelopmentIssuer>,
    tenant: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, OAuthError> {
    check_tenant(&issuer, tenant)?;
    let invalid = |text| OAuthError(StatusCode::BAD_REQUEST, "invalid_request", text);
    let body = Limited::new(body, MAX_FORM).collect().await.map_err(|_| invalid("The form is too long."))?;
    let body = body.to_bytes();
    let form: Vec<_> = form_urlencoded::parse(&body).collect();
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| &**value);
    if field("grant_type") != Some("client_credentials") {
        let text = "Only the grant type client_credentials is supported.";
        return Err(OAuthError(StatusCode::BAD_REQUEST, "unsupported_grant_type", text));
    }
    let (id, secret) = match basic_credentials(&headers) {
        Some(pair) => pair,
        None => (
            field("client_id").unwrap_or_default().to_owned(),
            field("client_secret").unwrap_or_default().to_owned(),
        ),
    };
    let known = &issuer.0.credentials;
    // Always compare both in full, so that the time does not reveal which one is wrong.
    let id_is_right = constant_time_eq(&id, &known.client_id);
    let secret_is_right = constant_time_eq(&secret, &known.client_secret);
    if !(id_is_right & secret_is_right) {
        log_limited!(
            warn,
            "the development issuer rejected a client id or client secret",
            "wrong_client",
            peer = request_peer::peer(),
            remedy = "copy AZURE_CLIENT_ID and AZURE_CLIENT_SECRET from `ferrohub env`"
        );
        return Err(WRONG_CLIENT);
    }
    let mut scopes = field("scope").unwrap_or_default().split_whitespace();
    if !scopes.any(|scope| scope.strip_suffix("/.default").is_some_and(|audience| audience == AUDIENCE)) {
        let text = "The scope must be https://iothubs.azure.net/.default.";
        return Err(OAuthError(StatusCode::BAD_REQUEST, "invalid_scope", text));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::from_unix_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    let failed = OAuthError(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "The token cannot be signed.");
    let token = issuer.issue(now).ok_or(failed)?;
    Ok(json_response(
        StatusCode::OK,
        &json!({
            "token_type": "Bearer",
            "expires_in": LIFETIME_SECONDS,
            "ext_expires_in": LIFETIME_SECONDS,
            "access_token": token,
        }),
    ))
}

/// Compares secrets in constant time.
fn constant_time_eq(given: &str, known: &str) -> bool {
    let random = random_bytes::<32>();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &random);
    let tag = ring::hmac::sign(&key, known.as_bytes());
    ring::hmac::verify(&key, given.as_bytes(), tag.as_ref()).is_ok()
}

/// Returns client id and secret from `Authorization: Basic`, in which both are percent-encoded.
fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    let decode = |text: &str| percent::decode(&text.replace('+', " "));
    Some((decode(id)?, decode(secret)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_time_eq_compares_whole_secrets() {
        assert!(constant_time_eq("abc", "abc"));
        assert!(
            !constant_time_eq("abd", "abc")
                && !constant_time_eq("", "abc")
                && !constant_time_eq("abcd", "abc")
        );
    }
}
