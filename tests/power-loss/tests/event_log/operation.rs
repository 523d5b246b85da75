//! The operations of the workload: what they do to the log, and what they should do to the model.

use std::sync::Arc;

use ferrohub_core::store::StoreError;
use ferrohub_core::telemetry::{
    AuthMethod, Batch, EventIdentity, EventLog, EventProperties, EventSource, NewEvent,
};
use ferrohub_model::{IdentityId, Timestamp};
use ferrohub_power_loss::Random;
use ferrohub_store::SqliteEventLog;

use crate::model::{Model, PARTITIONS};

/// Size of the largest body, which needs many pages.
const LARGE: u64 = 100_000;
/// Milliseconds between two operations on average.
const STEP: u64 = 10;

/// A write. Each body is different from all others of a test.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// Appends a batch.
    Append(Bodies),
    /// Appends a batch to several partitions, together.
    AppendAll(Vec<Bodies>),
    /// A step of retention.
    RemoveOldest { cutoff: i64 },
}

/// The events of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Bodies {
    partition: u16,
    now: i64,
    bodies: Vec<Vec<u8>>,
}

impl Bodies {
    /// Returns a random batch for about the time `now`: clocks also go back.
    pub(crate) fn random(random: &mut Random, now: i64) -> Self {
        let body = |_| {
            let size = if random.chance(5) { random.below(LARGE) } else { random.below(200) };
            let mut body = format!("{:016x}", random.bits()).into_bytes();
            body.resize(16 + size as usize, b'x');
            body
        };
        let bodies = (0..4).map(body).collect::<Vec<_>>();
        let count = 1 + random.below(bodies.len() as u64) as usize;
        Self {
            partition: random.below(u64::from(PARTITIONS)) as u16,
            now: now + random.below(3 * STEP) as i64 - STEP as i64,
            bodies: bodies.into_iter().take(count).collect(),
        }
    }

    fn batch(&self) -> Batch {
        let event = |body: &Vec<u8>| new_event(body.clone());
        Batch {
            partition: self.partition,
            source: EventSource::Telemetry,
            identity: EventIdentity {
                id: IdentityId::parse("device").unwrap(),
                generation_id: "17".to_owned(),
                auth: Some(AuthMethod::DeviceKey),
            },
            now: Timestamp::from_unix_millis(self.now),
            events: self.bodies.iter().map(event).collect(),
        }
    }
}

/// An event with this body.
pub(crate) fn new_event(body: Vec<u8>) -> NewEvent {
    NewEvent { properties: EventProperties::new(), body: body.into() }
}

impl Operation {
    pub(crate) fn random(random: &mut Random, now: i64) -> Self {
        match random.below(10) {
            0..6 => Self::Append(Bodies::random(random, now)),
            6..8 => Self::AppendAll((0..3).map(|_| Bodies::random(random, now)).collect()),
            _ => Self::RemoveOldest { cutoff: now - random.below(20 * STEP) as i64 },
        }
    }

    /// Runs the operation. Returns the next sequence number, or the number of removed events.
    pub(crate) async fn run(self, log: Arc<SqliteEventLog>) -> Result<u64, StoreError> {
        match self {
            Self::Append(bodies) => log.append(bodies.batch()).await,
            Self::AppendAll(all) => log.append_all(all.iter().map(Bodies::batch).collect()).await.map(|()| 0),
            Self::RemoveOldest { cutoff } => {
                log.remove_oldest(Timestamp::from_unix_millis(cutoff), u64::MAX).await
            }
        }
    }

    /// Changes the model as the log should change. Returns the answer that the log should give.
    pub(crate) fn apply(&self, model: &mut Model) -> u64 {
        match self {
            Self::Append(Bodies { partition, now, bodies }) => model.append(*partition, *now, bodies),
            Self::AppendAll(all) => {
                for Bodies { partition, now, bodies } in all {
                    model.append(*partition, *now, bodies);
                }
                0
            }
            Self::RemoveOldest { cutoff } => model.remove_oldest(*cutoff),
        }
    }
}
