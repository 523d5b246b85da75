//! The hub.

use std::path::Path;

use anyhow::Context as _;
use ferrohub_model::{SharedAccessKey, Timestamp, sas};
use tempfile::TempDir;
use tokio::process::Command;

use super::{Environment, Protocol, Server, ServerSpec, free_address};

const POLICY: &str = "bench";

/// Files and addresses of a hub that is not started yet.
pub(crate) struct Hub {
    pub(crate) folder: TempDir,
    pub(crate) admin: std::net::SocketAddr,
    listen: (std::net::SocketAddr, std::net::SocketAddr),
    amqp: (std::net::SocketAddr, (String, String)),
    token: String,
}

impl Hub {
    /// Writes a configuration. It differs from the defaults in names, addresses and credentials,
    /// and in the number of connections of one caller.
    pub(crate) fn prepare(environment: &Environment) -> anyhow::Result<Self> {
        Self::prepare_with(environment, "")
    }

    /// Writes a configuration with further settings.
    pub(crate) fn prepare_with(environment: &Environment, settings: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (mqtt, amqp) = (free_address()?, free_address()?);
        let (https, admin) = (free_address()?, free_address()?);
        let (primary, secondary) = (SharedAccessKey::generate(), SharedAccessKey::generate());
        let configuration = format!(
            "hostname = \"localhost\"\n\
             data_dir = \"data\"\n\
             listen = {{ mqtt = \"{mqtt}\", amqp = \"{amqp}\", https = \"{https}\", admin = \"{admin}\" }}\n\
             tls = {{ certificate = {:?}, private_key = {:?} }}\n\
             limits = {{ https_connections_per_caller = 4096, amqp_connections_per_caller = 4096 }}\n\
             {settings}\n\
             [[policy]]\n\
             name = \"{POLICY}\"\n\
             primary_key = \"{}\"\n\
             secondary_key = \"{}\"\n\
             rights = [\"RegistryRead\", \"RegistryWrite\", \"ServiceConnect\", \"DeviceConnect\"]\n",
            environment.pki.certificate,
            environment.pki.key,
            primary.to_base64(),
            secondary.to_base64(),
        );
        std::fs::write(folder.path().join("ferrohub.toml"), configuration)?;
        let expiry = Timestamp::from_unix_seconds(4_102_444_800);
        let token = sas::sign("localhost", &primary, Some(POLICY), expiry);
        let amqp = (amqp, (POLICY.to_owned(), primary.to_base64()));
        Ok(Self { folder, admin, listen: (mqtt, https), amqp, token })
    }

    /// Returns the data folder.
    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// Returns the command that runs the hub.
    pub(crate) fn command(&self, program: &Path) -> anyhow::Result<Command> {
        let program = program
            .canonicalize()
            .with_context(|| format!("cannot find {}; build it first", program.display()))?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(self.folder.path().join("ferrohub.toml"));
        // The default log level is on. The log goes to the same file as the output of all servers.
        command.current_dir(self.folder.path());
        Ok(command)
    }

    /// Starts the hub.
    pub(crate) async fn start(
        self,
        name: &'static str,
        program: &Path,
        environment: &Environment,
    ) -> anyhow::Result<Server> {
        let command = self.command(program)?;
        let (address, https) = self.listen;
        let protocol = Protocol::Hub {
            host: "localhost".to_owned(),
            https,
            token: self.token,
            admin: Some(self.admin),
            amqp: Some(self.amqp),
        };
        let version = super::version(program, &["--version"]).await;
        ServerSpec { name, version, protocol, address, folder: self.folder, helpers: Vec::new() }
            .start(environment, command)
            .await
    }
}

/// Starts a hub with an empty data folder.
pub(crate) async fn start(environment: &Environment) -> anyhow::Result<Server> {
    Hub::prepare(environment)?.start("ferrohub", &environment.hub, environment).await
}
