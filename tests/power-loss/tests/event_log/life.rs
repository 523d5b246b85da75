//! One life of the event log: from its start until the power is cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrohub_core::store::{Store, StoreError};
use ferrohub_core::telemetry::EventLog;
use ferrohub_power_loss::{Disk, Fault, Random, share_commit};
use ferrohub_store::{SqliteEventLog, SqliteStore, StoreMetrics};
use rusqlite::Connection;

use crate::model::{Event, Model, PARTITIONS};
use crate::operation::{Bodies, Operation};

/// Most writes in a group.
const MAX_GROUP: u64 = 6;
/// Number of rounds after which a life ends although the power was not cut.
const MAX_ROUNDS: usize = 40;
/// Milliseconds between two rounds.
const STEP: i64 = 50;

/// What is known about a log between two lives.
#[derive(Debug)]
pub(crate) struct Log {
    /// The acknowledged state, and those with a failed group of writes, which a power loss may leave.
    candidates: Vec<Model>,
    /// Every event that a reader ever saw, by partition and sequence number.
    read: BTreeMap<(usize, u64), Event>,
    now: i64,
}

impl Default for Log {
    fn default() -> Self {
        Self { candidates: vec![Model::default()], read: BTreeMap::new(), now: 1_800_000_000_000 }
    }
}

pub(crate) struct Life<'a> {
    disk: Arc<Disk>,
    known: Log,
    random: &'a mut Random,
    faults: u64,
}

impl<'a> Life<'a> {
    pub(crate) fn new(disk: Arc<Disk>, known: Log, random: &'a mut Random) -> Self {
        Self { disk, known, random, faults: 0 }
    }

    /// Opens the log, checks what it contains, and appends until the power is cut.
    pub(crate) async fn run(mut self, faults: &[Fault]) -> Log {
        let store = match SqliteStore::open(self.disk.root(), StoreMetrics::default()) {
            Ok(store) => store,
            Err(error) => {
                assert!(self.disk.is_off(), "the store does not open: {error}");
                return self.known;
            }
        };
        match SqliteEventLog::open(&store, PARTITIONS, StoreMetrics::default()) {
            Ok(log) => self.run_log(&Arc::new(log), faults).await,
            Err(error) => assert!(self.disk.is_off(), "the log does not open: {error}"),
        }
        store.close().await;
        self.disk.cut_power();
        self.known
    }

    async fn run_log(&mut self, log: &Arc<SqliteEventLog>, faults: &[Fault]) {
        self.settle_on_what_is_left(log).await;
        for _ in 0..MAX_ROUNDS {
            if self.disk.is_off() {
                break;
            }
            if !faults.is_empty() && self.random.chance(30) {
                let fault = *self.random.pick(faults);
                self.disk.fail(fault, self.random.below(8), 1 + self.random.below(6));
            }
            self.round(log).await;
            self.check_after_round(log).await;
            if self.random.chance(15) {
                self.checkpoint();
            }
        }
        // A clean end writes the WAL into the database. Then the power is cut anyway.
        if self.random.chance(50) {
            self.disk.cut_power();
        }
        log.close().await;
    }

    /// The state of all acknowledged writes.
    fn state(&self) -> &Model {
        &self.known.candidates[0]
    }

    /// Checks that the log has one of the expected states, which is the only one from now on, and every event that was
    /// read and not removed.
    async fn settle_on_what_is_left(&mut self, log: &SqliteEventLog) {
        let sound: String =
            self.connection().pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
        let left = Model::read(log).await;
        assert!(
            self.known.candidates.contains(&left),
            "the power loss left {left:#?}\nbut the last acknowledged state and those after it are {:#?}",
            self.known.candidates
        );
        self.known.candidates = vec![left];
        for (index, partition) in self.state().0.iter().enumerate() {
            for event in &partition.events {
                let read = self.known.read.get(&(index, event.sequence)).unwrap_or(event);
                assert_eq!(read, event, "a sequence number was given to another event");
            }
            let last = self.known.read.range((index, 0)..(index + 1, 0)).next_back();
            let last = last.map_or(0, |((_, sequence), _)| sequence + 1);
            assert!(last <= partition.next, "events that were read are gone");
        }
        self.check_heads(log);
    }

    fn connection(&self) -> Connection {
        Connection::open(self.disk.root().join("events.db")).unwrap()
    }

    /// Checks that readers are woken for the acknowledged events.
    fn check_heads(&self, log: &SqliteEventLog) {
        for (number, partition) in (0..).zip(&self.state().0) {
            assert_eq!(*log.head(number).unwrap().borrow(), partition.next, "the head of partition {number}");
        }
    }

    /// Appends one batch, and then runs several writes in one commit.
    async fn round(&mut self, log: &Arc<SqliteEventLog>) {
        self.known.now += STEP;
        let now = self.known.now;
        let first = Operation::Append(Bodies::random(self.random, now));
        let count = self.random.below(MAX_GROUP + 1);
        let group: Vec<Operation> = (0..count).map(|_| Operation::random(self.random, now)).collect();
        let run = |operation: &Operation| operation.clone().run(log.clone());
        let nothing_is_visible = async || {
            assert_eq!(&Model::read(log).await, self.state(), "an event is visible before it is safe");
            self.check_heads(log);
        };
        let writes = group.iter().map(run).collect();
        let (answer, answers) = share_commit(&self.disk, run(&first), writes, nothing_is_visible).await;
        self.apply(&[first], vec![answer]);
        if let Some(answers) = answers {
            self.apply(&group, answers);
        }
    }

    /// Applies the writes of one commit to the model, if the log has acknowledged them.
    fn apply(&mut self, group: &[Operation], answers: Vec<Result<u64, StoreError>>) {
        let mut after = self.state().clone();
        let expected: Vec<u64> = group.iter().map(|operation| operation.apply(&mut after)).collect();
        if answers.iter().any(Result::is_err) {
            assert!(answers.iter().all(Result::is_err), "a group of writes fails as a whole: {answers:?}");
            self.known.candidates.push(after);
            return;
        }
        let answers: Vec<u64> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, expected, "{group:?}");
        // What a failed group left in the WAL is overwritten, unless this group wrote nothing.
        if after != *self.state() {
            self.known.candidates = vec![after];
        }
    }

    /// Checks that failed writes left nothing, remembers what a reader sees, and ends the fault.
    async fn check_after_round(&mut self, log: &SqliteEventLog) {
        self.faults += self.disk.repair();
        if self.disk.is_off() {
            return;
        }
        assert!(
            self.known.candidates.len() == 1 || self.faults > 0,
            "writes failed on a disk without faults"
        );
        let seen = Model::read(log).await;
        assert_eq!(&seen, self.state());
        self.check_heads(log);
        for (index, partition) in seen.0.into_iter().enumerate() {
            let events = partition.events.into_iter();
            self.known.read.extend(events.map(|event| ((index, event.sequence), event)));
        }
    }

    /// Copies the WAL into the database, as SQLite does by itself when it is long.
    fn checkpoint(&mut self) {
        let mode = *self.random.pick(&["PASSIVE", "RESTART", "TRUNCATE"]);
        if let Err(error) = self.connection().execute_batch(&format!("PRAGMA wal_checkpoint({mode})")) {
            assert!(self.disk.is_off(), "{error}");
        }
    }
}
