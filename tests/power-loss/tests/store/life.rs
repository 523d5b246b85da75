//! One life of the store: from its start until the power is cut.
//!
//! The workload runs in rounds. A round holds back the `fsync` of a first write until more writes wait, so that these
//! share one commit. Which writes share one does not depend on the speed of threads, so a seed is always the same test.

use std::sync::Arc;

use ferrohub_core::store::{Store, StoreError};
use ferrohub_power_loss::{Disk, Fault, Random};
use ferrohub_store::{OpenError, SqliteStore, StoreMetrics};
use rusqlite::Connection;
use tokio::task::{JoinHandle, yield_now};

use crate::model::Model;
use crate::operation::{Answer, Operation};

/// Most writes in one commit.
const MAX_GROUP: u64 = 6;
/// Number of rounds after which a life ends although the power was not cut.
const MAX_ROUNDS: usize = 40;

/// Opens the store of a disk.
pub(crate) fn open(disk: &Disk) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(disk.root(), StoreMetrics::default())
}

pub(crate) struct Life<'a> {
    disk: Arc<Disk>,
    /// The states that the database may have: the acknowledged one, and those with a failed group of writes, which a
    /// power loss may leave.
    candidates: Vec<Model>,
    random: &'a mut Random,
    metrics: StoreMetrics,
    /// Connection for checks and checkpoints.
    db: Option<Connection>,
    faults: u64,
}

type Write = JoinHandle<Result<Answer, StoreError>>;

impl<'a> Life<'a> {
    pub(crate) fn new(disk: Arc<Disk>, candidates: Vec<Model>, random: &'a mut Random) -> Self {
        Self { disk, candidates, random, metrics: StoreMetrics::default(), db: None, faults: 0 }
    }

    /// Opens the store, checks what it contains, and writes until the power is cut. Returns what the database may
    /// contain then.
    pub(crate) async fn run(mut self, faults: &[Fault]) -> Vec<Model> {
        let store = match SqliteStore::open(self.disk.root(), self.metrics.clone()) {
            Ok(store) => Arc::new(store),
            Err(error) => {
                assert!(self.disk.is_off(), "the store does not open: {error}");
                return self.candidates;
            }
        };
        self.db = Some(Connection::open(self.disk.root().join("hub.db")).unwrap());
        self.settle_on_what_is_left();
        for _ in 0..MAX_ROUNDS {
            if self.disk.is_off() {
                break;
            }
            if !faults.is_empty() && self.random.chance(30) {
                let fault = *self.random.pick(faults);
                self.disk.fail(fault, self.random.below(8), 1 + self.random.below(6));
            }
            self.round(&store).await;
            self.check_after_round();
            if self.random.chance(15) {
                self.checkpoint();
            }
        }
        self.db = None;
        // A clean end writes the WAL into the database. Then the power is cut anyway.
        if self.random.chance(50) {
            self.disk.cut_power();
        }
        store.close().await;
        self.disk.cut_power();
        self.candidates
    }

    /// Checks that the database has one of the expected states, which is the only one from now on.
    fn settle_on_what_is_left(&mut self) {
        let left = Model::read(self.db.as_ref().unwrap());
        assert!(
            self.candidates.contains(&left),
            "the power loss left {left:#?}\nbut the last acknowledged state and those after it are {:#?}",
            self.candidates
        );
        self.candidates = vec![left];
        self.check_gauge();
    }

    /// The state of all acknowledged writes.
    fn state(&self) -> &Model {
        &self.candidates[0]
    }

    /// Runs one write, and then several in one commit.
    async fn round(&mut self, store: &Arc<SqliteStore>) {
        self.disk.hold_syncs();
        let number = self.number();
        let first = vec![spawn(store, Operation::SavePolicy { key: number })];
        while !first[0].1.is_finished() && !self.disk.is_sync_held() {
            yield_now().await;
        }
        let mut group = Vec::new();
        if self.disk.is_sync_held() {
            for _ in 0..self.random.below(MAX_GROUP + 1) {
                let number = self.number();
                group.push(spawn(store, Operation::random(self.random, number, &self.candidates[0])));
            }
            // Each write is in the queue when its task has run once.
            for _ in 0..3 {
                yield_now().await;
            }
            self.nothing_is_visible_before_it_is_safe();
        }
        self.disk.release_syncs();
        self.finish(first).await;
        self.finish(group).await;
    }

    /// A number that no other operation of the test has.
    fn number(&mut self) -> u64 {
        self.random.bits() >> 16
    }

    fn nothing_is_visible_before_it_is_safe(&self) {
        assert_eq!(&Model::read(self.db.as_ref().unwrap()), self.state());
    }

    /// Waits for the writes of one commit.
    async fn finish(&mut self, group: Vec<(Operation, Write)>) {
        let (mut done, mut with_failed) = (self.state().clone(), self.state().clone());
        let (mut failed, count) = (0, group.len());
        for (operation, write) in group {
            let expected = operation.apply(&mut with_failed);
            match write.await.unwrap() {
                Ok(answer) => {
                    assert_eq!(answer, operation.apply(&mut done), "{operation:?}");
                    assert_eq!(answer, expected, "{operation:?}");
                }
                Err(_) => failed += 1,
            }
        }
        if failed == 0 {
            // What a failed group left in the WAL is overwritten, unless this one wrote nothing.
            let is_changed = done != *self.state();
            if is_changed {
                self.candidates = vec![done];
            }
        } else {
            assert_eq!(failed, count, "a group of writes fails as a whole");
            self.candidates.push(with_failed);
        }
    }

    /// Checks that failed writes left nothing, and ends the fault.
    fn check_after_round(&mut self) {
        self.faults += self.disk.repair();
        if self.disk.is_off() {
            return;
        }
        assert!(self.candidates.len() == 1 || self.faults > 0, "writes failed on a disk without faults");
        assert_eq!(&Model::read(self.db.as_ref().unwrap()), self.state());
        self.check_gauge();
    }

    fn check_gauge(&self) {
        let waiting = self.metrics.messages_waiting.get();
        assert_eq!(waiting, self.state().messages.len() as i64, "the gauge of waiting messages");
    }

    /// Copies the WAL into the database, as SQLite does by itself when it is long.
    fn checkpoint(&mut self) {
        let mode = *self.random.pick(&["PASSIVE", "RESTART", "TRUNCATE"]);
        let checkpoint = format!("PRAGMA wal_checkpoint({mode})");
        if let Err(error) = self.db.as_ref().unwrap().execute_batch(&checkpoint) {
            assert!(self.disk.is_off(), "{error}");
        }
    }
}

fn spawn(store: &Arc<SqliteStore>, operation: Operation) -> (Operation, Write) {
    (operation.clone(), tokio::spawn(operation.run(store.clone())))
}
