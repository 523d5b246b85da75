//! `cargo xtask fuzz`: runs libFuzzer on the targets under `fuzz/`.
//!
//! The coverage instrumentation uses passes of the stable compiler, so neither a nightly toolchain nor cargo-fuzz is
//! needed.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::command::{cargo, is_root, program, run, run_quietly, works};
use crate::workspace;

/// Time that the gate fuzzes each target.
pub(crate) const GATE_DURATION: Duration = Duration::from_secs(10);

/// Compiler flags for coverage: they report to libFuzzer which branches an input takes, and the operands of
/// comparisons.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions";

/// Returns the names of all targets: the source files under `fuzz/fuzz_targets`.
fn targets() -> Result<Vec<String>> {
    let folder = workspace::root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let names = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        Some(path.file_stem()?.to_str()?.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

/// Builds all targets and runs each, or `only` one, for `time`.
pub(crate) fn fuzz(time: Duration, only: Option<&str>) -> Result<()> {
    install_cpp_compiler()?;
    let folder = workspace::root().join("target/fuzz");
    // With an explicit target, cargo does not apply RUSTFLAGS to build scripts.
    let host = run_quietly(program("rustc".as_ref()).args(["--print", "host-tuple"]))?;
    run(cargo()
        .args(["build", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml"])
        .args(["--target", host.trim()])
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", COVERAGE))?;
    let targets = targets()?;
    if let Some(name) = only
        && !targets.iter().any(|target| target == name)
    {
        bail!("unknown fuzz target `{name}`; valid are {}", targets.join(", "));
    }
    for target in targets.iter().filter(|target| only.is_none_or(|name| name == *target)) {
        // The corpus is kept: each run starts with the inputs that earlier runs found.
        let corpus = folder.join("corpus").join(target);
        fs::create_dir_all(&corpus)?;
        let mut fuzzer = program(&folder.join(host.trim()).join("release").join(target));
        fuzzer.arg(&corpus).arg(format!("-artifact_prefix={}/{target}-", folder.display())).args([
            &format!("-max_total_time={}", time.as_secs()),
            "-max_len=4096",
            "-timeout=10",
            "-rss_limit_mb=1024",
            "-verbosity=0",
        ]);
        run_quietly(&mut fuzzer).with_context(|| format!("the fuzz target `{target}` failed"))?;
        println!("   {target}: {} s", time.as_secs());
    }
    Ok(())
}

pub(crate) fn run_command(arguments: &[String]) -> Result<()> {
    let (target, seconds) = match arguments {
        [] => (None, None),
        [target] => (Some(target.as_str()), None),
        [target, seconds] => (Some(target.as_str()), Some(seconds)),
        _ => bail!("usage: cargo xtask fuzz [TARGET [SECONDS]]"),
    };
    let time = match seconds {
        Some(seconds) => Duration::from_secs(seconds.parse().context("SECONDS must be a whole number")?),
        None => GATE_DURATION,
    };
    fuzz(time, target)
}

/// libFuzzer is written in C++.
fn install_cpp_compiler() -> Result<()> {
    if works(program("c++".as_ref()).arg("--version")) {
        return Ok(());
    }
    if !is_root() {
        bail!("the fuzz targets need a C++ compiler: install the package g++");
    }
    println!("   installing g++");
    run_quietly(program("apt-get".as_ref()).args(["install", "--yes", "--no-install-recommends", "g++"]))
        .context("cannot install g++")?;
    Ok(())
}
