//! Prints the steps of a run, their times and the result.

use std::time::Instant;

use anyhow::{Context as _, Result};

/// The steps of one run.
pub(crate) struct Steps {
    began: Instant,
    done: Vec<(&'static str, f64)>,
}

impl Steps {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), done: Vec::new() }
    }

    /// Prints the name of the step, runs it, and prints its time. An error contains the name.
    pub(crate) fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("== {name}");
        let began = Instant::now();
        let result = work().with_context(|| format!("step `{name}` failed"));
        let seconds = began.elapsed().as_secs_f64();
        println!("   {seconds:.1} s");
        self.done.push((name, seconds));
        result
    }

    /// Prints the table of all steps and the result.
    pub(crate) fn finish(&self, passed: bool) {
        println!();
        for (name, seconds) in &self.done {
            println!("{seconds:>8.1} s  {name}");
        }
        let total = self.began.elapsed().as_secs_f64();
        let word = if passed { "passed" } else { "FAILED" };
        println!("{total:>8.1} s  total: {word}");
    }
}
