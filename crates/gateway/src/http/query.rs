//! The query of a URI.

use axum::http::Uri;

/// Returns the raw value of a query parameter.
pub(crate) fn query<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query()?
        .split('&')
        .find_map(|part| part.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}
