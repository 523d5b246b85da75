//! `/devices/query`: queries on twins, for services.

use axum::http::{HeaderName, HeaderValue};
use ferrohub_core::ServiceCaller;
use ferrohub_core::queries::QueryRequest;
use ferrohub_model::{ErrorCode, HubError};
use serde::Deserialize;

use super::RestResult;
use super::paging::CONTINUATION;
use super::request::RestRequest;
use super::response::large_json;

const ITEM_TYPE: HeaderName = HeaderName::from_static("x-ms-item-type");

/// The body of a request. Clients send other members too.
#[derive(Deserialize)]
struct QueryBody {
    query: Option<String>,
}

pub(super) async fn query(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    let max_rows = request.page_size(usize::MAX)?;
    let continuation = request.continuation_token()?.map(str::to_owned);
    let body: QueryBody = request.read_json().await?;
    let text = body.query.ok_or_else(|| {
        HubError::new(ErrorCode::ArgumentNull, "The body has no query. It must be {\"query\": \"SELECT …\"}.")
    })?;
    let mut page = caller.query_twins(QueryRequest { text, max_rows, continuation }).await?;
    let (item_type, continuation) = (page.item_type, page.continuation.take());
    let mut response = large_json(page, |page| serde_json::to_vec(&page.items)).await?;
    let headers = response.headers_mut();
    headers.insert(ITEM_TYPE, HeaderValue::from_static(item_type.as_str()));
    // Clients ask for another page if the header is there, even if it is empty.
    if let Some(token) = continuation.and_then(|token| HeaderValue::try_from(token).ok()) {
        headers.insert(CONTINUATION, token);
    }
    Ok(response)
}
