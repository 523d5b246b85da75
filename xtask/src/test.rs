//! `cargo xtask test`: the gate.
//!
//! Fast steps come first, so that simple mistakes are reported within seconds. The first step that fails ends the run.

mod privileged_ports;
mod steps;

use anyhow::{Context as _, Result, bail};

use crate::command::{cargo, run, run_quietly, works};
use crate::{check, clients, fuzz, instructions};
use privileged_ports::PrivilegedPorts;
use steps::Steps;

/// Number of seeds of each test in `tests/power-loss` with `--full`. The gate runs about a hundred.
const FULL_POWER_LOSS_SEEDS: &str = "3000";

/// Number of lines of a large import with `--full`. The gate imports 100,000.
const FULL_IMPORT_LINES: &str = "1000000";

struct Options {
    quick: bool,
    full: bool,
    /// Arguments for nextest, as given after `--`.
    filter: Vec<String>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self { quick: false, full: false, filter: Vec::new() };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--full" => options.full = true,
                "--" => options.filter = arguments.by_ref().cloned().collect(),
                other => bail!("unknown argument `{other}` of `cargo xtask test`; see `cargo xtask help`"),
            }
        }
        if options.quick && options.full {
            bail!("`--quick` and `--full` exclude each other");
        }
        Ok(options)
    }
}

fn gate(options: &Options, steps: &mut Steps) -> Result<()> {
    steps.step("clients", || {
        println!("   {}", clients::prepare()?);
        Ok(())
    })?;
    steps.step("format", || {
        run(cargo().args(["fmt", "--all", "--check"]))?;
        run(cargo().args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))
    })?;
    steps.step("layers", || {
        println!("   {}", check::layers()?);
        Ok(())
    })?;
    steps.step("lints", || {
        run(cargo()
            .args(["clippy", "--quiet", "--workspace", "--all-targets"])
            .args(["--", "-D", "warnings"]))
    })?;
    steps.step("build", || {
        // The acceptance tests run this binary.
        run(cargo().args(["build", "--quiet", "--package", "ferrohub"]))?;
        install_nextest()?;
        run(cargo().args(["nextest", "run", "--workspace", "--no-run", "--cargo-quiet"]))
    })?;
    steps.step("tests", || {
        let ports = PrivilegedPorts::detect()?;
        run(ports.cargo().args(["nextest", "run", "--workspace", "--cargo-quiet"]).args(&options.filter))
    })?;
    if options.quick {
        return Ok(());
    }
    steps.step("instructions of the hot paths", || instructions::count(false))?;
    steps.step("fuzzing", || fuzz::fuzz(fuzz::GATE_DURATION, None))?;
    if options.full {
        steps.step("many power losses", || {
            // Each test runs for minutes, which the profile of the gate does not allow.
            run(cargo()
                .args(["nextest", "run", "--package", "ferrohub-power-loss", "--cargo-quiet"])
                .args(["--profile", "long"])
                .env("POWER_LOSS_SEEDS", FULL_POWER_LOSS_SEEDS))
        })?;
        steps.step("large import", || {
            let ports = PrivilegedPorts::detect()?;
            run(ports
                .cargo()
                .args(["nextest", "run", "--package", "ferrohub-acceptance", "--cargo-quiet"])
                .args(["--profile", "long", "--filterset", "test(a_killed_hub_continues_an_import)"])
                .env("IMPORT_LINES", FULL_IMPORT_LINES))
        })?;
    }
    steps.step("examples in the documentation", || {
        run(cargo().args(["test", "--quiet", "--doc", "--workspace"]))
    })?;
    steps.step("documentation", || {
        run(cargo().args(["doc", "--quiet", "--no-deps", "--workspace"]).env("RUSTDOCFLAGS", "-D warnings"))
    })
}

pub(crate) fn run_command(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let mut steps = Steps::start();
    let result = gate(&options, &mut steps);
    steps.finish(result.is_ok());
    result
}

fn install_nextest() -> Result<()> {
    if works(cargo().args(["nextest", "--version"])) {
        return Ok(());
    }
    println!("   building cargo-nextest (once, a few minutes)");
    run_quietly(cargo().args(["install", "--quiet", "--locked", "cargo-nextest"]))
        .context("cannot install cargo-nextest")?;
    Ok(())
}
