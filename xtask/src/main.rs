//! Developer commands, one file each: `cargo xtask <command>`.
//!
//! `cargo xtask test` is the gate: a change can be merged if and only if it passes.
#![allow(clippy::print_stdout, reason = "a command-line tool prints its results")]

mod bench;
mod check;
mod clients;
mod command;
mod fuzz;
mod instructions;
mod mutants;
mod test;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
Developer commands of Ferrohub

  cargo xtask test [--quick | --full] [-- FILTER...]
        The gate: clients, format, layers, lints, tests, instruction counts, fuzzing,
        documentation. --quick stops after the tests; --full adds thousands of power losses;
        FILTER is passed to nextest.

  cargo xtask check
        Checks the layers: which crate may depend on which (from `cargo metadata`).

  cargo xtask fuzz [TARGET [SECONDS]]
        Runs libFuzzer on the targets under fuzz/: all for 10 s each, or one for SECONDS.

  cargo xtask instructions [--record]
        Counts the instructions of the hot paths and compares them with the record; --record replaces
        the record.

  cargo xtask mutants [FEATURE...]
        Changes the rules of core, or of some of its features, and shows which changes no test of core
        notices. Takes hours. docs/mutants.md has the results.

  cargo xtask bench --install | --charts | [ROW...] [OPTIONS]
        Benchmarks the hub and its peers on this machine. --install installs missing peers, --charts draws
        the last report into docs/performance; for rows and options see `ferrohub-bench run --help`.

  cargo xtask clients
        Installs the clients of the acceptance tests: the Python packages pinned in
        tests/python/requirements.txt into target/venv, the Node packages pinned in
        tests/node/package-lock.json into target/node.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, rest) = match arguments.split_first() {
        Some((name, rest)) => (name.as_str(), rest),
        None => ("help", &[][..]),
    };
    let result = match name {
        "test" => test::run_command(rest),
        "bench" => bench::run_command(rest),
        "check" => check::run(rest),
        "fuzz" => fuzz::run_command(rest),
        "instructions" => instructions::run_command(rest),
        "mutants" => mutants::run_command(rest),
        "clients" => clients::run(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("unknown command `{name}`\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
