//! `cargo xtask clients`: Microsoft's packages, exactly as published, in pinned versions.

mod node;
mod python;

use anyhow::{Result, ensure};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "`cargo xtask clients` takes no arguments");
    println!("{}", prepare()?);
    Ok(())
}

/// Installs what is pinned. Returns what was done, for people.
pub(crate) fn prepare() -> Result<String> {
    Ok(format!("{}, {}", python::prepare()?, node::prepare()?))
}
