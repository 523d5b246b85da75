//! The client credentials grant of OAuth 2.0 (RFC 6749, 4.4) with a client secret.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use ferrohub_model::{Timestamp, percent};
use http::{Method, Request, header};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{AccessToken, TokenCredential};
use crate::http_client::{HttpClient, HttpSettings};
use crate::{BoxError, Error, ErrorKind};

/// Microsoft Entra in the public cloud.
const PUBLIC_CLOUD: &str = "https://login.microsoftonline.com";
/// How long before its expiry a token is replaced, in milliseconds.
const REFRESH_BEFORE: i64 = 300_000;
const TIMEOUT: Duration = Duration::from_secs(30);

/// A credential that signs in to Microsoft Entra as an application, with a client secret.
///
/// A token is requested once, cached until five minutes before its expiry, and shared by all requests.
pub struct ClientSecretCredential {
    tenant: String,
    client_id: String,
    secret: String,
    authority: String,
    http: HttpSettings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    client: Option<HttpClient>,
    token: Option<(String, AccessToken)>,
}

impl ClientSecretCredential {
    /// A credential for the public cloud.
    #[must_use]
    pub fn new(tenant: impl Into<String>, client_id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            tenant: tenant.into(),
            client_id: client_id.into(),
            secret: secret.into(),
            authority: PUBLIC_CLOUD.to_owned(),
            http: HttpSettings::default(),
            state: Mutex::default(),
        }
    }

    /// Sets the authority, such as `https://login.microsoftonline.us` or the development issuer of a Ferrohub.
    #[must_use]
    pub fn authority(mut self, url: &str) -> Self {
        let url = url.trim_end_matches('/');
        self.authority = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
        self
    }

    /// Trusts the certificate authorities in this PEM text and no others for the connection to the authority: replaces
    /// those of the system. May be called several times.
    #[must_use]
    pub fn root_certificates_only(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.http.root_certificates.only(pem.into());
        self
    }

    /// Trusts the certificate authorities in this PEM text, in addition to those of the system, for the connection to
    /// the authority. May be called several times.
    #[must_use]
    pub fn additional_root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.http.root_certificates.add(pem.into());
        self
    }

    async fn request_token(&self, client: &HttpClient, scope: &str) -> Result<AccessToken, BoxError> {
        let body = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={}",
            percent::encode(&self.client_id),
            percent::encode(&self.secret),
            percent::encode(scope)
        );
        let uri = format!("{}/{}/oauth2/v2.0/token", self.authority, percent::encode(&self.tenant));
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(Bytes::from(body))
            .map_err(|error| Error::invalid_input("the authority is not a URL").with_source(error))?;
        let response = client
            .send(request, TIMEOUT)
            .await
            .map_err(|error| credential_error("the authority cannot be reached").with_source(error))?;
        let issued: TokenResponse = serde_json::from_slice(&response.body).map_err(|error| {
            credential_error(format!("the authority responded with {} and no JSON", response.status))
                .with_source(error)
        })?;
        match issued {
            TokenResponse { access_token: Some(token), expires_in: Some(seconds), .. }
                if response.status.is_success() =>
            {
                let lifetime = i64::try_from(seconds.get()).unwrap_or(i64::MAX).saturating_mul(1000);
                Ok(AccessToken::new(token, Timestamp::from(SystemTime::now()).plus_millis(lifetime)))
            }
            TokenResponse { error, error_description, .. } => Err(credential_error(format!(
                "the authority refused the request: {} ({})",
                error_description.unwrap_or_else(|| response.status.to_string()),
                error.unwrap_or_else(|| "no error code".to_owned()),
            ))
            .into()),
        }
    }
}

fn credential_error(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Credential, message)
}

#[async_trait]
impl TokenCredential for ClientSecretCredential {
    async fn token(&self, scopes: &[&str]) -> Result<AccessToken, BoxError> {
        let scope = scopes.join(" ");
        // Locked while a token is requested, so that concurrent requests share one token.
        let mut state = self.state.lock().await;
        if let Some((known, token)) = &state.token
            && *known == scope
            && token.expiry > Timestamp::from(SystemTime::now()).plus_millis(REFRESH_BEFORE)
        {
            return Ok(token.clone());
        }
        let client = match &state.client {
            Some(client) => client.clone(),
            None => state.client.insert(HttpClient::new(&self.http)?).clone(),
        };
        let token = self.request_token(&client, &scope).await?;
        state.token = Some((scope, token.clone()));
        Ok(token)
    }
}

impl fmt::Debug for ClientSecretCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecretCredential")
            .field("tenant", &self.tenant)
            .field("client_id", &self.client_id)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

/// The response of a token endpoint: a token or an error.
#[derive(Deserialize)]
struct TokenResponse {
    access_token: Option<String>,
    expires_in: Option<Seconds>,
    error: Option<String>,
    error_description: Option<String>,
}

/// Some issuers send the number as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

impl Seconds {
    fn get(&self) -> u64 {
        match self {
            Self::Number(seconds) => *seconds,
            Self::Text(text) => text.parse().unwrap_or(0),
        }
    }
}
