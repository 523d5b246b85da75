//! Mosquitto, from Debian's package.

use tokio::process::Command;

use super::{Environment, Protocol, Server, ServerSpec, free_address, version};

pub(crate) async fn start(environment: &Environment) -> anyhow::Result<Server> {
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    let configuration = format!(
        "per_listener_settings false\n\
         user root\n\
         allow_anonymous true\n\
         persistence false\n\
         log_dest none\n\
         set_tcp_nodelay true\n\
         listener {} {}\n\
         max_connections -1\n\
         certfile {}\n\
         keyfile {}\n",
        address.port(),
        address.ip(),
        environment.pki.certificate.display(),
        environment.pki.key.display(),
    );
    let file = folder.path().join("mosquitto.conf");
    std::fs::write(&file, configuration)?;
    let mut command = Command::new("mosquitto");
    command.arg("-c").arg(&file);
    let protocol = Protocol::Broker { login: None };
    ServerSpec {
        name: "mosquitto",
        version: version("mosquitto", &["-h"]).await,
        protocol,
        address,
        folder,
        helpers: Vec::new(),
    }
    .start(environment, command)
    .await
}
