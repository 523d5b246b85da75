//! `cargo xtask clients`, the half for Node.js: Microsoft's Node SDKs and the emulator of Azure Storage.
//!
//! `tests/node/package-lock.json` pins every package. A copy of it inside `target/node` says what is installed,
//! so a second run does nothing.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::command::{program, run_quietly, works};
use crate::workspace;

/// What `npm ci` needs.
const MANIFESTS: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// Installs the pinned packages into `target/node`. Returns what was done, for people.
pub(crate) fn prepare() -> Result<&'static str> {
    let source = workspace::root().join("tests/node");
    let folder = workspace::target().join("node");
    let wanted =
        fs::read(source.join("package-lock.json")).context("cannot read the lock file of tests/node")?;
    let stamp = folder.join("installed-package-lock.json");
    if fs::read(&stamp).ok().as_deref() == Some(wanted.as_slice()) {
        return Ok("the Node clients are up to date");
    }
    ensure!(
        works(program("npm".as_ref()).arg("--version")),
        "Node.js with npm is needed (on Debian: apt-get install nodejs npm)"
    );
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove the old {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for name in MANIFESTS {
        fs::copy(source.join(name), folder.join(name)).with_context(|| format!("cannot copy {name}"))?;
    }
    run_quietly(
        program("npm".as_ref())
            .args(["ci", "--no-fund", "--no-audit", "--ignore-scripts", "--prefix"])
            .arg(&folder),
    )
    .context("cannot install the Node clients")?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok("installed the Node clients")
}
