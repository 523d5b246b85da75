//! The event log after power losses and on a failing disk: every acknowledged event is there, no batch is there by half,
//! and the sequence number of an event that was read is not given to another one.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod life;
mod model;
mod operation;

use std::sync::Arc;

use ferrohub_power_loss::{Disk, Fault, Random, Survival, each_seed, install_vfs};
use life::{Life, Log};

/// Runs several lives of a log on one disk. The power is cut after `cuts.0` to `cuts.0 + cuts.1` changes.
/// Returns the number of changes, and what is known then.
fn lives(seed: u64, cuts: (u64, u64), faults: &[Fault]) -> (u64, Log) {
    let disk = Arc::new(Disk::new(seed).unwrap());
    install_vfs(&disk);
    let (mut log, mut random) = (Log::default(), Random::new(seed));
    for _ in 0..3 {
        disk.cut_power_after(cuts.0 + random.below(cuts.1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        log = runtime.block_on(Life::new(disk.clone(), log, &mut random).run(faults));
        drop(runtime);
        disk.lose_power(*random.pick(&Survival::ALL)).unwrap();
    }
    (disk.changes(), log)
}

#[test]
fn acknowledged_events_survive_power_losses_and_batches_are_whole() {
    each_seed(150, |seed| lives(seed, (1, 400), &[]));
}

#[test]
fn batches_on_a_failing_disk_are_refused_whole_and_later_ones_survive_a_power_loss() {
    each_seed(150, |seed| lives(seed, (150, 350), &[Fault::Write, Fault::Full, Fault::Sync]));
}

#[test]
fn a_seed_is_always_the_same_test() {
    for seed in 0..5 {
        let run = || lives(seed, (150, 350), &[Fault::Write, Fault::Full, Fault::Sync]);
        assert_eq!(format!("{:?}", run()), format!("{:?}", run()));
    }
}
