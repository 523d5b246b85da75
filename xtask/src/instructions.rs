//! `cargo xtask instructions`: counts the instructions of the hot paths and compares them with the record.
//!
//! Callgrind counts, so the load of the machine does not matter. An increase above the tolerance fails the gate; a
//! decrease prints a request to record it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{cargo, is_root, program, run, run_quietly, works};
use crate::workspace;

/// The relative increase above which the check fails.
const TOLERANCE: f64 = 0.10;
/// Iterations of the short and the long run. The difference excludes start and exit of the process.
const ITERATIONS: [u32; 2] = [500, 5500];

fn recorded_file() -> PathBuf {
    workspace::root().join("bench/instructions/recorded.txt")
}

/// Counts all paths and compares them with the record. `record` replaces the record first.
pub(crate) fn count(record: bool) -> Result<()> {
    install_valgrind()?;
    run(cargo().args(["build", "--quiet", "--profile", "counted", "--package", "ferrohub-instructions"]))?;
    let binary = workspace::target().join("counted/ferrohub-instructions");
    let paths = run_quietly(&mut program(&binary))?;
    let counted: BTreeMap<&str, u64> = paths
        .lines()
        .map(|path| Ok((path, instructions_per_iteration(&binary, path)?)))
        .collect::<Result<_>>()?;
    if record {
        let mut text = String::new();
        for (path, instructions) in &counted {
            let _ = writeln!(text, "{path} {instructions}");
        }
        fs::write(recorded_file(), text)?;
    }
    let text = fs::read_to_string(recorded_file())
        .context("no record in bench/instructions/recorded.txt; run `cargo xtask instructions --record`")?;
    let recorded: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(path, n)| Ok((path, n.parse()?)))
        .collect::<Result<_>>()?;
    ensure!(
        counted.keys().eq(recorded.keys()),
        "the hot paths differ from those in bench/instructions/recorded.txt; run `cargo xtask instructions --record`"
    );
    let mut increased = Vec::new();
    for ((path, now), before) in counted.iter().zip(recorded.values()) {
        let change = *now as f64 / *before as f64 - 1.0;
        println!("   {path:<20} {now:>7} instructions, {:+.1} % of {before}", change * 100.0);
        if change > TOLERANCE {
            increased.push(*path);
        } else if change < -TOLERANCE {
            println!(
                "   {path} needs fewer instructions; record it with `cargo xtask instructions --record`"
            );
        }
    }
    if !increased.is_empty() {
        bail!("over {:.0} % more instructions than recorded: {}", TOLERANCE * 100.0, increased.join(", "));
    }
    Ok(())
}

/// Returns the instructions of one iteration of a path.
fn instructions_per_iteration(binary: &std::path::Path, path: &str) -> Result<u64> {
    let mut totals = [0_u64; 2];
    for (total, iterations) in totals.iter_mut().zip(ITERATIONS) {
        let mut valgrind = program("valgrind".as_ref());
        // Valgrind logs the summary to standard error.
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(binary).arg(path);
        let output = valgrind.arg(iterations.to_string()).output().context("cannot start valgrind")?;
        let log = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{path}: {log}");
        let line = log.lines().find_map(|line| line.split_once("Collected : "));
        *total = line.context("valgrind printed no instruction count")?.1.trim().parse()?;
    }
    let [short, long] = totals;
    Ok(long.saturating_sub(short) / u64::from(ITERATIONS[1] - ITERATIONS[0]))
}

pub(crate) fn run_command(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => count(false),
        [flag] if flag == "--record" => count(true),
        _ => bail!("usage: cargo xtask instructions [--record]"),
    }
}

fn install_valgrind() -> Result<()> {
    if works(program("valgrind".as_ref()).arg("--version")) {
        return Ok(());
    }
    if !is_root() {
        bail!("valgrind is missing: install the package valgrind");
    }
    println!("   installing valgrind");
    run_quietly(program("apt-get".as_ref()).args([
        "install",
        "--yes",
        "--no-install-recommends",
        "valgrind",
    ]))
    .context("cannot install valgrind")?;
    Ok(())
}
