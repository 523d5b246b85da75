//! NATS, from Debian's package, with its own protocol.

use tokio::process::Command;

use super::{Environment, Protocol, Server, ServerSpec, free_address, version};

/// Durability of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// No streams.
    None,
    /// The default: an acknowledged message is in the page cache, and on disk two minutes later.
    Default,
    /// Like `sync_interval: always`, which Debian's version does not support. Instead, the folder has the attribute
    /// `S`, so that the file system writes synchronously.
    Always,
}

pub(crate) async fn start(environment: &Environment) -> anyhow::Result<Server> {
    start_with(environment, Durability::None).await
}

/// Starts a server with streams, unless `durability` is [`Durability::None`].
pub(crate) async fn start_with(environment: &Environment, durability: Durability) -> anyhow::Result<Server> {
    start_as(environment, durability, Protocol::Nats).await
}

/// Starts a server with streams and its MQTT listener, which stores QoS 1 messages in a stream before PUBACK.
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
            anyhow::ensure!(marked.success(), "chattr +S failed: the file system does not support it");
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
