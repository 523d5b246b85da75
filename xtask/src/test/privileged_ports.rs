//! Ports 443 and 8883 are hard-wired into the clients, and 443 is not for everyone to open.
//!
//! Who may not open it runs the tests in a network of their own, where they are root over nothing but
//! that network. Nothing outside is reachable from there, which the tests do not need.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::{cargo, program, works};

/// How the tests get port 443.
pub(crate) enum PrivilegedPorts {
    Allowed,
    InNetworkNamespace,
}

/// Brings the loopback interface up, then becomes the command that follows.
const WITH_LOOPBACK: &str = r#"ip link set lo up && exec "$@""#;

impl PrivilegedPorts {
    pub(crate) fn detect() -> Result<Self> {
        // An address that nobody listens on, so that only the right to open the port is in question.
        let refused = TcpListener::bind("127.254.254.254:443")
            .is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
        if !refused {
            return Ok(Self::Allowed);
        }
        ensure!(
            works(in_network_namespace().arg("true")),
            "the tests need port 443, which you may not open, and a network of their own \
             (unshare --user --map-root-user --net, then ip link set lo up) does not work here.\n\
             Either run them as root, install `ip` (Debian: iproute2), allow user namespaces, or allow the \
             port: sudo sysctl net.ipv4.ip_unprivileged_port_start=443"
        );
        println!("   you may not open port 443: running the tests in a network of their own");
        Ok(Self::InNetworkNamespace)
    }

    /// Cargo, where the ports can be opened.
    pub(crate) fn cargo(&self) -> Command {
        match self {
            Self::Allowed => cargo(),
            Self::InNetworkNamespace => {
                let mut command = in_network_namespace();
                command.arg(cargo().get_program());
                command
            }
        }
    }
}

fn in_network_namespace() -> Command {
    let mut command = program(Path::new("unshare"));
    command.args(["--user", "--map-root-user", "--net", "--"]).args(["sh", "-c", WITH_LOOPBACK, "sh"]);
    // Debian keeps `ip` where ordinary users do not look.
    if let Some(path) = std::env::var_os("PATH") {
        let mut path = path;
        path.push(":/usr/sbin:/sbin");
        command.env("PATH", path);
    }
    command
}
