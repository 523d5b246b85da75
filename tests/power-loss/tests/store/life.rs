//! One life of the store: from its start until the power is cut.
//!
//! The workload runs in rounds of one write and a group of writes that share a commit.

use std::sync::Arc;

use ferrohub_core::store::{Store, StoreError};
use ferrohub_power_loss::{Disk, Fault, Random, share_commit};
use ferrohub_store::{OpenError, SqliteStore, StoreMetrics};
use rusqlite::Connection;

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
        let first = Operation::SavePolicy { key: self.number() };
        let mut group = Vec::new();
        for _ in 0..self.random.below(MAX_GROUP + 1) {
            let number = self.number();
            group.push(Operation::random(self.random, number, &self.candidates[0]));
        }
        let run = |operation: &Operation| operation.clone().run(store.clone());
        let nothing_is_visible = async || {
            assert_eq!(
                &Model::read(self.db.as_ref().unwrap()),
                self.state(),
                "a write is visible before it is safe"
            );
        };
        let writes = group.iter().map(run).collect();
        let (answer, answers) = share_commit(&self.disk, run(&first), writes, nothing_is_visible).await;
        self.apply(&[first], vec![answer]);
        if let Some(answers) = answers {
            self.apply(&group, answers);
        }
    }

    /// A number that no other operation of the test has.
    fn number(&mut self) -> u64 {
        self.random.bits() >> 16
    }

    /// Applies the writes of one commit to the model, if the store has acknowledged them.
    fn apply(&mut self, group: &[Operation], answers: Vec<Result<Answer, StoreError>>) {
        let mut after = self.state().clone();
        let expected: Vec<Answer> = group.iter().map(|operation| operation.apply(&mut after)).collect();
        if answers.iter().any(Result::is_err) {
            assert!(answers.iter().all(Result::is_err), "a group of writes fails as a whole: {answers:?}");
            self.candidates.push(after);
            return;
        }
        let answers: Vec<Answer> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, expected, "{group:?}");
        // What a failed group left in the WAL is overwritten, unless this group wrote nothing.
        if after != *self.state() {
            self.candidates = vec![after];
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
