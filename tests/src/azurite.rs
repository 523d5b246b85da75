//! An Azure Storage account in Azurite, Microsoft's emulator.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Address;
use crate::python::target_dir;

const NAME: &str = "account1";
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw==";
const PORT: u16 = 10000;

/// A running emulator, killed on drop.
pub struct Azurite {
    child: Child,
    address: Address,
    _folder: TempDir,
}

impl Azurite {
    /// Starts an emulator with one account and no container, on its own address.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        let program = target_dir().join("node/node_modules/azurite/dist/src/blob/main.js");
        assert!(program.exists(), "{} is missing: run `cargo xtask clients` once", program.display());
        let (address, folder) =
            (Address::reserve(), TempDir::new().expect("cannot create a folder for the emulator"));
        let child = Command::new("node")
            .arg(program)
            .args(["--blobHost", &address.ip().to_string(), "--blobPort", &PORT.to_string()])
            .args(["--skipApiVersionCheck", "--disableProductStyleUrl", "--disableTelemetry", "--silent"])
            .arg("--location")
            .arg(folder.path())
            .env("AZURITE_ACCOUNTS", format!("{NAME}:{KEY}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // Node would make the standard error of the test non-blocking.
            .stderr(Stdio::null())
            .spawn()
            .expect("cannot start node");
        let azurite = Self { child, address, _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect((azurite.address.ip(), PORT)).is_err() {
            assert!(Instant::now() < deadline, "the emulator did not start within 60 s");
            std::thread::sleep(Duration::from_millis(50));
        }
        azurite
    }

    /// Returns the connection string of the account.
    #[must_use]
    pub fn connection_string(&self) -> String {
        self.connection_string_with(KEY)
    }

    /// Returns the connection string of the account with another key.
    #[must_use]
    pub fn connection_string_with(&self, key: &str) -> String {
        let ip = self.address.ip();
        format!("AccountName={NAME};AccountKey={key};BlobEndpoint=http://{ip}:{PORT}/{NAME};")
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
