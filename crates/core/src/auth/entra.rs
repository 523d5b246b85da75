//! Bearer tokens of Microsoft Entra. None are accepted yet: there is no value of these types.

use ferrohub_model::Timestamp;

/// Issuers whose tokens are accepted.
#[derive(Debug)]
pub enum Entra {}

/// Why a token is not accepted.
#[derive(Debug)]
pub enum EntraError {}

impl EntraError {
    /// A fixed word for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match *self {}
    }
}

impl Entra {
    /// The token's subject and its data actions.
    pub async fn verify(&self, _: &str, _: Timestamp) -> Result<(String, Vec<&'static str>), EntraError> {
        match *self {}
    }
}

pub(crate) fn grants(pattern: &str, action: &str) -> bool {
    pattern == action
}
