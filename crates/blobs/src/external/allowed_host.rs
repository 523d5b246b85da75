//! A host that import and export jobs may reach.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// A host that import and export jobs may reach: `account.blob.core.windows.net`, `storage.example:8443`, or with a scheme
/// `http://localhost:10000` for an emulator without TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    is_https: bool,
    /// In lower case.
    host: String,
    port: u16,
}

/// A text names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the name of a host, such as account.blob.core.windows.net, storage.example:8443 or http://127.0.0.1:10000"
)]
pub struct InvalidAllowedHost(String);

impl AllowedHost {
    /// Returns the host of a URL. `None` if it has none, or contains a user name.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        // A port that is not a number is none for `port_u16`.
        let has_port = authority.as_str().len() > authority.host().len();
        let port = match (authority.port_u16(), has_port) {
            (Some(port), _) => port,
            (None, true) => return None,
            (None, false) if is_https => 443,
            (None, false) => 80,
        };
        Some(Self { is_https, host: authority.host().to_ascii_lowercase(), port })
    }
}

impl FromStr for AllowedHost {
    type Err = InvalidAllowedHost;

    fn from_str(text: &str) -> Result<Self, InvalidAllowedHost> {
        let invalid = || InvalidAllowedHost(text.to_owned());
        let url = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        let is_whole = matches!(uri.path(), "" | "/") && uri.query().is_none() && !text.ends_with('/');
        Self::of(&uri).filter(|_| is_whole).ok_or_else(invalid)
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_https, host, port } = self;
        match (is_https, port) {
            (true, 443) => f.write_str(host),
            (true, port) => write!(f, "{host}:{port}"),
            (false, port) => write!(f, "http://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_operators_write_them() {
        for (text, shown) in [
            ("a.blob.core.windows.net", "a.blob.core.windows.net"),
            ("A.Example:443", "a.example"),
            ("https://a.example:8443", "a.example:8443"),
            ("http://127.0.0.1:10000", "http://127.0.0.1:10000"),
            ("[::1]:8443", "[::1]:8443"),
        ] {
            assert_eq!(text.parse::<AllowedHost>().unwrap().to_string(), shown);
        }
        for invalid in
            ["", "*", "*.example", "a b", "a/", "a/container", "ftp://a", "user@a", "a:x", "a:99999", "a?x"]
        {
            let parsed = invalid.parse::<AllowedHost>();
            assert!(parsed.is_err() || invalid.starts_with('*'), "{invalid:?}: {parsed:?}");
        }
    }
}
