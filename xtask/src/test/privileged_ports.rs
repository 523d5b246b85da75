//! Access to port 443 for the tests. Clients always use ports 443 and 8883, and listening on 443 needs a privilege.
//!
//! Without the privilege, the tests run in a user and network namespace, where the user is root. Nothing outside is
//! reachable from there; the tests do not need it.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::{cargo, program, works};

/// How the tests get access to port 443.
pub(crate) enum PrivilegedPorts {
    Allowed,
    InNetworkNamespace,
}

/// Shell script: brings the loopback interface up, then executes the command in its arguments.
const WITH_LOOPBACK: &str = r#"ip link set lo up && exec "$@""#;

impl PrivilegedPorts {
    pub(crate) fn detect() -> Result<Self> {
        // No process listens on this address, so that only the permission is tested.
        let refused = TcpListener::bind("127.254.254.254:443")
            .is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
        if !refused {
            return Ok(Self::Allowed);
        }
        ensure!(
            works(in_network_namespace().arg("true")),
            "the tests need port 443; there is no permission for it, and a network namespace \
             (unshare --user --map-root-user --net, then ip link set lo up) cannot be created.\n\
             Run them as root, install `ip` (Debian: iproute2), allow user namespaces, or allow the port: \
             sudo sysctl net.ipv4.ip_unprivileged_port_start=443"
        );
        println!("   no permission for port 443: running the tests in a network namespace");
        Ok(Self::InNetworkNamespace)
    }

    /// Returns a command for cargo, in the namespace if one is needed.
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
    // On Debian, `ip` is in a folder that is not in the PATH of ordinary users.
    if let Some(path) = std::env::var_os("PATH") {
        let mut path = path;
        path.push(":/usr/sbin:/sbin");
        command.env("PATH", path);
    }
    command
}
