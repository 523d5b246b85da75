//! Reads the headers of storage requests and writes the headers of storage responses.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrohub_core::files::{Blob, BlobProperties, ByteRange, Condition, EtagMatch};
use ferrohub_model::Timestamp;

use super::error::BlobApiError;

/// Maximum size of the properties and metadata of a blob in bytes, as in Azure.
const MAX_PROPERTIES: usize = 8 * 1024;
const METADATA_PREFIX: &str = "x-ms-meta-";
/// The properties of a blob: the request header, and the response header, which is also the stored name.
const PROPERTIES: [(&str, &str); 5] = [
    ("x-ms-blob-content-type", "content-type"),
    ("x-ms-blob-content-encoding", "content-encoding"),
    ("x-ms-blob-content-language", "content-language"),
    ("x-ms-blob-content-disposition", "content-disposition"),
    ("x-ms-blob-cache-control", "cache-control"),
];
/// Prefixes of headers for features that the hub does not support. Such requests are refused, so that no client assumes
/// that the feature took effect.
const UNSUPPORTED: [&str; 9] = [
    "x-ms-content-crc64",
    "x-ms-copy-source",
    "x-ms-encryption-",
    "x-ms-if-tags",
    "x-ms-immutability-policy",
    "x-ms-lease-id",
    "x-ms-legal-hold",
    "x-ms-structured-",
    "x-ms-tags",
];
/// The algorithm of a key in the request. Without a key it requests nothing: the storage client of `azure-iot-device`
/// (`@azure/storage-blob` 12.8.0) sends it with every request.
const ENCRYPTION_ALGORITHM: &str = "x-ms-encryption-algorithm";

/// Returns an error if a header requests a feature that the hub does not support.
pub(super) fn refuse_unsupported(headers: &HeaderMap) -> Result<(), BlobApiError> {
    let unsupported = headers.iter().find(|(name, value)| {
        UNSUPPORTED.iter().any(|prefix| name.as_str().starts_with(prefix))
            && !requests_nothing(name.as_str(), value.as_bytes().trim_ascii())
    });
    match unsupported {
        Some((name, _)) => Err(BlobApiError::unsupported_header(name.as_str())),
        None => Ok(()),
    }
}

/// Returns whether the header has no effect. A key beside [`ENCRYPTION_ALGORITHM`] is refused by its own header.
fn requests_nothing(name: &str, value: &[u8]) -> bool {
    value.is_empty()
        || name == ENCRYPTION_ALGORITHM && value.eq_ignore_ascii_case(b"AES256")
        || name == "x-ms-legal-hold" && value.eq_ignore_ascii_case(b"false")
}

/// Returns the text of a header. An empty header is like a missing one.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, BlobApiError> {
    let text = headers.get(name).map(HeaderValue::to_str).transpose();
    Ok(text.map_err(|_| BlobApiError::invalid_header(name))?.filter(|text| !text.trim_ascii().is_empty()))
}

pub(super) fn require_block_blob(headers: &HeaderMap) -> Result<(), BlobApiError> {
    const TYPE: &str = "x-ms-blob-type";
    match text(headers, TYPE)? {
        Some(kind) if kind.eq_ignore_ascii_case("BlockBlob") => Ok(()),
        Some(_) => Err(BlobApiError::invalid_header(TYPE)),
        None => Err(BlobApiError::missing_header(TYPE)),
    }
}

pub(super) fn condition(headers: &HeaderMap) -> Result<Condition, BlobApiError> {
    let etags = |name: HeaderName| text(headers, name.as_str()).map(|text| text.map(EtagMatch::parse));
    let date = |name: HeaderName| match text(headers, name.as_str())? {
        None => Ok(None),
        Some(date) => Timestamp::parse_http_date(date)
            .map(Some)
            .ok_or_else(|| BlobApiError::invalid_header(name.as_str())),
    };
    Ok(Condition {
        if_match: etags(header::IF_MATCH)?,
        if_none_match: etags(header::IF_NONE_MATCH)?,
        if_modified_since: date(header::IF_MODIFIED_SINCE)?,
        if_unmodified_since: date(header::IF_UNMODIFIED_SINCE)?,
        create_only: false,
    })
}

/// Returns the properties and metadata of a new blob. If the body of the request is the blob itself (`whole`), the
/// headers of the body (such as `content-type`) also set properties.
pub(super) fn properties(headers: &HeaderMap, whole: bool) -> Result<BlobProperties, BlobApiError> {
    let mut properties = BlobProperties::new();
    for (blob_header, body_header) in PROPERTIES {
        let value = match text(headers, blob_header)? {
            None if whole => text(headers, body_header)?,
            value => value,
        };
        if let Some(value) = value {
            properties.insert(body_header.to_owned(), value.to_owned());
        }
    }
    properties.entry("content-type".to_owned()).or_insert_with(|| "application/octet-stream".to_owned());
    if let Some(md5) = digest(headers, "x-ms-blob-content-md5")? {
        properties.insert("content-md5".to_owned(), STANDARD.encode(md5));
    }
    for (name, value) in headers {
        if name.as_str().starts_with(METADATA_PREFIX) {
            let value = value.to_str().map_err(|_| BlobApiError::invalid_header(name.as_str()))?;
            properties.insert(name.as_str().to_owned(), value.to_owned());
        }
    }
    let bytes: usize = properties.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_PROPERTIES { Err(BlobApiError::metadata_too_large()) } else { Ok(properties) }
}

/// Returns the MD5 that the body must have. If the body is the blob itself (`whole`), the MD5 of the blob is used as
/// well.
pub(super) fn md5(headers: &HeaderMap, whole: bool) -> Result<Option<[u8; 16]>, BlobApiError> {
    let body = digest(headers, "content-md5")?;
    let blob = if whole { digest(headers, "x-ms-blob-content-md5")? } else { None };
    match (body, blob) {
        (Some(body), Some(blob)) if body != blob => Err(BlobApiError::md5_mismatch()),
        (body, blob) => Ok(body.or(blob)),
    }
}

fn digest(headers: &HeaderMap, name: &str) -> Result<Option<[u8; 16]>, BlobApiError> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(Some).ok_or_else(BlobApiError::invalid_md5)
}

/// Returns the requested range. An invalid range is ignored, as RFC 9110 requires.
pub(super) fn range(headers: &HeaderMap) -> Option<ByteRange> {
    let value = headers.get("x-ms-range").or_else(|| headers.get(header::RANGE))?;
    let (from, to) = value.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let to = if to.is_empty() { None } else { Some(to.parse().ok()?) };
    let from = from.parse().ok()?;
    (to.is_none_or(|to| to >= from)).then_some(ByteRange { from, to })
}

pub(super) fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    // The values come from request headers or are ASCII, so the conversion does not fail.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Writes the headers that identify the version of the blob.
pub(super) fn write_version_headers(blob: &Blob, headers: &mut HeaderMap) {
    insert(headers, "etag", &format!("\"{}\"", blob.etag));
    insert(headers, "last-modified", &blob.modified.to_http_date());
}

/// Writes all headers of a blob except its size.
pub(super) fn write_blob_headers(blob: &Blob, headers: &mut HeaderMap) {
    write_version_headers(blob, headers);
    for (name, value) in &blob.properties {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            headers.insert(name, value);
        }
    }
    for (name, value) in [
        ("accept-ranges", "bytes"),
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-lease-state", "available"),
        ("x-ms-lease-status", "unlocked"),
        ("x-ms-server-encrypted", "false"),
        // The device chose content type and content: a browser must not run them as a page of the hub.
        ("content-security-policy", "sandbox"),
        ("x-content-type-options", "nosniff"),
    ] {
        insert(headers, name, value);
    }
}

/// Writes the headers of a partial response. The MD5 of the whole blob moves to `x-ms-blob-content-md5`.
pub(super) fn write_range_headers(blob: &Blob, offset: u64, length: u64, headers: &mut HeaderMap) {
    let last = offset + length.saturating_sub(1);
    insert(headers, "content-range", &format!("bytes {offset}-{last}/{}", blob.bytes));
    if let Some(md5) = headers.remove("content-md5") {
        headers.insert("x-ms-blob-content-md5", md5);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn valid_ranges_are_parsed_and_invalid_ones_ignored() {
        let read = |text| range(&headers(&[("range", text)])).map(|range| (range.from, range.to));
        assert_eq!(read("bytes=0-9"), Some((0, Some(9))));
        assert_eq!(read("bytes=5-"), Some((5, None)));
        for invalid in ["bytes=-5", "bytes=9-0", "items=0-1", "bytes=0-1,3-4", "bytes=a-b", "bytes=-"] {
            assert_eq!(read(invalid), None, "{invalid}");
        }
        let both = headers(&[("range", "bytes=0-1"), ("x-ms-range", "bytes=2-3")]);
        assert_eq!(range(&both), Some(ByteRange { from: 2, to: Some(3) }));
    }

    #[test]
    fn a_header_that_requests_nothing_passes_and_one_that_changes_the_result_is_refused() {
        for (name, value) in [
            ("x-ms-encryption-algorithm", "AES256"),
            ("x-ms-encryption-algorithm", "aes256"),
            ("x-ms-encryption-algorithm", ""),
            ("x-ms-encryption-scope", ""),
            ("x-ms-lease-id", " "),
            ("x-ms-tags", ""),
            ("x-ms-copy-source", ""),
            ("x-ms-legal-hold", "False"),
            ("x-ms-version", "2020-10-02"),
        ] {
            assert!(refuse_unsupported(&headers(&[(name, value)])).is_ok(), "{name}: {value}");
        }
        for (name, value) in [
            ("x-ms-encryption-algorithm", "AES512"),
            ("x-ms-encryption-key", "a2V5"),
            ("x-ms-encryption-key-sha256", "aGFzaA=="),
            ("x-ms-encryption-scope", "s"),
            ("x-ms-encryption-context", "AES256"),
            ("x-ms-lease-id", "4f1d"),
            ("x-ms-legal-hold", "true"),
        ] {
            let sent = headers(&[("x-ms-encryption-algorithm", "AES256"), (name, value)]);
            let sent = if name == "x-ms-encryption-algorithm" { headers(&[(name, value)]) } else { sent };
            let refused = refuse_unsupported(&sent).unwrap_err();
            assert_eq!(refused.code(), "UnsupportedHeader", "{name}: {value}");
        }
        // An empty header beside one with a value does not hide it.
        let mut twice = headers(&[("x-ms-lease-id", "")]);
        twice.append("x-ms-lease-id", HeaderValue::from_static("4f1d"));
        assert!(refuse_unsupported(&twice).is_err());
    }

    #[test]
    fn an_empty_header_is_like_a_missing_one() {
        let sent = headers(&[
            ("if-match", ""),
            ("if-modified-since", " "),
            ("content-md5", ""),
            ("x-ms-blob-content-md5", ""),
            ("x-ms-blob-content-type", ""),
            ("content-type", "text/plain"),
        ]);
        let condition = condition(&sent).unwrap();
        assert!(condition.if_match.is_none() && condition.if_modified_since.is_none());
        assert_eq!(md5(&sent, true).unwrap(), None);
        assert_eq!(properties(&sent, true).unwrap()["content-type"], "text/plain");
    }

    #[test]
    fn blob_headers_take_precedence_over_body_headers() {
        let sent = headers(&[
            ("content-type", "text/plain"),
            ("x-ms-blob-content-type", "image/png"),
            ("content-encoding", "gzip"),
            ("x-ms-meta-colour", "red"),
        ]);
        let whole = properties(&sent, true).unwrap();
        assert_eq!(
            (whole["content-type"].as_str(), whole["content-encoding"].as_str()),
            ("image/png", "gzip")
        );
        let list = properties(&sent, false).unwrap();
        assert_eq!((list.get("content-encoding"), list["x-ms-meta-colour"].as_str()), (None, "red"));
        let long: &'static str = Box::leak("x".repeat(9000).into_boxed_str());
        let refused = properties(&headers(&[("x-ms-meta-a", long)]), true).unwrap_err();
        assert_eq!(refused.code(), "MetadataTooLarge");
    }

    #[test]
    fn unsupported_and_invalid_headers_are_refused() {
        for name in ["x-ms-lease-id", "x-ms-encryption-key", "x-ms-content-crc64", "x-ms-structured-body"] {
            let refused = refuse_unsupported(&headers(&[(name, "x")])).unwrap_err();
            assert_eq!(refused.code(), "UnsupportedHeader");
        }
        assert!(refuse_unsupported(&headers(&[("x-ms-access-tier", "Hot")])).is_ok());
        assert_eq!(require_block_blob(&headers(&[])).unwrap_err().code(), "MissingRequiredHeader");
        let page = headers(&[("x-ms-blob-type", "PageBlob")]);
        assert_eq!(require_block_blob(&page).unwrap_err().code(), "InvalidHeaderValue");
        let short = headers(&[("content-md5", "AAAA")]);
        assert_eq!(md5(&short, false).unwrap_err().code(), "InvalidMd5");
    }
}
