//! Checks each request of the admin listener: its host, and its token if one is configured.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// The checks of the admin listener.
pub(crate) struct Guard {
    /// The configured names and addresses, in lower case.
    names: Vec<String>,
    token: Option<String>,
}

impl Guard {
    /// `names` are the configured host names and addresses. With a token, each request must present it.
    pub(crate) fn new(names: &[String], token: Option<String>) -> Self {
        Self { names: names.iter().map(|name| name.to_ascii_lowercase()).collect(), token }
    }

    /// Returns whether the value of `Host` names this machine. A web page whose name resolves to a loopback address
    /// (DNS rebinding) must not read the metrics. With a token any address is accepted: a name is needed for rebinding,
    /// and a page does not know the token.
    fn is_own_host(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
            None => host.split(':').next().unwrap_or_default(),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        name == "localhost"
            || self.names.contains(&name)
            || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback() || self.token.is_some())
    }

    fn refusal(&self, version: Version, headers: &HeaderMap) -> Option<Response> {
        let mut hosts = headers.get_all(header::HOST).iter();
        match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
            (Some(Ok(host)), None) if self.is_own_host(host) => {}
            // Only HTTP/1.1 requires the header, and every browser sends it.
            (None, None) if version < Version::HTTP_11 => {}
            _ => {
                let text = "The Host header must be a loopback name or address, or one that is configured in \
                            hostname, tls.names or listen.admin.\n";
                return Some((StatusCode::MISDIRECTED_REQUEST, text).into_response());
            }
        }
        let token = self.token.as_deref()?;
        let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let presented = presented.and_then(|value| value.split_once(' '));
        match presented {
            Some((scheme, presented))
                if scheme.eq_ignore_ascii_case("Bearer") && constant_time_eq(presented.trim(), token) =>
            {
                None
            }
            _ => {
                let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
                let text = "Send the token of listen.admin_token: Authorization: Bearer TOKEN.\n";
                Some((StatusCode::UNAUTHORIZED, challenge, text).into_response())
            }
        }
    }
}

/// Lets a request pass that fulfils the checks.
pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.refusal(request.version(), request.headers()) {
        Some(refusal) => refusal,
        None => next.run(request).await,
    }
}

/// Compares secrets in constant time.
fn constant_time_eq(given: &str, known: &str) -> bool {
    let random = rand::random::<[u8; 32]>();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &random);
    let tag = ring::hmac::sign(&key, known.as_bytes());
    ring::hmac::verify(&key, given.as_bytes(), tag.as_ref()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(guard: &Guard, version: Version, headers: &[(header::HeaderName, &'static str)]) -> u16 {
        let headers =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        guard.refusal(version, &headers).map_or(200, |response| response.status().as_u16())
    }

    #[test]
    fn only_own_names_are_accepted_as_host() {
        let guard = Guard::new(&["Hub.Example".to_owned(), "192.0.2.7".to_owned()], None);
        let host = |value| status(&guard, Version::HTTP_11, &[(header::HOST, value)]);
        for own in [
            "localhost",
            "LOCALHOST:9464",
            "localhost.",
            "127.0.0.1:9464",
            "127.8.9.1",
            "[::1]:9464",
            "[::1]",
            "hub.example:9464",
            "192.0.2.7",
        ] {
            assert_eq!(host(own), 200, "{own}");
        }
        for other in [
            "attacker.example",
            "localhost.attacker.example",
            "127.0.0.1.attacker.example",
            "192.0.2.8",
            "[2001:db8::1]",
            "[::1",
            "",
            "0.0.0.0",
            "hub.example.attacker.example",
        ] {
            assert_eq!(host(other), 421, "{other}");
        }
        let two = [(header::HOST, "localhost"), (header::HOST, "attacker.example")];
        let mut headers = HeaderMap::new();
        for (name, value) in two {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert!(guard.refusal(Version::HTTP_11, &headers).is_some());
        assert_eq!(status(&guard, Version::HTTP_11, &[]), 421);
        assert_eq!(status(&guard, Version::HTTP_10, &[]), 200);
    }

    #[test]
    fn with_a_token_every_request_must_present_it() {
        let guard = Guard::new(&[], Some("s3cret-s3cret-s3cret".to_owned()));
        let token = |value| {
            let headers = [(header::HOST, "10.0.0.5:9464"), (header::AUTHORIZATION, value)];
            status(&guard, Version::HTTP_11, &headers)
        };
        assert_eq!(token("Bearer s3cret-s3cret-s3cret"), 200);
        assert_eq!(token("bearer s3cret-s3cret-s3cret"), 200);
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer s3cret", "Basic s3cret-s3cret-s3cret", "s3cret-s3cret-s3cret"]
        {
            assert_eq!(token(wrong), 401, "{wrong}");
        }
        assert_eq!(status(&guard, Version::HTTP_11, &[(header::HOST, "localhost")]), 401);
        assert_eq!(status(&guard, Version::HTTP_11, &[(header::HOST, "attacker.example")]), 421);
    }
}
