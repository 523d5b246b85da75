//! The Python environment of the acceptance tests.
//!
//! It contains Microsoft's unmodified packages, in the versions that `tests/python/requirements.txt` pins. A copy of
//! that file inside the environment records what is installed, so a second run does nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::command::{is_root, program, run_quietly, works};
use crate::workspace;

/// Installs the pinned packages. Returns a message that says what was done.
pub(crate) fn prepare() -> Result<&'static str> {
    let requirements = workspace::root().join("tests/python/requirements.txt");
    let wanted =
        fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let done = prepare_venv(&requirements, &wanted)?;
    prepare_wheels(&requirements, &wanted)?;
    Ok(done)
}

fn prepare_venv(requirements: &Path, wanted: &[u8]) -> Result<&'static str> {
    let venv = workspace::venv();
    let stamp = venv.join("installed-requirements.txt");
    let python = venv.join("bin/python");
    let installed = fs::read(&stamp).ok();
    if installed.as_deref() == Some(wanted) && works(program(&python).arg("--version")) {
        return Ok("the Python clients are up to date");
    }
    // An environment that is incomplete or outdated is rebuilt from scratch.
    if venv.exists() {
        fs::remove_dir_all(&venv).with_context(|| format!("cannot remove the old {}", venv.display()))?;
    }
    create(&venv)?;
    run_quietly(
        program(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            // Everything is pinned: packages that are not in the file must not be installed.
            .args(["--no-deps", "--requirement"])
            .arg(requirements),
    )
    .context("cannot install the Python clients")?;
    run_quietly(program(&python).args(["-m", "pip", "--disable-pip-version-check", "check"]))
        .context("tests/python/requirements.txt has conflicting versions")?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok("installed the Python clients")
}

/// Downloads the packages as wheels, so that the test of the README's commands installs them without a network.
fn prepare_wheels(requirements: &Path, wanted: &[u8]) -> Result<()> {
    let wheels = workspace::wheels();
    let stamp = wheels.join("requirements.txt");
    if fs::read(&stamp).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    if wheels.exists() {
        fs::remove_dir_all(&wheels).with_context(|| format!("cannot remove the old {}", wheels.display()))?;
    }
    run_quietly(
        program(&workspace::venv().join("bin/python"))
            .args(["-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"])
            .arg("--wheel-dir")
            .arg(&wheels)
            .arg("--requirement")
            .arg(requirements),
    )
    .context("cannot download the Python clients")?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

fn create(venv: &Path) -> Result<()> {
    let make = || run_quietly(program(Path::new("python3")).args(["-m", "venv"]).arg(venv));
    let Err(error) = make() else { return Ok(()) };
    // On Debian, the module is in a separate package.
    let has_apt = works(Command::new("apt-get").arg("--version"));
    ensure!(
        has_apt && is_root(),
        "{error:#}\nPython 3 with its `venv` module is needed (on Debian: apt-get install python3-venv)"
    );
    println!("   `python3 -m venv` does not work: installing Debian's python3-venv");
    let _ = fs::remove_dir_all(venv);
    let apt = |arguments: &[&str]| {
        run_quietly(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
    };
    apt(&["update", "--quiet"])?;
    apt(&["install", "--yes", "--no-install-recommends", "python3-venv"])?;
    make().context("`python3 -m venv` does not work, even with Debian's python3-venv")?;
    Ok(())
}
