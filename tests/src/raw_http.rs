//! Requests over HTTP/1.1 whose bytes the test chooses.

use serde_json::Value;

use crate::Hub;
use crate::raw_tls::RawTls;

/// A response to a request whose bytes the test chose.
#[derive(Debug)]
pub struct RawResponse {
    /// HTTP status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// Body as text.
    pub body: String,
}

impl RawResponse {
    /// Sends the bytes of one request on a new connection and reads the response. Head and body are sent in two parts, as
    /// most clients do.
    #[must_use]
    #[track_caller]
    pub fn to(hub: &Hub, request: &str) -> Self {
        let mut peer = RawTls::https(hub);
        let (head, body) = request.split_at(request.find("\r\n\r\n").map_or(request.len(), |end| end + 4));
        peer.send(head.as_bytes());
        if !body.is_empty() {
            peer.send(body.as_bytes());
        }
        let text = peer.read_until("\r\n\r\n");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let mut response = Self { status, head: head.to_owned(), body: body.to_owned() };
        let length = response.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let rest = peer.read(length - response.body.len());
        response.body.push_str(&String::from_utf8(rest).expect("text"));
        response
    }

    /// Returns a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// Checks that the response is an error in the format of the API, and returns its error name.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    #[track_caller]
    pub fn error_name(&self) -> &str {
        assert_eq!(self.header("content-type"), Some("application/json; charset=utf-8"), "{self:?}");
        let body = self.json();
        assert!(body["Message"].is_string() && body["ExceptionMessage"].is_string(), "{self:?}");
        self.header("iothub-errorcode").unwrap_or_else(|| panic!("{self:?}"))
    }
}
