//! Leases of work that must happen once in a hub.

use ferrohub_core::background::{LeaseOutcome, LeaseRequest};
use ferrohub_model::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Result, params};

use crate::rows;

pub(crate) fn acquire_lease(db: &Connection, request: &LeaseRequest) -> Result<LeaseOutcome> {
    let LeaseRequest { name, holder, now, expiry } = request;
    let fence = db
        .prepare_cached(
            "INSERT INTO lease (name, holder, fence, expiry) VALUES (?1, ?2, 1, ?4) \
             ON CONFLICT (name) DO UPDATE SET holder = ?2, fence = fence + 1, expiry = ?4 \
             WHERE holder = ?2 OR expiry <= ?3 RETURNING fence",
        )?
        .query_row(params![name, holder, now.unix_millis(), expiry.unix_millis()], |row| {
            rows::u64_column(row, 0)
        })
        .optional()?;
    if let Some(fence) = fence {
        return Ok(LeaseOutcome::Granted { fence });
    }
    db.prepare_cached("SELECT holder, expiry FROM lease WHERE name = ?")?.query_row([name], |row| {
        Ok(LeaseOutcome::Held { holder: row.get(0)?, until: Timestamp::from_unix_millis(row.get(1)?) })
    })
}

pub(crate) fn set_lease_expiry(db: &Connection, name: &str, fence: u64, expiry: Timestamp) -> Result<bool> {
    let changed = db
        .prepare_cached("UPDATE lease SET expiry = ? WHERE name = ? AND fence = ? AND holder <> ''")?
        .execute(params![expiry.unix_millis(), name, rows::signed(fence)])?;
    Ok(changed == 1)
}

pub(crate) fn release_lease(db: &Connection, name: &str, fence: u64) -> Result<bool> {
    let changed = db
        .prepare_cached(
            "UPDATE lease SET holder = '', expiry = 0 WHERE name = ? AND fence = ? AND holder <> ''",
        )?
        .execute(params![name, rows::signed(fence)])?;
    Ok(changed == 1)
}
