//! Shared access policies of a Ferrohub.

use ferrohub_model::percent;
use http::Method;
use serde::{Deserialize, Serialize};

use crate::{Error, Management};

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

impl Management<'_> {
    /// Lists the shared access policies with their keys, sorted by name.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn list_policies(&self) -> Result<Vec<Policy>, Error> {
        self.client().request(Method::GET, "/ferrohub/policies", "").send_json().await
    }

    /// Returns a shared access policy with its keys.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), and those of any request.
    pub async fn get_policy(&self, name: &str) -> Result<Policy, Error> {
        self.client()
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
        self.client()
            .request(Method::POST, &path, "")
            .json(&serde_json::json!({ "key": key }))?
            .send_json()
            .await
    }
}
