//! Credentials of callers with fewer rights.

use std::fs;

use serde_json::{Value, json};

use crate::{Hub, Service, sas};

impl Service {
    /// Returns a token of a shared access policy of the hub. This back end must have all rights.
    ///
    /// # Panics
    /// If the hub does not have the policy.
    #[must_use]
    #[track_caller]
    pub fn token_of_policy(&self, hub: &Hub, name: &str) -> String {
        let path = format!("/ferrohub/policies/{name}");
        let policy = self.http("GET", &path, Some(self.authorization()), None).json();
        let key = policy["primaryKey"].as_str().expect("the policy has a key");
        let host = hub.name();
        sas::policy_token(&format!("HostName={host};SharedAccessKeyName={name};SharedAccessKey={key}"))
    }

    /// Returns the header with a token of the development issuer that has only this role. This back end must have its client
    /// secret.
    ///
    /// # Panics
    /// If the hub has no development issuer.
    #[must_use]
    #[track_caller]
    pub fn token_of_role(&self, hub: &Hub, role: &str) -> String {
        let call = |operation: &str, arguments: Value| {
            self.call(operation, &arguments).unwrap_or_else(|error| panic!("{operation}: {error:?}"))
        };
        let valid = call("entra_token", json!({}));
        let read = call("read_token", json!({ "token": valid }));
        let state = fs::read_to_string(hub.folder().join("data/entra-development.json"));
        let state: Value = serde_json::from_str(&state.expect("a state file")).expect("JSON");
        let key = state["signing_key"].as_str().expect("a signing key");
        let mut claims = read["claims"].clone();
        claims["roles"] = json!([role]);
        let token = call(
            "forge_token",
            json!({
                "claims": claims,
                "algorithm": "ES256",
                "key": format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n"),
                "headers": { "kid": read["header"]["kid"] },
            }),
        );
        format!("Bearer {}", token.as_str().expect("a token"))
    }
}
