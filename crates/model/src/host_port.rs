//! A host name with an optional port, as it stands in `HostName=` and `GatewayHostName=`.

use std::fmt;

/// A text is not a host name, with or without a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host name, with or without a port")]
pub struct InvalidHostPort(String);

/// A host name with an optional port. Azure's names never have a port; those of a Ferrohub may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A DNS name or an IP address, without brackets.
    pub host: String,
    /// The port, if one is given.
    pub port: Option<u16>,
}

impl HostPort {
    /// Reads `host`, `host:port`, `[ipv6]`, `[ipv6]:port` or a bare IPv6 address.
    pub fn parse(text: &str) -> Result<Self, InvalidHostPort> {
        let invalid = || InvalidHostPort(text.to_owned());
        let trimmed = text.trim();
        let (host, port) = match trimmed.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(invalid)?)),
            None => match trimmed.split_once(':') {
                // More than one colon is an IPv6 address without brackets.
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (trimmed, None),
            },
        };
        if host.is_empty() || host.contains(['/', ' ']) {
            return Err(invalid());
        }
        let port = port.map(str::parse).transpose().map_err(|_| invalid())?;
        Ok(Self { host: host.to_owned(), port })
    }
}

/// As it stands in a URL: an IPv6 address has brackets.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_ports_are_separated() {
        for (text, host, port, shown) in [
            ("hub.azure-devices.net", "hub.azure-devices.net", None, "hub.azure-devices.net"),
            ("localhost:8884", "localhost", Some(8884), "localhost:8884"),
            ("127.0.0.1:1", "127.0.0.1", Some(1), "127.0.0.1:1"),
            ("::1", "::1", None, "[::1]"),
            ("[::1]:8883", "::1", Some(8883), "[::1]:8883"),
            ("[::1]", "::1", None, "[::1]"),
        ] {
            let parsed = HostPort::parse(text).unwrap();
            assert_eq!(parsed, HostPort { host: host.to_owned(), port }, "{text}");
            assert_eq!(parsed.to_string(), shown);
        }
        for text in ["", ":1", "h:x", "h:70000", "h/x", "[::1]8"] {
            assert!(HostPort::parse(text).is_err(), "{text}");
        }
    }
}
