//! A token issuer inside the hub, to try authentication with a client secret without Microsoft Entra.
//!
//! It has one application, whose role has all rights. Tenant, client id, secret and signing key are random and
//! stored in the data folder. Only for development: anyone with the secret has full access to the service API.

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

/// Lifetime of the tokens, as in Entra.
const LIFETIME_SECONDS: i64 = 3600;

/// The credentials of the application. `ferrohub env` prints them as environment variables for `azure-identity`.
#[derive(Clone)]
pub struct DevelopmentCredentials {
    /// The tenant id.
    pub tenant: String,
    /// The client id of the application.
    pub client_id: String,
    /// The client secret of the application.
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
    /// Reads the credentials from a hub's data folder.
    ///
    /// # Errors
    /// If no development issuer has run with this folder, or its file cannot be read.
    pub fn read(data_dir: &Path) -> io::Result<Self> {
        Ok(State::read(data_dir)?.credentials())
    }
}

/// The development issuer. Clones share all state.
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
    /// Opens the issuer of this data folder, which clients reach at `authority` (`https://host[:port]`). Creates the
    /// state file if it is missing, with mode 0600.
    ///
    /// # Errors
    /// If its file cannot be read or written.
    pub fn open(data_dir: &Path, authority: &str) -> io::Result<Self> {
        let state = State::open(data_dir)?;
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, state.key(), &random)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the signing key is not valid"))?;
        let authority = authority.trim_end_matches('/').to_owned();
        Ok(Self(Arc::new(Inner { authority, credentials: state.credentials(), key, random })))
    }

    /// Returns the `iss` claim of the tokens.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("{}/{}/v2.0", self.0.authority, self.0.credentials.tenant)
    }

    /// Returns the tenant of the tokens.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.0.credentials.tenant
    }

    /// Returns the routes of the endpoints, for the HTTPS listener.
    pub fn routes(&self) -> axum::Router {
        routes::routes(self.clone())
    }

    /// Returns the key id. It is a part of the public key, so that a new key has a new id.
    fn key_id(&self) -> String {
        let point = self.0.key.public_key().as_ref();
        URL_SAFE_NO_PAD.encode(point.get(1..16).unwrap_or_default())
    }

    fn key_set(&self) -> Value {
        // The uncompressed form of a point: the byte 4, then both coordinates.
        let point = self.0.key.public_key().as_ref();
        let part =
            |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(point.get(range).unwrap_or_default());
        json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.key_id(),
            "x": part(1..33), "y": part(33..65),
        }]})
    }

    /// Issues a token for the application; `None` if signing fails.
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
