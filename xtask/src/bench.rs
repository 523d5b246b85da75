//! `cargo xtask bench`: benchmarks the hub and its peers in one run on this machine.
//!
//! Servers have one processor, the load generator has the others. The figures are only valid on an idle machine, so
//! this is not part of the gate.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{cargo, is_root, program, run, run_quietly, works};
use crate::workspace;

/// Debian packages of peers and tools, each with a file that shows that it is installed.
const PACKAGES: [(&str, &str); 7] = [
    ("mosquitto", "/usr/sbin/mosquitto"),
    ("nats-server", "/usr/sbin/nats-server"),
    ("rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server"),
    ("postgresql", "/usr/bin/psql"),
    // To build RMQTT.
    ("cmake", "/usr/bin/cmake"),
    ("protobuf-compiler", "/usr/bin/protoc"),
    ("e2fsprogs", "/usr/bin/chattr"),
];
/// Peers from crates.io, with the compared versions.
const CRATES: [(&str, &str); 2] = [("rumqttd", "0.20.0"), ("rmqttd", "0.24.0")];
/// The peer from npm.
const AEDES: &str = "aedes@1.2.0";

fn folder() -> PathBuf {
    workspace::target().join("bench")
}

pub(crate) fn run_command(arguments: &[String]) -> Result<()> {
    match arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("--install", [])) => install(),
        Some(("--charts", [])) => charts(),
        _ => measure(arguments),
    }
}

fn measure(arguments: &[String]) -> Result<()> {
    run(cargo().args(["build", "--release", "--package", "ferrohub", "--package", "ferrohub-bench"]))?;
    let processors = std::thread::available_parallelism()?.get();
    ensure!(processors > 1, "the benchmark needs at least two processors");
    let binary = workspace::target().join("release/ferrohub-bench");
    let mut bench = program("taskset".as_ref());
    bench.args(["-c", &format!("1-{}", processors - 1)]).arg(binary).args(["run", "--processor", "0"]);
    bench.arg("--hub").arg(workspace::target().join("release/ferrohub"));
    bench.arg("--peers").arg(folder().join("peers"));
    bench.arg("--report").arg(folder().join("report.json")).args(arguments);
    run(&mut bench)
}

/// Draws the charts of the last report into `docs/performance`, and copies the report there.
fn charts() -> Result<()> {
    let report = folder().join("report.json");
    let into = workspace::root().join("docs/performance");
    run(cargo()
        .args(["run", "--quiet", "--release", "--package", "ferrohub-bench", "--", "chart"])
        .arg(&report)
        .arg(&into))?;
    std::fs::copy(&report, into.join("report.json")).context("cannot copy the report")?;
    Ok(())
}

/// Installs the missing peers.
fn install() -> Result<()> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(_, program)| !std::path::Path::new(program).exists())
        .map(|(package, _)| *package)
        .collect();
    if !missing.is_empty() {
        if !is_root() {
            bail!("peers are missing: install the packages {}", missing.join(" "));
        }
        println!("   installing {}", missing.join(", "));
        // Run level 1 keeps the packages from starting services: each run starts its own servers.
        run_quietly(
            program("apt-get".as_ref())
                .args(["install", "--yes", "--no-install-recommends"])
                .args(missing)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .env("RUNLEVEL", "1"),
        )?;
    }
    let peers = folder().join("peers");
    for (name, version) in CRATES {
        if !peers.join("bin").join(name).exists() {
            println!("   building {name} {version} (once, a few minutes)");
            run(cargo()
                .args(["install", "--quiet", "--locked", name, "--version", version, "--root"])
                .arg(&peers)
                .env("CARGO_TARGET_DIR", folder().join("target")))?;
        }
    }
    let aedes = peers.join("aedes");
    if !aedes.join("node_modules/aedes").exists() {
        ensure!(works(program("npm".as_ref()).arg("--version")), "npm is missing: install Node.js with npm");
        std::fs::create_dir_all(&aedes)?;
        println!("   installing {AEDES}");
        run_quietly(
            program("npm".as_ref())
                .args(["install", "--no-fund", "--no-audit", "--prefix"])
                .arg(&aedes)
                .arg(AEDES),
        )?;
    }
    println!("   all peers are installed");
    Ok(())
}
