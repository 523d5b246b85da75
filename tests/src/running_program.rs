//! A program that runs until its test ends.

use std::process::Child;

/// A child process, killed on drop.
#[derive(Debug)]
pub struct RunningProgram(pub Child);

impl Drop for RunningProgram {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
