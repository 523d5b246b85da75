//! Checks of listen addresses that need no name resolution, so that a typing error is found before anything is created.

use anyhow::bail;

use super::file::ListenConfig;

pub(super) fn check(listen: &ListenConfig) -> anyhow::Result<()> {
    for (key, text) in [
        ("listen.mqtt", &listen.mqtt),
        ("listen.amqp", &listen.amqp),
        ("listen.https", &listen.https),
        ("listen.admin", &listen.admin),
    ] {
        if text.parse::<u16>().is_ok() {
            bail!(
                "{key} must be an address and a port, not {text:?}; did you mean \"[::]:{text}\" (all addresses) or \
                 \"127.0.0.1:{text}\" (this machine only)?"
            );
        }
        let parts = text.rsplit_once(':').filter(|(host, port)| is_host(host) && port.parse::<u16>().is_ok());
        if parts.is_none() {
            bail!("{key} must be an address and a port, such as 127.0.0.1:8883, not {text:?}");
        }
    }
    Ok(())
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(address) => address.ends_with(']'),
        None => !host.is_empty() && !host.contains([':', '/', ' ']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        let with = |mqtt: &str| ListenConfig { mqtt: mqtt.to_owned(), ..ListenConfig::default() };
        for text in ["127.0.0.1:8883", "[::]:8883", "[::1]:0", "localhost:8883", "hub.example.com:1"] {
            check(&with(text)).unwrap();
        }
        for (text, expected) in [
            ("8884", "did you mean \"[::]:8884\""),
            (":8884", "listen.mqtt must be an address and a port"),
            ("localhost", "such as 127.0.0.1:8883"),
            ("::1:8883", "must be an address and a port"),
            ("localhost:99999", "must be an address and a port"),
            ("http://localhost:1", "must be an address and a port"),
            ("", "must be an address and a port"),
        ] {
            let error = check(&with(text)).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
