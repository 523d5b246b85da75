//! Where the hub is: a name for tokens, a name for TLS, a port.

use crate::error::Error;

/// A host name with an optional port, as it stands in `HostName=` and `GatewayHostName=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort {
    /// A DNS name or an IP address, without brackets.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

impl HostPort {
    /// Azure's names never have a port; a hub on a laptop may.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let bad = || Error::invalid_input(format!("{text:?} is not a host name, with or without a port"));
        let text = text.trim();
        let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(bad)?)),
            None => match text.split_once(':') {
                // More than one colon is an IPv6 address without brackets.
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (text, None),
            },
        };
        if host.is_empty() || host.contains(['/', ' ']) {
            return Err(bad());
        }
        let port = port.map(str::parse).transpose().map_err(|_| bad())?;
        Ok(Self { host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_ports_come_apart() {
        for (text, host, port) in [
            ("hub.azure-devices.net", "hub.azure-devices.net", None),
            ("localhost:8884", "localhost", Some(8884)),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("::1", "::1", None),
            ("[::1]:8883", "::1", Some(8883)),
            ("[::1]", "::1", None),
        ] {
            assert_eq!(HostPort::parse(text).unwrap(), HostPort { host: host.to_owned(), port }, "{text}");
        }
        for text in ["", ":1", "h:x", "h:70000", "h/x", "[::1]8"] {
            assert!(HostPort::parse(text).is_err(), "{text}");
        }
    }
}
