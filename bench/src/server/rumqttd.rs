//! rumqttd, from crates.io.

use tokio::process::Command;

use super::{Environment, Protocol, Server, ServerSpec, free_address, version};

pub(crate) async fn start(environment: &Environment) -> anyhow::Result<Server> {
    let program = environment.peer("rumqttd")?;
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    let configuration = format!(
        "id = 0\n\
         [router]\n\
         id = 0\n\
         max_connections = 1000000\n\
         max_outgoing_packet_count = 200\n\
         max_segment_size = 104857600\n\
         max_segment_count = 10\n\
         [v4.1]\n\
         name = \"tls\"\n\
         listen = \"{address}\"\n\
         next_connection_delay_ms = 0\n\
         [v4.1.tls]\n\
         certpath = {:?}\n\
         keypath = {:?}\n\
         [v4.1.connections]\n\
         connection_timeout_ms = 60000\n\
         max_payload_size = 262144\n\
         max_inflight_count = 100\n\
         dynamic_filters = true\n",
        environment.pki.certificate, environment.pki.key,
    );
    let file = folder.path().join("rumqttd.toml");
    std::fs::write(&file, configuration)?;
    let mut command = Command::new(&program);
    command.arg("-q").arg("-c").arg(&file);
    let version = version(&program, &["--version"]).await;
    ServerSpec {
        name: "rumqttd",
        version,
        protocol: Protocol::Broker { login: None },
        address,
        folder,
        helpers: Vec::new(),
    }
    .start(environment, command)
    .await
}
