//! SQL statements of the event log: appending, reading, searching by time and removing old events.

use bytes::Bytes;
use ferrohub_core::telemetry::{
    AuthMethod, Batch, EVENT_OVERHEAD, EventIdentity, EventProperties, EventSource, LostEvents,
    PartitionState, StoredEvent,
};
use ferrohub_model::message::MessageProperties;
use ferrohub_model::{IdentityId, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

use crate::rows::{self, id_columns};

/// Maximum number of events that one call of [`remove_oldest_events`] removes, so that other writes do not wait long.
const MAX_REMOVED_EVENTS: i64 = 500;

/// How many sequence numbers a restore leaves for each millisecond in which the log may have got events.
const NUMBERS_PER_MILLISECOND: u64 = 1024;

/// Returns the key of a partition's first event. Each partition has 2^56 keys, more than a hub can ever use. A log has
/// at most 32 partitions, so keys are never negative.
fn first_key(partition: u16) -> i64 {
    i64::from(partition) << 56
}

/// Returns the key of an event: the partition in the bits from 56 on, the sequence number in the 56 bits below.
fn key(partition: u16, sequence: u64) -> i64 {
    let sequence = i64::try_from(sequence).unwrap_or(i64::MAX).min((1 << 56) - 1);
    first_key(partition) | sequence
}

fn sequence_of(partition: u16, key: i64) -> u64 {
    (key - first_key(partition)).unsigned_abs()
}

/// Reads a column that is never negative.
fn column_u64(row: &Row<'_>, column: usize) -> Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

/// Returns the number of partitions; 0 before they are created.
pub(crate) fn partition_count(db: &Connection) -> Result<u16> {
    db.query_row("SELECT count(*) FROM partition", [], |row| row.get(0))
}

/// Returns whether an event was ever appended.
pub(crate) fn has_events(db: &Connection) -> Result<bool> {
    db.query_row("SELECT count(*) > 0 FROM partition WHERE next > 0", [], |row| row.get(0))
}

pub(crate) fn create_partitions(db: &Connection, count: u16) -> Result<()> {
    for id in 0..count {
        db.execute("INSERT INTO partition (id, next, last_enqueued, bytes) VALUES (?, 0, NULL, 0)", [id])?;
    }
    Ok(())
}

/// Appends a batch. Returns the sequence number of the partition's next event.
pub(crate) fn append(db: &Connection, batch: &Batch) -> Result<u64> {
    let (mut next_sequence, last_enqueued): (_, Option<i64>) = db
        .prepare_cached("SELECT next, last_enqueued FROM partition WHERE id = ?")?
        .query_row([batch.partition], |row| Ok((column_u64(row, 0)?, row.get(1)?)))?;
    // After the clock was set back, new events must not look older than earlier ones.
    let enqueued = batch.now.unix_millis().max(last_enqueued.unwrap_or(i64::MIN));
    let (device, module) = id_columns(&batch.identity.id);
    let mut insert = db.prepare_cached(
        "INSERT INTO event \
         (key, enqueued, source, device_id, module_id, generation_id, auth, property_bag, properties, body) \
         VALUES (?, ?, ?, ?, ?, ?, ?, '', ?, ?)",
    )?;
    for event in &batch.events {
        insert.execute(params![
            key(batch.partition, next_sequence),
            enqueued,
            // The numbers of sources and authentication methods are part of the file format.
            batch.source as u8,
            device,
            module,
            batch.identity.generation_id,
            batch.identity.auth.map(|auth| auth as u8),
            event.properties.as_stored(),
            &event.body[..],
        ])?;
        next_sequence += 1;
    }
    db.prepare_cached("UPDATE partition SET next = ?, last_enqueued = ?, bytes = bytes + ? WHERE id = ?")?
        .execute(params![
            rows::signed(next_sequence),
            enqueued,
            rows::signed(batch.bytes()),
            batch.partition
        ])?;
    Ok(next_sequence)
}

/// Returns at most `max_events` events, from the sequence number `from` on. Stops after the event with which the bodies
/// and properties reach `max_bytes`.
pub(crate) fn events(
    db: &Connection,
    partition: u16,
    from: u64,
    max_events: usize,
    max_bytes: usize,
) -> Result<Vec<StoredEvent>> {
    let mut select = db.prepare_cached(
        "SELECT key, enqueued, source, device_id, module_id, generation_id, auth, property_bag, properties, body \
         FROM event WHERE key >= ? AND key < ? ORDER BY key LIMIT ?",
    )?;
    let limit = i64::try_from(max_events).unwrap_or(i64::MAX);
    let mut rows = select.query(params![key(partition, from), first_key(partition + 1), limit])?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while bytes < max_bytes
        && let Some(row) = rows.next()?
    {
        let event = event(row, partition, events.last())?;
        bytes += event.body.len() + event.properties.as_stored().len();
        events.push(event);
    }
    Ok(events)
}

/// Reads an event from a row with all its columns. `previous` is the event before it.
fn event(row: &Row<'_>, partition: u16, previous: Option<&StoredEvent>) -> Result<StoredEvent> {
    let auth = |number| {
        AuthMethod::from_number(number)
            .ok_or_else(|| rows::conversion_error(6, "unknown authentication method"))
    };
    Ok(StoredEvent {
        partition,
        sequence: sequence_of(partition, row.get(0)?),
        enqueued: rows::time(row, 1)?,
        source: EventSource::from_number(row.get(2)?)
            .ok_or_else(|| rows::conversion_error(2, "unknown event source"))?,
        identity: EventIdentity {
            id: id(row, previous)?,
            generation_id: row.get(5)?,
            auth: row.get::<_, Option<u8>>(6)?.map(auth).transpose()?,
        },
        properties: properties(row)?,
        body: Bytes::from(row.get::<_, Vec<u8>>(9)?),
    })
}

/// Reads the id of the device or module. It is often that of the previous event, and is then shared with it.
fn id(row: &Row<'_>, previous: Option<&StoredEvent>) -> Result<IdentityId> {
    if let Some(previous) = previous.map(|event| &event.identity.id)
        && row.get_ref(3)?.as_bytes()? == previous.device_str().as_bytes()
        && row.get_ref(4)?.as_bytes()? == previous.module_str().unwrap_or("").as_bytes()
    {
        return Ok(previous.clone());
    }
    rows::id(row, 3, 4)
}

/// Reads the properties: the column `properties`, or `property_bag` of an event that is older than migration 3.
fn properties(row: &Row<'_>) -> Result<EventProperties> {
    if let Some(stored) = row.get(8)? {
        return EventProperties::from_stored(stored).map_err(|error| rows::conversion_error(8, error));
    }
    // Only well-formed property bags were written.
    let bag = MessageProperties::parse_property_bag(row.get_ref(7)?.as_str()?).unwrap_or_default();
    Ok(EventProperties::from(&bag))
}

/// Returns sequence number and time of the first event at or after `from`.
fn first_event_from(db: &Connection, partition: u16, from: u64) -> Result<Option<(u64, i64)>> {
    db.prepare_cached("SELECT key, enqueued FROM event WHERE key >= ? AND key < ? ORDER BY key LIMIT 1")?
        .query_row([key(partition, from), first_key(partition + 1)], |row| {
            Ok((sequence_of(partition, row.get(0)?), row.get(1)?))
        })
        .optional()
}

/// Returns the number after that of the last event: `next`, or a smaller number if there has been no event since the log
/// was restored, possibly several times.
fn last_before(db: &Connection, partition: u16, mut next: u64) -> Result<u64> {
    let mut select =
        db.prepare_cached("SELECT first FROM lost_events WHERE partition = ? AND next = ? AND first < next")?;
    while let Some(first) =
        select.query_row(params![partition, rows::signed(next)], |row| column_u64(row, 0)).optional()?
    {
        next = first;
    }
    Ok(next)
}

/// Returns the events that the log has lost.
pub(crate) fn lost_events(db: &Connection) -> Result<Vec<LostEvents>> {
    db.prepare("SELECT partition, first, next, backup, restored FROM lost_events ORDER BY partition, first")?
        .query_map([], |row| {
            Ok(LostEvents {
                partition: row.get(0)?,
                sequences: column_u64(row, 1)?..column_u64(row, 2)?,
                backup: rows::time(row, 3)?,
                restored: rows::time(row, 4)?,
            })
        })?
        .collect()
}

/// Lets the numbering of each partition continue after all numbers that the log may ever have had, although the events
/// since the backup are lost.
///
/// The new number is the time of the restore in milliseconds, multiplied by 1024. A log that gets no more than 1024 events
/// a millisecond in one partition has never had a larger one, in whatever order it was backed up and restored. The numbers
/// stay below 2^53, which JavaScript can represent, until the year 2248.
pub(crate) fn skip_lost_events(db: &Connection, backup: Timestamp, restored: Timestamp) -> Result<()> {
    // A clock that was set back must not lead to numbers that the log had before the backup.
    let time = restored.max(backup);
    let by_time = u64::try_from(time.unix_millis()).unwrap_or(0).saturating_mul(NUMBERS_PER_MILLISECOND);
    let partitions: Vec<(u16, u64)> = db
        .prepare("SELECT id, next FROM partition")?
        .query_map([], |row| Ok((row.get(0)?, column_u64(row, 1)?)))?
        .collect::<Result<_>>()?;
    for (partition, first) in partitions {
        // If the clock was set back, the numbers still increase.
        let next = by_time.max(first + 1);
        db.execute(
            "INSERT INTO lost_events (partition, first, next, backup, restored) VALUES (?, ?, ?, ?, ?)",
            params![
                partition,
                rows::signed(first),
                rows::signed(next),
                backup.unix_millis(),
                restored.unix_millis()
            ],
        )?;
        db.execute("UPDATE partition SET next = ? WHERE id = ?", params![rows::signed(next), partition])?;
    }
    Ok(())
}

/// Returns the state of each partition.
pub(crate) fn partition_states(db: &Connection) -> Result<Vec<PartitionState>> {
    let mut select = db.prepare_cached("SELECT id, next, last_enqueued, bytes FROM partition ORDER BY id")?;
    let mut rows = select.query([])?;
    let mut states = Vec::new();
    while let Some(row) = rows.next()? {
        let next_sequence = column_u64(row, 1)?;
        // After a restore, the last event is the one before the events that were lost.
        let last = last_before(db, row.get(0)?, next_sequence)?.checked_sub(1);
        let first_event = first_event_from(db, row.get(0)?, 0)?;
        states.push(PartitionState {
            begin: first_event.map_or(next_sequence, |(sequence, _)| sequence),
            next: next_sequence,
            last,
            oldest: first_event.map(|(_, enqueued)| Timestamp::from_unix_millis(enqueued)),
            last_enqueued: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_unix_millis),
            bytes: column_u64(row, 3)?,
        });
    }
    Ok(states)
}

/// Returns the sequence number of the first event that was appended at `time` or later, or of the next event if there
/// is none. Uses a binary search: within a partition, times never decrease. Lost events leave gaps in the numbers.
pub(crate) fn first_since(db: &Connection, partition: u16, time: Timestamp) -> Result<u64> {
    let mut end = db
        .prepare_cached("SELECT next FROM partition WHERE id = ?")?
        .query_row([partition], |row| column_u64(row, 0))?;
    let Some((mut begin, _)) = first_event_from(db, partition, 0)? else { return Ok(end) };
    while begin < end {
        let middle = begin + (end - begin) / 2;
        match first_event_from(db, partition, middle)? {
            Some((_, enqueued)) if enqueued < time.unix_millis() => begin = middle + 1,
            _ => end = middle,
        }
    }
    Ok(begin)
}

/// Removes events that were appended before `cutoff`, and the oldest events while the log is larger than `max_bytes`:
/// at most [`MAX_REMOVED_EVENTS`], and only from the partition with the oldest event. Returns their number. Sizes
/// include [`EVENT_OVERHEAD`].
pub(crate) fn remove_oldest_events(db: &Connection, cutoff: Timestamp, max_bytes: u64) -> Result<u64> {
    let states = partition_states(db)?;
    let mut surplus_bytes = states.iter().map(|state| state.bytes).sum::<u64>().saturating_sub(max_bytes);
    let mut by_age: Vec<(i64, u16)> = (0..)
        .zip(&states)
        .filter_map(|(partition, state)| Some((state.oldest?.unix_millis(), partition)))
        .collect();
    by_age.sort_unstable();
    let Some((_, partition)) = by_age.first().copied() else { return Ok(0) };
    // Up to the oldest event of the other partitions, the events of this partition are the oldest of the log.
    let oldest_of_others = by_age.get(1).map_or(i64::MAX, |(oldest, _)| *oldest);
    let mut select = db.prepare_cached(
        "SELECT key, enqueued, \
         octet_length(property_bag) + coalesce(octet_length(properties), 0) + octet_length(body) FROM event \
         WHERE key >= ? AND key < ? ORDER BY key LIMIT ?",
    )?;
    let mut rows = select.query([first_key(partition), first_key(partition + 1), MAX_REMOVED_EVENTS])?;
    let (mut last_key, mut removed_events, mut removed_bytes) = (None, 0, 0);
    while let Some(row) = rows.next()? {
        let (key, enqueued, size): (i64, i64, _) = (row.get(0)?, row.get(1)?, column_u64(row, 2)?);
        let is_surplus = surplus_bytes > 0 && enqueued <= oldest_of_others;
        if enqueued >= cutoff.unix_millis() && !is_surplus {
            break;
        }
        surplus_bytes = surplus_bytes.saturating_sub(size + EVENT_OVERHEAD);
        removed_bytes += size + EVENT_OVERHEAD;
        removed_events += 1;
        last_key = Some(key);
    }
    drop(rows);
    if let Some(last_key) = last_key {
        db.prepare_cached("DELETE FROM event WHERE key >= ? AND key <= ?")?
            .execute([first_key(partition), last_key])?;
        db.prepare_cached("UPDATE partition SET bytes = bytes - ? WHERE id = ?")?
            .execute(params![rows::signed(removed_bytes), partition])?;
    }
    Ok(removed_events)
}
