//! The path of a request: its form before routing, and its parameters.

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use ferrohub_model::{ErrorCode, HubError};
use serde::de::DeserializeOwned;

use super::blobs::CONTAINER;
use super::error::{ApiError, ErrorFormat};

/// Paths below these contain the name of a file, which is compared as it is.
const FILE_PATHS: [&str; 2] = [CONTAINER, "ferrohub/files"];

/// Drops one slash at the end of the path: .NET, Node and C clients send `/devices/` and
/// `/devices/{id}/files/notifications/` (.NET: `RegistryManager.cs`, Node: `registry.js`, C:
/// `iothub_client_ll_uploadtoblob.c`). The query and all percent escapes stay as they are. Returns `None` if the path
/// stays as it is.
pub(super) fn without_trailing_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path().strip_suffix('/').filter(|path| !path.is_empty())?;
    if is_file_path(path) {
        return None;
    }
    let target = match uri.query() {
        None => PathAndQuery::try_from(path),
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.ok()?);
    Uri::from_parts(parts).ok()
}

/// Returns whether the path names a file.
fn is_file_path(path: &str) -> bool {
    FILE_PATHS.iter().any(|prefix| {
        path.strip_prefix('/')
            .and_then(|path| path.strip_prefix(prefix))
            .is_some_and(|rest| rest.starts_with('/'))
    })
}

/// The decoded parameters of the path, like [`axum::extract::Path`], with errors in the format of the API.
pub(super) struct Path<T>(pub(super) T);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(parameters)) => Ok(Self(parameters)),
            Err(_) => {
                let nested = parts.uri.path().starts_with("/twins/");
                let format = if nested { ErrorFormat::Nested } else { ErrorFormat::Registry };
                let text = "The path is not valid: its percent-encoded bytes are not UTF-8.";
                Err(ApiError::new(HubError::new(ErrorCode::ArgumentInvalid, text), format))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_trailing_slash_is_dropped_and_the_query_stays() {
        for (sent, expected) in [
            ("/devices/?top=1000&api-version=2021-04-12", "/devices?top=1000&api-version=2021-04-12"),
            ("/devices/?&a=%2F/&&", "/devices?&a=%2F/&&"),
            ("/twins/d/methods/", "/twins/d/methods"),
            ("/devices//", "/devices/"),
            ("/devices/a%2F/", "/devices/a%2F"),
            ("/ferrohub/files/", "/ferrohub/files"),
            ("/ferrohub-uploads/", "/ferrohub-uploads"),
            ("https://hub:443/devices/?x", "https://hub:443/devices?x"),
        ] {
            let uri = without_trailing_slash(&sent.parse().unwrap());
            assert_eq!(uri.map(|uri| uri.to_string()).as_deref(), Some(expected), "{sent}");
        }
    }

    #[test]
    fn other_paths_stay_as_they_are() {
        for sent in [
            "/",
            "*",
            "/devices",
            "/devices%2F",
            "/devices?a=/",
            "/ferrohub-uploads/d/f/?sig=x",
            "/ferrohub/files/d/f/",
        ] {
            assert_eq!(without_trailing_slash(&sent.parse().unwrap()), None, "{sent}");
        }
    }
}
