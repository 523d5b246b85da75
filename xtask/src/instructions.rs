//! `cargo xtask instructions`: what the hot paths cost in instructions, beside what they cost when they were recorded.
//!
//! Counted by callgrind, so the clock and other programs have no part in it. A jump fails the gate; a path that became
//! cheaper asks to be recorded.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{cargo, is_root, program, run, run_quietly, works};
use crate::workspace;

/// A jump of more than this part fails.
const TOLERANCE: f64 = 0.10;
/// Turns of the short and the long run; what start and end cost is in both.
const ITERATIONS: [u32; 2] = [500, 5500];

fn recorded_file() -> PathBuf {
    workspace::root().join("bench/instructions/recorded.txt")
}

/// Counts all paths and holds them against the record, or records them.
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
    let text = fs::read_to_string(recorded_file()).context("nothing is recorded: --record")?;
    let recorded: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(path, n)| Ok((path, n.parse()?)))
        .collect::<Result<_>>()?;
    ensure!(
        counted.keys().eq(recorded.keys()),
        "the paths are not those in bench/instructions/recorded.txt: record them with --record"
    );
    let mut jumped = Vec::new();
    for ((path, now), before) in counted.iter().zip(recorded.values()) {
        let change = *now as f64 / *before as f64 - 1.0;
        println!("   {path:<20} {now:>7} instructions, {:+.1} % of {before}", change * 100.0);
        if change > TOLERANCE {
            jumped.push(*path);
        } else if change < -TOLERANCE {
            println!("   {path} became cheaper: keep that with `cargo xtask instructions --record`");
        }
    }
    if !jumped.is_empty() {
        bail!("more than {:.0} % more instructions than recorded: {}", TOLERANCE * 100.0, jumped.join(", "));
    }
    Ok(())
}

/// Instructions of one turn of a path.
fn instructions_per_iteration(binary: &std::path::Path, path: &str) -> Result<u64> {
    let mut totals = [0_u64; 2];
    for (total, iterations) in totals.iter_mut().zip(ITERATIONS) {
        let mut valgrind = program("valgrind".as_ref());
        // The summary goes to its log, which is its standard error.
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(binary).arg(path);
        let output = valgrind.arg(iterations.to_string()).output().context("cannot start valgrind")?;
        let log = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{path}: {log}");
        let line = log.lines().find_map(|line| line.split_once("Collected : "));
        *total = line.context("valgrind told no count")?.1.trim().parse()?;
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
        bail!("instructions are counted by valgrind: install the package valgrind");
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
