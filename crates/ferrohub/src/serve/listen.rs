//! Opens the listeners on the configured addresses.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};

use anyhow::{Context as _, bail};
use ferrohub_gateway::{BindError, Gateway, ListenAddresses};
use tracing::warn;

use crate::config::Config;

/// The port that device SDKs always use.
const HTTPS_PORT: u16 = 443;
/// The port that is used without the privilege for 443.
const FALLBACK_HTTPS_PORT: u16 = 8443;

/// Returns the addresses to listen on, before anything is created.
pub(super) fn addresses(config: &Config) -> anyhow::Result<ListenAddresses> {
    let addresses = ListenAddresses {
        mqtt: resolve("listen.mqtt", &config.listen.mqtt)?,
        amqp: resolve("listen.amqp", &config.listen.amqp)?,
        https: resolve("listen.https", &config.listen.https)?,
        admin: resolve("listen.admin", &config.listen.admin)?,
    };
    if config.listen.admin_token.is_none()
        && let Some(address) = addresses.admin.iter().find(|address| !address.ip().is_loopback())
    {
        bail!(
            "listen.admin must be a loopback address, because it does not authenticate clients: {address}; to \
             listen there, set listen.admin_token, which also turns on TLS"
        );
    }
    Ok(addresses)
}

/// Opens the listeners.
pub(super) fn bind(mut addresses: ListenAddresses) -> anyhow::Result<Gateway> {
    loop {
        match Gateway::bind(&addresses) {
            Ok(gateway) => return Ok(gateway),
            Err(BindError::Io { address, source, .. })
                if address.port() == HTTPS_PORT && source.kind() == ErrorKind::PermissionDenied =>
            {
                warn!(
                    "no permission to listen on port 443; HTTPS listens on 8443 instead. Services must use \
                     HostName=…:8443. Devices cannot use WebSocket, because their SDKs always use 443. To allow \
                     port 443: sudo setcap cap_net_bind_service=+ep $(command -v ferrohub)"
                );
                addresses.https.iter_mut().for_each(|address| address.set_port(FALLBACK_HTTPS_PORT));
            }
            // A machine without IPv6 cannot listen on `[::]`.
            Err(BindError::Io { address, source, .. })
                if address.ip().is_unspecified() && address.is_ipv6() && is_without_ipv6(&source) =>
            {
                let ListenAddresses { mqtt, amqp, https, admin } = &mut addresses;
                for address in [mqtt, amqp, https, admin].into_iter().flatten() {
                    if address.is_ipv6() && address.ip().is_unspecified() {
                        *address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_without_ipv6(error: &std::io::Error) -> bool {
    // `ErrorKind` has no variant for EAFNOSUPPORT on this toolchain.
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// Resolves an address. A host name yields all of its addresses, so that `localhost` is both 127.0.0.1 and ::1.
fn resolve(key: &str, text: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = text
        .to_socket_addrs()
        .with_context(|| format!("{key} must be an address and a port, such as 127.0.0.1:8883: {text:?}"))?
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        bail!("{key}: {text:?} does not resolve to an address");
    }
    Ok(addresses)
}

/// Returns the names that clients may use for the admin listener, besides loopback ones.
pub(super) fn admin_names(config: &Config) -> Vec<String> {
    let listen = config.listen.admin.rsplit_once(':').map_or("", |(host, _)| host);
    let listen = listen.trim_start_matches('[').trim_end_matches(']').to_owned();
    let names = [config.hostname.clone(), listen].into_iter().chain(config.tls.names.iter().cloned());
    names.filter(|name| !name.is_empty()).collect()
}
