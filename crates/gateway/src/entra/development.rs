//! An issuer inside the hub, so that signing in with a client secret can be tried without Microsoft Entra.
//!
//! It knows one application, with a role that may do everything. Tenant, client id, secret and signing key are
//! random and kept in the data folder. Only for development: whoever has the secret owns the hub's service API.

mod routes;
mod state;

use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ferrohub_core::auth::{AUDIENCE, KeySet, KeySource, KeySourceError, Role};
use ferrohub_model::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use state::State;

/// How long its tokens are good, as Entra's are.
const LIFETIME_SECONDS: i64 = 3600;

/// What an application signs in with. `ferrohub env` prints it as `azure-identity` expects it.
#[derive(Clone)]
pub struct DevelopmentCredentials {
    /// The tenant's id.
    pub tenant: String,
    /// The application's id.
    pub client_id: String,
    /// The application's secret.
    pub client_secret: String,
}

impl std::fmt::Debug for DevelopmentCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevelopmentCredentials")
            .field("tenant", &self.tenant)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

impl DevelopmentCredentials {
    /// Those that a hub keeps in this data folder.
    ///
    /// # Errors
    /// If no development issuer ran on it, or its file cannot be read.
    pub fn read(data_dir: &Path) -> io::Result<Self> {
        Ok(State::read(data_dir)?.credentials())
    }
}

/// The issuer. Clones share everything.
#[derive(Clone)]
pub struct DevelopmentIssuer(Arc<Inner>);

struct Inner {
    /// `https://host[:port]`
    authority: String,
    credentials: DevelopmentCredentials,
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl DevelopmentIssuer {
    /// The issuer of this data folder, reached at `authority` (`https://host[:port]`). Makes what is missing,
    /// mode 0600.
    ///
    /// # Errors
    /// If its file cannot be read or written.
    pub fn open(data_dir: &Path, authority: &str) -> io::Result<Self> {
        let state = State::open(data_dir)?;
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, state.key(), &random)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the signing key cannot be read"))?;
        let authority = authority.trim_end_matches('/').to_owned();
        Ok(Self(Arc::new(Inner { authority, credentials: state.credentials(), key, random })))
    }

    /// What its tokens carry as `iss`.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("{}/{}/v2.0", self.0.authority, self.0.credentials.tenant)
    }

    /// The tenant of its tokens.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.0.credentials.tenant
    }

    /// The endpoints, for the HTTPS listener.
    pub fn routes(&self) -> axum::Router {
        routes::routes(self.clone())
    }

    /// The key's id: a part of the key itself, so that a new key has a new one.
    fn key_id(&self) -> String {
        let point = self.0.key.public_key().as_ref();
        URL_SAFE_NO_PAD.encode(point.get(1..16).unwrap_or_default())
    }

    fn key_set(&self) -> Value {
        // The uncompressed form of a point: 4, then both coordinates.
        let point = self.0.key.public_key().as_ref();
        let part =
            |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(point.get(range).unwrap_or_default());
        json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.key_id(),
            "x": part(1..33), "y": part(33..65),
        }]})
    }

    /// A token for its one application.
    fn issue(&self, now: Timestamp) -> Option<String> {
        let Inner { credentials, key, random, .. } = &*self.0;
        let seconds = now.unix_millis().div_euclid(1000);
        let header = json!({ "typ": "JWT", "alg": "ES256", "kid": self.key_id() });
        let claims = json!({
            "iss": self.issuer(),
            "aud": AUDIENCE,
            "tid": credentials.tenant,
            "oid": credentials.client_id,
            "sub": credentials.client_id,
            "appid": credentials.client_id,
            "azp": credentials.client_id,
            "idtyp": "app",
            "ver": "2.0",
            "roles": [Role::DataContributor.name()],
            "iat": seconds,
            "nbf": seconds,
            "exp": seconds + LIFETIME_SECONDS,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = key.sign(random, message.as_bytes()).ok()?;
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

#[async_trait]
impl KeySource for DevelopmentIssuer {
    async fn keys(&self, _: &str) -> Result<KeySet, KeySourceError> {
        KeySet::from_json(self.key_set().to_string().as_bytes())
            .map_err(|error| KeySourceError(error.to_string()))
    }
}

impl std::fmt::Debug for DevelopmentIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DevelopmentIssuer").field(&self.issuer()).finish()
    }
}
