//! The list of the blobs of the container for import and export, as Azure Storage returns it (List Blobs).

use std::fmt::Write as _;

use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use ferrohub_core::BlobCaller;
use ferrohub_core::files::Blob;
use ferrohub_model::percent;

use super::error::BlobApiError;
use crate::http::query;

/// The maximum number of blobs in a list.
const MAX_RESULTS: usize = 1000;

/// Lists the blobs. The marker of the next page is the name of the last blob.
pub(super) async fn list(caller: &BlobCaller, uri: &Uri) -> Result<Response, BlobApiError> {
    let text = |name| match query(uri, name) {
        None | Some("") => Ok(None),
        Some(value) => percent::decode(value).map(Some).ok_or_else(|| BlobApiError::unknown_query(name)),
    };
    let (prefix, marker) = (text("prefix")?, text("marker")?);
    let max_results = match query(uri, "maxresults") {
        None => None,
        Some(number) => match number.parse::<usize>() {
            Ok(number @ 1..) => Some(number),
            _ => return Err(BlobApiError::unknown_query("maxresults")),
        },
    };
    let size = max_results.unwrap_or(MAX_RESULTS).min(MAX_RESULTS);
    let blobs = caller.list(marker.as_deref(), size).await?;
    let next = if blobs.len() == size { blobs.last().map(name) } else { None };
    let prefix = prefix.unwrap_or_default();
    let listed = blobs.iter().filter(|blob| name(blob).starts_with(&prefix));
    let mut body = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults>");
    // Python's client asks for the next page with the values of this one.
    let _ = write!(body, "<Prefix>{}</Prefix>", escaped(&prefix));
    let _ = write!(body, "<Marker>{}</Marker>", escaped(&marker.unwrap_or_default()));
    if let Some(max_results) = max_results {
        let _ = write!(body, "<MaxResults>{max_results}</MaxResults>");
    }
    body.push_str("<Blobs>");
    for blob in listed {
        let _ = write!(
            body,
            "<Blob><Name>{}</Name><Properties><Last-Modified>{}</Last-Modified><Etag>{}</Etag>\
             <Content-Length>{}</Content-Length><Content-Type>{}</Content-Type><BlobType>BlockBlob</BlobType>\
             <LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState></Properties></Blob>",
            escaped(name(blob)),
            blob.modified.to_http_date(),
            blob.etag,
            blob.bytes,
            escaped(blob.properties.get("content-type").map_or("", String::as_str)),
        );
    }
    let _ = write!(
        body,
        "</Blobs><NextMarker>{}</NextMarker></EnumerationResults>",
        escaped(next.unwrap_or_default())
    );
    let xml = HeaderValue::from_static("application/xml");
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, xml)], body).into_response())
}

fn name(blob: &Blob) -> &str {
    blob.name.name_in_container().unwrap_or_default()
}

/// Escapes a text for XML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped("a<b>&\"'é.txt"), "a&lt;b&gt;&amp;&quot;&apos;é.txt");
    }
}
