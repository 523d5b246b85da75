//! Paths: the workspace, its build output, the Python environment.

use std::path::{Path, PathBuf};

/// Returns the root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Returns the target directory of cargo, which `CARGO_TARGET_DIR` may set.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(moved) => root().join(moved),
        None => root().join("target"),
    }
}

/// Returns the folder with the wheels of the clients, from which a test installs them without a network.
pub(crate) fn wheels() -> PathBuf {
    target().join("wheels")
}

/// Returns the Python environment with the clients for the acceptance tests.
pub(crate) fn venv() -> PathBuf {
    target().join("venv")
}
