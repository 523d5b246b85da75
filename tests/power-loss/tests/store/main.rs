//! The store after power losses and on a failing disk: every acknowledged write is there, no group of writes is there by
//! half, and numbers that were used are not used again.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod life;
mod model;
mod operation;

use std::sync::Arc;

use ferrohub_power_loss::{Disk, Fault, Random, Survival, each_seed, install_vfs};
use life::Life;
use model::Model;

/// A disk with the database of a hub.
struct Fixture {
    disk: Arc<Disk>,
    /// The states that the database may have.
    candidates: Vec<Model>,
    random: Random,
}

impl Fixture {
    fn new(seed: u64) -> Self {
        let disk = Arc::new(Disk::new(seed).unwrap());
        install_vfs(&disk);
        Self { disk, candidates: vec![Model::default()], random: Random::new(seed) }
    }

    /// Runs the hub's store until the power is cut, and restores what is left.
    fn life(&mut self, faults: &[Fault]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let candidates = std::mem::take(&mut self.candidates);
        self.candidates =
            runtime.block_on(Life::new(self.disk.clone(), candidates, &mut self.random).run(faults));
        drop(runtime);
        self.disk.lose_power(*self.random.pick(&Survival::ALL)).unwrap();
    }
}

#[test]
fn acknowledged_writes_survive_power_losses_and_groups_are_whole() {
    each_seed(150, |seed| {
        let mut fixture = Fixture::new(seed);
        for _ in 0..3 {
            let cut = 1 + fixture.random.below(250);
            fixture.disk.cut_power_after(cut);
            fixture.life(&[]);
        }
    });
}

#[test]
fn writes_on_a_failing_disk_are_refused_whole_and_later_ones_survive_a_power_loss() {
    each_seed(150, |seed| {
        let mut fixture = Fixture::new(seed);
        for _ in 0..3 {
            let cut = 100 + fixture.random.below(300);
            fixture.disk.cut_power_after(cut);
            fixture.life(&[Fault::Write, Fault::Full, Fault::Sync]);
        }
    });
}

#[test]
fn a_seed_is_always_the_same_test() {
    for seed in 0..5 {
        let run = || {
            let mut fixture = Fixture::new(seed);
            for _ in 0..3 {
                fixture.disk.cut_power_after(200);
                fixture.life(&[Fault::Write, Fault::Full, Fault::Sync]);
            }
            (fixture.disk.changes(), fixture.candidates)
        };
        assert_eq!(run(), run());
    }
}

#[test]
fn a_power_loss_at_any_change_of_the_first_start_leaves_a_folder_that_opens() {
    let (mut cut, mut is_complete) = (1, false);
    while !is_complete {
        for survival in Survival::ALL {
            let mut fixture = Fixture::new(cut);
            fixture.disk.cut_power_after(cut);
            let opened = life::open(&fixture.disk);
            is_complete = opened.is_ok();
            drop(opened);
            fixture.disk.lose_power(survival).unwrap();
            fixture.disk.cut_power_after(400);
            fixture.life(&[]);
        }
        cut += 1;
    }
    assert!(cut > 20, "the first start makes many changes, not {cut}");
}
