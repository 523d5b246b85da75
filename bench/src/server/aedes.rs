//! Aedes, from npm: a broker library, in a minimal program.

use anyhow::ensure;
use tokio::process::Command;

use super::{Environment, Protocol, Server, ServerSpec, free_address};

/// Versions of the package differ in how a broker is created; the program supports both.
const PROGRAM: &str = "\
const fs = require('fs');
const tls = require('tls');
const { Aedes } = require('aedes');
const [certificate, key, host, port] = process.argv.slice(2);
(async () => {
  const broker = Aedes.createBroker ? await Aedes.createBroker() : new Aedes();
  const options = { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) };
  tls.createServer(options, broker.handle).listen({ host, port, backlog: 4096 });
})();
";

pub(crate) async fn start(environment: &Environment) -> anyhow::Result<Server> {
    let modules = environment.peers.join("aedes/node_modules");
    let package = modules.join("aedes/package.json");
    ensure!(package.exists(), "{} is missing; run `cargo xtask bench --install`", package.display());
    let described: serde_json::Value = serde_json::from_slice(&std::fs::read(&package)?)?;
    let version =
        described.get("version").and_then(|version| version.as_str()).unwrap_or("unknown").to_owned();
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    let program = folder.path().join("broker.js");
    std::fs::write(&program, PROGRAM)?;
    let mut command = Command::new("node");
    command
        .arg(&program)
        .arg(&environment.pki.certificate)
        .arg(&environment.pki.key)
        .args([address.ip().to_string(), address.port().to_string()])
        .env("NODE_PATH", std::path::absolute(&modules)?);
    ServerSpec {
        name: "aedes",
        version,
        protocol: Protocol::Broker { login: None },
        address,
        folder,
        helpers: Vec::new(),
    }
    .start(environment, command)
    .await
}
