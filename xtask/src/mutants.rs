//! `cargo xtask mutants`: changes the rules of core in one place at a time, and shows which changes no test notices.
//!
//! Only core's own tests run, which need neither a disk nor a process. Each mutant is a build, so this takes hours for all
//! features and is not part of the gate. `docs/mutants.md` has the results.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::command::{cargo, program, run, works};
use crate::workspace;

/// The version that is installed. Another one may make other mutants.
const VERSION: &str = "27.1.0";
/// The features of core that are changed if none is named: those that decide who may do what, and those with the most rules.
const FEATURES: [&str; 6] = ["auth", "operations", "connections", "twins", "delivery", "methods"];
/// Exit codes of cargo-mutants: all mutants were caught, some were not, some took too long.
const COMPLETED: [i32; 3] = [0, 2, 3];

fn folder() -> PathBuf {
    workspace::target().join("mutants")
}

fn tool() -> PathBuf {
    folder().join("tools/bin/cargo-mutants")
}

pub(crate) fn run_command(arguments: &[String]) -> Result<()> {
    install()?;
    let named: Vec<&str> = arguments.iter().map(String::as_str).collect();
    for feature in if named.is_empty() { &FEATURES[..] } else { &named[..] } {
        mutate(feature)?;
    }
    Ok(())
}

/// Installs cargo-mutants into the target folder.
fn install() -> Result<()> {
    if works(program(&tool()).args(["mutants", "--version"])) {
        return Ok(());
    }
    println!("   installing cargo-mutants {VERSION}");
    run(cargo()
        .args(["install", "--quiet", "--locked", "cargo-mutants", "--version", VERSION, "--root"])
        .arg(folder().join("tools")))
}

/// Changes the files of a feature, and prints how many changes the tests of core have noticed.
fn mutate(feature: &str) -> Result<()> {
    let source = format!("crates/core/src/{feature}");
    let is_feature = ["", ".rs"].iter().any(|end| workspace::root().join(format!("{source}{end}")).exists());
    ensure!(is_feature, "unknown feature `{feature}`: core has neither {source} nor {source}.rs");
    let output = folder().join(feature);
    fs::create_dir_all(&output)?;
    let mut mutants = program(&tool());
    mutants
        .args(["mutants", "--package", "ferrohub-core", "--test-package", "ferrohub-core"])
        .args(["--test-tool", "nextest", "--colors", "never", "--no-times", "--baseline", "run"])
        .args(["--file", &format!("{source}.rs"), "--file", &format!("{source}/**/*.rs")])
        // What is only for people who read a log.
        .args(["--exclude-re", "impl .*Debug for|impl .*Display for"])
        .arg("--output")
        .arg(&output);
    let status = mutants.status().context("cannot start cargo-mutants")?;
    ensure!(
        status.code().is_some_and(|code| COMPLETED.contains(&code)),
        "cargo-mutants failed: {status}; see {}",
        output.join("mutants.out/log").display()
    );
    let report = fs::read(output.join("mutants.out/outcomes.json")).context("cannot read the outcomes")?;
    println!("   {}", summary(feature, &serde_json::from_slice(&report)?)?);
    Ok(())
}

/// Returns the row of a feature in the table of `docs/mutants.md`. A mutant that does not compile does not count.
fn summary(feature: &str, outcomes: &Value) -> Result<String> {
    let number =
        |name: &str| outcomes[name].as_u64().with_context(|| format!("the outcomes have no number `{name}`"));
    let (caught, missed, slow) = (number("caught")?, number("missed")?, number("timeout")?);
    let viable = caught + missed + slow;
    let percent = 100.0 * missed as f64 / viable.max(1) as f64;
    Ok(format!("| `{feature}` | {viable} | {} | {missed} | {percent:.1} % |", caught + slow))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn mutants_that_are_caught_or_never_end_are_not_missed() {
        let outcomes =
            json!({ "total_mutants": 50, "caught": 36, "missed": 2, "timeout": 2, "unviable": 10 });
        assert_eq!(summary("auth", &outcomes).unwrap(), "| `auth` | 40 | 38 | 2 | 5.0 % |");
        assert!(summary("auth", &json!({ "caught": 1, "missed": 0 })).is_err());
    }
}
