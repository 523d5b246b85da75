//! The seeds of a run: some in the gate, many in a long run, one to repeat a failure.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The environment variable with the number of seeds of each test. `cargo xtask test --full` sets it.
const COUNT: &str = "POWER_LOSS_SEEDS";
/// The environment variable with the only seed to run.
const ONLY: &str = "POWER_LOSS_SEED";

/// Returns the seeds of a test: `in_gate` of them, unless the environment has another number or a single seed.
///
/// # Panics
/// If a variable is not a number.
#[must_use]
pub fn seeds(in_gate: u64) -> std::ops::Range<u64> {
    match (number(ONLY), number(COUNT)) {
        (Some(only), _) => only..only + 1,
        (None, count) => 0..count.unwrap_or(in_gate),
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")))
}

/// Runs a test with each of its seeds, and drops its results. A failure prints its seed, and how to repeat it.
pub fn each_seed<T>(in_gate: u64, test: impl Fn(u64) -> T) {
    for seed in seeds(in_gate) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(seed))) {
            eprintln!("failed with seed {seed}; set {ONLY}={seed} to repeat it");
            resume_unwind(panic);
        }
    }
}
