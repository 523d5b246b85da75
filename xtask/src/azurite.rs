//! Installs Azurite, Microsoft's emulator of Azure Storage, for the tests of a configured storage account.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::command::{program, run_quietly, works};
use crate::workspace;

/// Package and version on npm.
const AZURITE: &str = "azurite@3.37.0";

/// Installs the pinned version into `target/azurite`. Returns a message that says what was done.
pub(crate) fn prepare() -> Result<&'static str> {
    let folder = workspace::target().join("azurite");
    let stamp = folder.join("installed.txt");
    if fs::read(&stamp).ok().as_deref() == Some(AZURITE.as_bytes()) {
        return Ok("Azurite is up to date");
    }
    ensure!(works(program("npm".as_ref()).arg("--version")), "npm is missing: install Node.js with npm");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove the old {}", folder.display()))?;
    }
    fs::create_dir_all(&folder)?;
    run_quietly(
        program("npm".as_ref())
            .args(["install", "--no-fund", "--no-audit", "--ignore-scripts", "--prefix"])
            .arg(&folder)
            .arg(AZURITE),
    )
    .context("cannot install Azurite")?;
    fs::write(&stamp, AZURITE)?;
    Ok("installed Azurite")
}
