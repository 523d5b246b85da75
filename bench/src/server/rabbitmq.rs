//! RabbitMQ with its MQTT plugin, or with its plugin for AMQP 1.0, from Debian's package.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::process::Command;

use super::{Environment, Protocol, Server, ServerSpec, free_address};

/// Starts it with MQTT.
pub(crate) async fn start(environment: &Environment) -> anyhow::Result<Server> {
    let (address, amqp) = (free_address()?, free_address()?);
    let listeners = format!(
        "listeners.tcp.1 = {amqp}\n\
         mqtt.listeners.tcp = none\n\
         mqtt.listeners.ssl.1 = {address}\n\
         mqtt.allow_anonymous = false\n\
         mqtt.tcp_listen_options.backlog = 4096\n\
         mqtt.tcp_listen_options.nodelay = true\n"
    );
    start_with(environment, "rabbitmq_mqtt", address, amqp, &listeners).await
}

/// Starts it with AMQP 1.0.
pub(crate) async fn start_amqp(environment: &Environment) -> anyhow::Result<Server> {
    let (address, plain) = (free_address()?, free_address()?);
    let listeners = format!("listeners.tcp.1 = {plain}\nlisteners.ssl.1 = {address}\n");
    start_with(environment, "rabbitmq_amqp1_0", address, plain, &listeners).await
}

/// `node` is the address of its own protocol.
async fn start_with(
    environment: &Environment,
    plugin: &str,
    address: SocketAddr,
    node: SocketAddr,
    listeners: &str,
) -> anyhow::Result<Server> {
    let folder = tempfile::tempdir()?;
    let distribution = free_address()?;
    let configuration = format!(
        "{listeners}\
         ssl_options.cacertfile = {}\n\
         ssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\n\
         ssl_options.verify = verify_none\n\
         ssl_options.fail_if_no_peer_cert = false\n\
         loopback_users = none\n\
         log.console = false\n\
         log.file.level = error\n",
        environment.pki.ca.display(),
        environment.pki.certificate.display(),
        environment.pki.key.display(),
    );
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("rabbitmq.conf"), configuration)?;
    std::fs::write(path("plugins"), format!("[{plugin}].\n"))?;
    // The script in /usr/sbin changes to the user of the package; this one does not.
    let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
    command
        // Crash dumps are written to the current folder.
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env("RABBITMQ_NODENAME", format!("bench{}@localhost", address.port()))
        .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"))
        .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
        .env("RABBITMQ_LOG_BASE", path("log"))
        .env("RABBITMQ_PID_FILE", path("pid"))
        .env("RABBITMQ_NODE_PORT", node.port().to_string())
        .env("RABBITMQ_DIST_PORT", distribution.port().to_string());
    // A separate epmd, Erlang's name server: otherwise the first node starts one that keeps running.
    let names = free_address()?.port().to_string();
    let mut name_server = Command::new("epmd");
    name_server.args(["-port", &names, "-address", "127.0.0.1"]);
    let helpers = vec![environment.spawn(name_server, Stdio::null())?];
    command.env("ERL_EPMD_PORT", &names);
    let version = version().await;
    let protocol = Protocol::Broker { login: Some(("guest".to_owned(), "guest".to_owned())) };
    ServerSpec { name: "rabbitmq", version, protocol, address, folder, helpers }
        .start(environment, command)
        .await
}

/// Returns the version of Debian's package; asking the program takes seconds.
async fn version() -> String {
    let output = Command::new("dpkg-query").args(["-W", "-f=${Version}", "rabbitmq-server"]).output().await;
    output
        .map_or_else(|_| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
}
