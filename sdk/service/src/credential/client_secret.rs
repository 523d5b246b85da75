//! The client-credentials flow of OAuth 2.0 with a secret.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, header};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{AccessToken, TokenCredential};
use crate::http_client::{HttpClient, HttpSettings};
use crate::uri::segment;
use crate::{Error, ErrorKind};

/// Microsoft Entra in the public cloud.
const PUBLIC_CLOUD: &str = "https://login.microsoftonline.com";
/// A new token is fetched so long before the old one ends.
const REFRESH_BEFORE: Duration = Duration::from_secs(300);
const TIMEOUT: Duration = Duration::from_secs(30);

/// Signs in as an application with a client secret.
///
/// A token is fetched once, kept until five minutes before it ends, and shared by all requests.
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
    /// A credential of the public cloud.
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

    /// Another authority, such as `https://login.microsoftonline.us` or a hub's development issuer.
    #[must_use]
    pub fn authority(mut self, url: &str) -> Self {
        let url = url.trim_end_matches('/');
        self.authority = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
        self
    }

    /// Trusts the certificate authorities in this PEM text too.
    #[must_use]
    pub fn additional_root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.http.root_certificates.push(pem.into());
        self
    }

    async fn request_token(&self, client: &HttpClient, scope: &str) -> Result<AccessToken, Error> {
        let body = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={}",
            segment(&self.client_id),
            segment(&self.secret),
            segment(scope)
        );
        let uri = format!("{}/{}/oauth2/v2.0/token", self.authority, segment(&self.tenant));
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(Bytes::from(body))
            .map_err(|error| {
                Error::new(ErrorKind::InvalidInput, "the authority is not a URL").with_source(error)
            })?;
        let answer = client
            .send(request, TIMEOUT)
            .await
            .map_err(|error| Error::credential("the authority could not be reached").with_source(error))?;
        let issued: TokenResponse = serde_json::from_slice(&answer.body).map_err(|error| {
            Error::credential(format!("the authority answered {}, and no JSON", answer.status))
                .with_source(error)
        })?;
        match issued {
            TokenResponse { access_token: Some(token), expires_in: Some(seconds), .. }
                if answer.status.is_success() =>
            {
                Ok(AccessToken { token, expires: SystemTime::now() + Duration::from_secs(seconds.get()) })
            }
            TokenResponse { error, error_description, .. } => Err(Error::credential(format!(
                "the authority gave no token: {} ({})",
                error_description.unwrap_or_else(|| answer.status.to_string()),
                error.unwrap_or_else(|| "no error code".to_owned()),
            ))),
        }
    }
}

#[async_trait]
impl TokenCredential for ClientSecretCredential {
    async fn token(&self, scopes: &[&str]) -> Result<AccessToken, Error> {
        let scope = scopes.join(" ");
        // Held while a token is fetched: whoever comes meanwhile waits for the same one.
        let mut state = self.state.lock().await;
        if let Some((known, token)) = &state.token
            && *known == scope
            && token.expires > SystemTime::now() + REFRESH_BEFORE
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

/// What a token endpoint answers, either way.
#[derive(Deserialize)]
struct TokenResponse {
    access_token: Option<String>,
    expires_in: Option<Seconds>,
    error: Option<String>,
    error_description: Option<String>,
}

/// Some issuers write the number as text.
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
