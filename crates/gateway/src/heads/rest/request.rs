//! A request of the REST API, as its handler gets it: routed, and its caller authenticated.

use std::borrow::Cow;
use std::str::FromStr;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use bytes::Bytes;
use ferrohub_core::registry::IfMatch;
use ferrohub_model::{DeviceId, ErrorCode, HubError, IdentityId, ModuleId, percent};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::routes::PathParameters;
use crate::http::{HttpContext, RequestBody, query, read_body};

/// The oldest API version that clients in the field use.
const OLDEST_API_VERSION: &str = "2016-11-14";

/// A request of the REST API.
pub(super) struct RestRequest {
    pub(super) context: HttpContext,
    pub(super) head: Parts,
    pub(super) body: RequestBody,
    pub(super) parameters: PathParameters,
}

impl RestRequest {
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.head.uri
    }

    /// Returns a decoded parameter of the path.
    pub(super) fn parameter(&self, name: &str) -> Result<Cow<'_, str>, HubError> {
        let value = self.parameters.get(self.uri().path(), name).and_then(percent::decode_cow);
        value.ok_or_else(|| {
            let text = "The path is not valid: its percent-encoded bytes are not UTF-8.";
            HubError::new(ErrorCode::ArgumentInvalid, text)
        })
    }

    fn has_parameter(&self, name: &str) -> bool {
        self.parameters.get(self.uri().path(), name).is_some()
    }

    /// Returns a decoded parameter of the path, if this form of the path has it.
    pub(super) fn optional_parameter(&self, name: &str) -> Result<Option<Cow<'_, str>>, HubError> {
        self.has_parameter(name).then(|| self.parameter(name)).transpose()
    }

    /// Returns the device that the path names.
    pub(super) fn device_id(&self) -> Result<DeviceId, HubError> {
        DeviceId::new(&self.parameter("id")?).map_err(|error| {
            HubError::new(ErrorCode::ArgumentInvalid, format!("The device id is not valid: {error}."))
        })
    }

    /// Returns the module that the path names.
    pub(super) fn module_id(&self) -> Result<ModuleId, HubError> {
        ModuleId::new(&self.parameter("module")?).map_err(|error| {
            HubError::new(ErrorCode::ArgumentInvalid, format!("The module id is not valid: {error}."))
        })
    }

    /// Returns the device or module that the path names.
    pub(super) fn identity(&self) -> Result<IdentityId, HubError> {
        let device = self.device_id()?;
        match self.has_parameter("module") {
            false => Ok(device.into()),
            true => Ok(IdentityId::module(&device, &self.module_id()?)),
        }
    }

    /// Returns the raw value of a query parameter.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        query(self.uri(), name)
    }

    /// Returns the decoded value of a query parameter.
    pub(super) fn query_text(&self, name: &str) -> Result<Option<String>, HubError> {
        let malformed = || {
            let text = format!("The query parameter {name} is not valid percent-encoding.");
            HubError::new(ErrorCode::ArgumentInvalid, text)
        };
        self.query(name).map(|value| percent::decode(value).ok_or_else(malformed)).transpose()
    }

    /// Returns the number in a query parameter.
    pub(super) fn query_number<N: FromStr>(&self, name: &str) -> Result<Option<N>, HubError> {
        let malformed = |_| {
            let text = format!("The query parameter {name} is not a number, or too large.");
            HubError::new(ErrorCode::ArgumentInvalid, text)
        };
        self.query(name).map(|value| value.parse().map_err(malformed)).transpose()
    }

    /// Returns the query parameter `top`, the maximum length of a list. Any value that is not a number from 1 to `max`
    /// means `max`, as in Azure.
    pub(super) fn top(&self, max: usize) -> usize {
        let top = self.query("top").and_then(|top| top.parse().ok());
        top.filter(|top| (1..=max).contains(top)).unwrap_or(max)
    }

    /// Parses the `If-Match` header.
    pub(super) fn if_match(&self) -> Result<Option<IfMatch>, HubError> {
        match self.headers().get(header::IF_MATCH).map(HeaderValue::to_str) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(IfMatch::parse(text))),
            Some(Err(_)) => Err(HubError::new(ErrorCode::ArgumentInvalid, "If-Match is not visible ASCII.")),
        }
    }

    /// Reads the whole body, within the limits of size and time.
    pub(super) async fn read_body(&mut self) -> Result<Bytes, HubError> {
        read_body(&mut self.body, &self.context.limits).await
    }

    /// Reads a JSON body.
    pub(super) async fn read_json<T: DeserializeOwned>(&mut self) -> Result<T, HubError> {
        from_object(&self.read_body().await?)
    }
}

/// Returns an error if `api-version` is not a date or is older than the oldest supported version. A missing version
/// means the newest, for convenience with curl.
pub(super) fn check_api_version(uri: &Uri) -> Result<(), HubError> {
    let Some(version) = query(uri, "api-version") else { return Ok(()) };
    let date = version.strip_suffix("-preview").unwrap_or(version);
    let is_date = date.len() == 10
        && date
            .bytes()
            .enumerate()
            .all(|(i, byte)| if matches!(i, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    if is_date && date >= OLDEST_API_VERSION {
        Ok(())
    } else {
        Err(HubError::new(
            ErrorCode::InvalidProtocolVersion,
            format!("The api-version {version:?} is not supported."),
        ))
    }
}

/// Parses a JSON object. Serde also accepts an array for a struct, which no client intends.
pub(super) fn from_object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, HubError> {
    let malformed = |reason: &dyn std::fmt::Display| {
        HubError::new(ErrorCode::IotHubFormatError, format!("The body is not valid: {reason}."))
    };
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(malformed(&"it is not a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| malformed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_version_must_be_a_date_since_2016() {
        let check = |query: &str| check_api_version(&format!("/devices?{query}").parse().unwrap());
        for valid in
            ["", "api-version=2021-04-12", "api-version=2016-11-14", "a=b&api-version=2020-10-01-preview"]
        {
            assert!(check(valid).is_ok(), "{valid}");
        }
        for invalid in
            ["api-version=", "api-version=2015-01-01", "api-version=latest", "api-version=2021-4-12"]
        {
            assert_eq!(check(invalid).unwrap_err().code, ErrorCode::InvalidProtocolVersion, "{invalid}");
        }
    }
}
