//! `/devices/query`: queries on twins, for services.

use axum::http::{HeaderName, HeaderValue};
use ferrohub_core::ServiceCaller;
use ferrohub_core::queries::{QueryPage, QueryRequest};
use ferrohub_model::{ErrorCode, HubError};
use serde::Deserialize;

use super::RestResult;
use super::request::RestRequest;
use super::response::json;

const MAX_ITEM_COUNT: &str = "x-ms-max-item-count";
const CONTINUATION: &str = "x-ms-continuation";
const ITEM_TYPE: &str = "x-ms-item-type";

/// The body of a request. Clients send other members too.
#[derive(Deserialize)]
struct QueryBody {
    query: Option<String>,
}

pub(super) async fn query(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    let max_rows = header(&request, MAX_ITEM_COUNT)?.map(parse_count).transpose()?;
    let continuation = header(&request, CONTINUATION)?.map(str::to_owned);
    let body: QueryBody = request.read_json().await?;
    let text = body.query.ok_or_else(|| {
        HubError::new(ErrorCode::ArgumentNull, "The body has no query. It must be {\"query\": \"SELECT …\"}.")
    })?;
    let page = caller.query_twins(QueryRequest { text, max_rows, continuation }).await?;
    let QueryPage { item_type, items, continuation } = page;
    let mut response = json(&items)?;
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static(ITEM_TYPE), HeaderValue::from_static(item_type.as_str()));
    // Clients ask for another page if the header is there, even if it is empty.
    if let Some(token) = continuation.and_then(|token| HeaderValue::try_from(token).ok()) {
        headers.insert(HeaderName::from_static(CONTINUATION), token);
    }
    Ok(response)
}

/// Returns the value of a header; `None` if it is missing or empty.
fn header<'r>(request: &'r RestRequest, name: &str) -> Result<Option<&'r str>, HubError> {
    let Some(value) = request.headers().get(name) else { return Ok(None) };
    match value.to_str().map(str::trim) {
        Ok("") => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(invalid(format!("The header {name} is not visible ASCII."))),
    }
}

/// Parses the number of rows in a page. A larger number than the hub's maximum is valid.
fn parse_count(text: &str) -> Result<usize, HubError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(0) => {}
        Ok(count) => return Ok(count),
        Err(_) if is_number => return Ok(usize::MAX),
        Err(_) => {}
    }
    Err(invalid(format!("The header {MAX_ITEM_COUNT} must be a number from 1, and not {text:?}.")))
}

fn invalid(text: String) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_at_least_one_row() {
        for (text, count) in
            [("1", Some(1)), ("1000000", Some(1_000_000)), ("99999999999999999999999", Some(usize::MAX))]
        {
            assert_eq!(parse_count(text).ok(), count, "{text}");
        }
        for text in ["0", "-1", "1.0", "1e3", "ten", "+", "0x1"] {
            assert_eq!(parse_count(text).unwrap_err().code, ErrorCode::ArgumentInvalid, "{text}");
        }
    }
}
