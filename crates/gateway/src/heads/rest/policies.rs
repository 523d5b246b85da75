//! `/ferrohub/policies`: shared access policies. Azure IoT Hub has no such API: Azure Resource Manager does this.

use ferrohub_core::ServiceCaller;
use ferrohub_core::policies::{Policy, PolicyKey, PolicySource};
use ferrohub_model::{ErrorCode, HubError};
use serde::{Deserialize, Serialize};

use super::RestResult;
use super::request::RestRequest;
use super::response::json;

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

pub(super) async fn list(caller: ServiceCaller, _: RestRequest) -> RestResult {
    let policies = caller.list_policies()?;
    json(&policies.iter().map(|policy| PolicyJson::from(&**policy)).collect::<Vec<_>>())
}

pub(super) async fn get(caller: ServiceCaller, request: RestRequest) -> RestResult {
    json(&PolicyJson::from(&*caller.get_policy(&request.parameter("policy")?)?))
}

#[derive(Deserialize)]
struct RegenerateKey {
    key: String,
}

pub(super) async fn regenerate_key(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    let body: RegenerateKey = request.read_json().await?;
    let which = match body.key.to_ascii_lowercase().as_str() {
        "primary" => PolicyKey::Primary,
        "secondary" => PolicyKey::Secondary,
        _ => return Err(HubError::new(ErrorCode::ArgumentInvalid, "key must be primary or secondary.")),
    };
    let policy = caller.regenerate_policy_key(&request.parameter("policy")?, which).await?;
    json(&PolicyJson::from(&*policy))
}
