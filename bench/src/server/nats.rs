//! NATS, from Debian's package, with its own protocol.

use tokio::process::Command;

use super::{Environment, Recipe, Server, Speech, free_address, version};

pub(crate) async fn start(environment: &Environment) -> anyhow::Result<Server> {
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    let file = folder.path().join("nats.conf");
    std::fs::write(
        &file,
        format!(
            "listen: \"{address}\"\nmax_connections: 1000000\ntls {{ cert_file: {:?}, key_file: {:?} }}\n",
            environment.pki.certificate, environment.pki.key,
        ),
    )?;
    let mut command = Command::new("nats-server");
    command.arg("-c").arg(&file).args(["-l", "/dev/null"]);
    let version = version("nats-server", &["--version"]).await;
    Recipe { name: "nats", version, speech: Speech::Nats, address, folder }.start(environment, command).await
}
