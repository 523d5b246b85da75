//! The project's own commands, one file each: `cargo xtask <command>`.
//!
//! `cargo xtask test` is the gate: what it passes is fit to merge, and nothing else decides that.
#![allow(clippy::print_stdout, reason = "a command-line tool talks to whoever called it")]

mod azurite;
mod bench;
mod check;
mod command;
mod fuzz;
mod instructions;
mod python;
mod test;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
Ferrohub's own commands

  cargo xtask test [--quick] [-- FILTER...]
        The gate: Python clients, format, layers, lints, tests, instruction counts, fuzzing,
        documentation. --quick leaves all behind the tests out; FILTER goes to nextest as it is.

  cargo xtask check
        Only the layers: which crate may use which (read from `cargo metadata`).

  cargo xtask fuzz [TARGET [SECONDS]]
        libFuzzer on the targets under fuzz/: all for 10 s each, or one for as long as you like.

  cargo xtask instructions [--record]
        What the hot paths cost in instructions, beside what is recorded; --record keeps what they cost now.

  cargo xtask bench --install | --charts | [ROW...] [OPTIONS]
        The hub beside its peers on this machine. --install brings the peers that are missing, --charts draws
        the last report into docs/performance; rows and options are those of `ferrohub-bench run --help`.

  cargo xtask python
        Only the clients: makes target/venv hold what tests/python/requirements.txt pins, and target/azurite
        the emulator of Azure Storage.
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
        "python" => python::run(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("there is no command `{name}`\n\n{USAGE}");
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
