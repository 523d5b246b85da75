//! RMQTT, from crates.io.

use tokio::process::Command;

use super::{Environment, Protocol, Server, ServerSpec, free_address, version};

pub(crate) async fn start(environment: &Environment) -> anyhow::Result<Server> {
    let program = environment.peer("rmqttd")?;
    let folder = tempfile::tempdir()?;
    let (address, plain, rpc) = (free_address()?, free_address()?, free_address()?);
    let configuration = format!(
        "[log]\n\
         to = \"off\"\n\
         [rpc]\n\
         server_addr = \"{rpc}\"\n\
         [listener.tcp.plain]\n\
         addr = \"{plain}\"\n\
         allow_anonymous = true\n\
         [listener.tls.external]\n\
         addr = \"{address}\"\n\
         allow_anonymous = true\n\
         max_connections = 1000000\n\
         max_handshaking_limit = 10000\n\
         nodelay = true\n\
         cert = {:?}\n\
         key = {:?}\n",
        environment.pki.certificate, environment.pki.key,
    );
    let file = folder.path().join("rmqtt.toml");
    std::fs::write(&file, configuration)?;
    let mut command = Command::new(&program);
    command.arg("-f").arg(&file).current_dir(folder.path());
    let version = version(&program, &["--version"]).await;
    ServerSpec {
        name: "rmqttd",
        version,
        protocol: Protocol::Broker { login: None },
        address,
        folder,
        helpers: Vec::new(),
    }
    .start(environment, command)
    .await
}
