//! `/configurations`: configurations (automatic device management), for services.

use ferrohub_core::ServiceCaller;
use ferrohub_core::configurations::ConfigurationId;
use ferrohub_core::registry::IfMatch;
use ferrohub_model::HubError;
use ferrohub_model::configuration::{Configuration, ConfigurationContent, ConfigurationQueries};

use super::RestResult;
use super::request::RestRequest;
use super::response::{json, json_with_etag, no_content};

/// Maximum number of configurations in one list, as in Azure.
const MAX_TOP: usize = 100;

fn id(request: &RestRequest) -> Result<ConfigurationId, HubError> {
    ConfigurationId::parse(&request.parameter("configuration")?)
}

pub(super) async fn list(caller: ServiceCaller, request: RestRequest) -> RestResult {
    json(&caller.list_configurations(request.top(MAX_TOP)).await?)
}

pub(super) async fn get(caller: ServiceCaller, request: RestRequest) -> RestResult {
    let configuration = caller.get_configuration(&id(&request)?).await?;
    json_with_etag(&configuration, configuration.etag.as_deref())
}

pub(super) async fn put(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    let (id, if_match) = (id(&request)?, request.if_match()?);
    let configuration: Configuration = request.read_json().await?;
    let configuration = caller.put_configuration(&id, configuration, if_match).await?;
    json_with_etag(&configuration, configuration.etag.as_deref())
}

pub(super) async fn delete(caller: ServiceCaller, request: RestRequest) -> RestResult {
    // Every SDK sends If-Match; without it any version is deleted.
    let if_match = request.if_match()?.unwrap_or(IfMatch::Any);
    caller.delete_configuration(&id(&request)?, &if_match).await?;
    Ok(no_content())
}

pub(super) async fn test_queries(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    let queries: ConfigurationQueries = request.read_json().await?;
    json(&caller.test_configuration_queries(&queries).await?)
}

pub(super) async fn apply_content(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    let device = request.device_id()?;
    let content: ConfigurationContent = request.read_json().await?;
    caller.apply_configuration_content(&device, &content).await?;
    Ok(no_content())
}
