//! The blob folder after power losses and on a failing disk: an acknowledged blob has its bytes, the catalogue names no
//! missing or short file, and files without an entry are out of the way.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod life;
mod operation;

use std::sync::Arc;

use ferrohub_power_loss::{Disk, Fault, Random, Survival, each_seed, install_vfs};
use life::{Known, Life};

/// Runs several lives of a blob folder on one disk. The power is cut after `cuts.0` to `cuts.0 + cuts.1` changes.
/// Returns the number of changes, and what is known then.
fn lives(seed: u64, cuts: (u64, u64), faults: &[Fault]) -> (u64, Known) {
    let disk = Arc::new(Disk::new(seed).unwrap());
    install_vfs(&disk);
    let (mut known, mut random) = (Known::default(), Random::new(seed));
    for _ in 0..4 {
        disk.cut_power_after(cuts.0 + random.below(cuts.1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        known = runtime.block_on(Life::new(disk.clone(), known, &mut random).run(faults));
        drop(runtime);
        disk.lose_power(*random.pick(&Survival::ALL)).unwrap();
    }
    (disk.changes(), known)
}

#[test]
fn acknowledged_blobs_and_blocks_survive_power_losses() {
    each_seed(150, |seed| lives(seed, (1, 300), &[]));
}

#[test]
fn blobs_that_a_failing_disk_refused_change_nothing_and_later_ones_survive_a_power_loss() {
    each_seed(150, |seed| lives(seed, (100, 300), &[Fault::Write, Fault::Full, Fault::Sync]));
}

#[test]
fn a_seed_is_always_the_same_test() {
    for seed in 0..5 {
        let run = || {
            let (changes, known) = lives(seed, (100, 300), &[Fault::Write, Fault::Full, Fault::Sync]);
            // The names of files are random.
            (changes, known.candidates, known.blocks, known.set_aside.len())
        };
        assert!(run() == run(), "seed {seed}");
    }
}
