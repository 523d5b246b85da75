//! NATS, from Debian's package, with its own protocol.

use tokio::process::Command;

use super::{Environment, Protocol, Server, ServerSpec, free_address, version};

/// How the server keeps streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It keeps none.
    None,
    /// As it comes: an acknowledged message is in the operating system's memory, on disk two minutes later.
    Default,
    /// `sync_interval: always`, which Debian's version does not know; there the folder is marked so that the
    /// file system writes each message to the disk before the server goes on.
    Always,
}

pub(crate) async fn start(environment: &Environment) -> anyhow::Result<Server> {
    start_with(environment, Durability::None).await
}

/// With streams, unless `durability` is [`Durability::None`].
pub(crate) async fn start_with(environment: &Environment, durability: Durability) -> anyhow::Result<Server> {
    start_as(environment, durability, Protocol::Nats).await
}

/// With streams and its MQTT listener, which keeps messages of QoS 1 in one of them before it acknowledges them.
pub(crate) async fn start_mqtt(environment: &Environment, durability: Durability) -> anyhow::Result<Server> {
    start_as(environment, durability, Protocol::Broker { login: None }).await
}

async fn start_as(
    environment: &Environment,
    durability: Durability,
    protocol: Protocol,
) -> anyhow::Result<Server> {
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    let file = folder.path().join("nats.conf");
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?} }}",
        environment.pki.certificate, environment.pki.key
    );
    let mut configuration = match &protocol {
        Protocol::Nats => format!("listen: \"{address}\"\n{tls}\n"),
        _ => format!(
            "server_name: bench\nlisten: \"{}\"\nmqtt {{ listen: \"{address}\"\n{tls} }}\n",
            free_address()?
        ),
    };
    configuration += "max_connections: 1000000\n";
    if durability != Durability::None {
        let store = folder.path().join("jetstream");
        std::fs::create_dir(&store)?;
        if durability == Durability::Always {
            let marked = Command::new("chattr").arg("+S").arg(&store).status().await?;
            anyhow::ensure!(marked.success(), "chattr +S is not possible here");
        }
        configuration += &format!("jetstream {{ store_dir: {store:?}, max_file_store: 8GB }}\n");
    }
    std::fs::write(&file, configuration)?;
    let mut command = Command::new("nats-server");
    command.arg("-c").arg(&file).args(["-l", "/dev/null"]);
    let version = version("nats-server", &["--version"]).await;
    let name = match durability {
        Durability::None => "nats",
        Durability::Default => "nats jetstream, not synced",
        Durability::Always => "nats jetstream, synced",
    };
    ServerSpec { name, version, protocol, address, folder, helpers: Vec::new() }
        .start(environment, command)
        .await
}
