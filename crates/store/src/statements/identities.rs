//! Devices and modules.

use std::sync::LazyLock;

use ferrohub_core::connections::{Activity, Presence, SaveSessionOutcome};
use ferrohub_core::registry::{DeviceCounts, DeviceFilter, Identity};
use ferrohub_core::session::Session;
use ferrohub_model::{DeviceId, IdentityId, ModuleId, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Result, params};

use crate::rows::{self, IDENTITY_COLUMNS, id_columns};

pub(crate) fn identity_and_session(
    db: &Connection,
    id: &IdentityId,
) -> Result<Option<(Identity, Option<Session>)>> {
    static SELECT: LazyLock<String> = LazyLock::new(|| {
        format!("SELECT {IDENTITY_COLUMNS} FROM identity WHERE device_id = ? AND module_id = ?")
    });
    let (device, module) = id_columns(id);
    db.prepare_cached(&SELECT)?.query_row([device, module], rows::identity).optional()
}

pub(crate) fn devices(
    db: &Connection,
    filter: &DeviceFilter,
    after: Option<&DeviceId>,
    top: usize,
) -> Result<Vec<Identity>> {
    // The ids that start with the prefix are a range of the primary key.
    let prefix = filter.prefix.as_deref().unwrap_or_default();
    let end = format!("{prefix}{}", char::MAX);
    let mut statement = db.prepare_cached(&select_devices(filter.connected))?;
    let after = after.map_or("", DeviceId::as_str);
    let found = statement.query_map(params![prefix, end, after, rows::limit(top)], rows::identity)?;
    found.map(|one| one.map(|(identity, _)| identity)).collect()
}

/// Returns the statement that selects a page of devices.
fn select_devices(connected: Option<bool>) -> String {
    // The connected identities have an index of their own, which SQLite only uses for this very condition.
    let state = match connected {
        None => "",
        Some(true) => "AND connected",
        Some(false) => "AND NOT connected",
    };
    format!(
        "SELECT {IDENTITY_COLUMNS} FROM identity \
         WHERE module_id = '' AND device_id >= ?1 AND device_id < ?2 AND device_id > ?3 {state} \
         ORDER BY device_id LIMIT ?4"
    )
}

pub(crate) fn modules(
    db: &Connection,
    device: &DeviceId,
    after: Option<&ModuleId>,
    top: usize,
) -> Result<Vec<Identity>> {
    // A device is the row whose module id is empty.
    let after = after.map_or("", ModuleId::as_str);
    let mut statement = db.prepare_cached(&format!(
        "SELECT {IDENTITY_COLUMNS} FROM identity WHERE device_id = ? AND module_id > ? ORDER BY module_id LIMIT ?"
    ))?;
    let found = statement.query_map(params![device.as_str(), after, rows::limit(top)], rows::identity)?;
    found.map(|one| one.map(|(identity, _)| identity)).collect()
}

pub(crate) fn save_session(
    db: &Connection,
    id: &IdentityId,
    session: Option<Session>,
) -> Result<SaveSessionOutcome> {
    let (device, module) = id_columns(id);
    let changed = db
        .prepare_cached("UPDATE identity SET session = ? WHERE device_id = ? AND module_id = ?")?
        .execute(params![session.map(Session::bits), device, module])?;
    Ok(if changed == 1 { SaveSessionOutcome::Saved } else { SaveSessionOutcome::NotFound })
}

pub(crate) fn save_activity(db: &Connection, activity: &[Activity]) -> Result<()> {
    let mut update_activity = db.prepare_cached(
        "UPDATE identity SET last_activity = max(last_activity, ?1) \
         WHERE device_id = ?2 AND module_id = ?3 AND generation_id = ?4",
    )?;
    let mut update_presence = db.prepare_cached(
        "UPDATE identity SET last_activity = max(last_activity, ?1), connected = ?5, connection_state_updated = ?6 \
         WHERE device_id = ?2 AND module_id = ?3 AND generation_id = ?4 AND connection_state_updated <= ?6",
    )?;
    for one in activity {
        let (device, module) = id_columns(&one.id);
        let last_activity = one.last_activity.unix_millis();
        let generation = &one.generation_id;
        let changed = match one.presence {
            None => 0,
            Some(Presence { connected, since }) => {
                let since = since.unix_millis();
                update_presence.execute(params![
                    last_activity,
                    device,
                    module,
                    generation,
                    connected,
                    since
                ])?
            }
        };
        if changed == 0 {
            update_activity.execute(params![last_activity, device, module, generation])?;
        }
    }
    Ok(())
}

pub(crate) fn mark_all_disconnected(db: &Connection, since: Timestamp) -> Result<u64> {
    let changed = db
        .prepare_cached(
            "UPDATE identity SET connected = 0, connection_state_updated = max(connection_state_updated, ?) \
             WHERE connected",
        )?
        .execute([since.unix_millis()])?;
    Ok(changed as u64)
}

pub(crate) fn device_counts(db: &Connection) -> Result<DeviceCounts> {
    db.prepare_cached("SELECT devices, disabled FROM registry_size")?.query_row([], |row| {
        let count = |column| Ok::<_, rusqlite::Error>(row.get::<_, i64>(column)?.unsigned_abs());
        Ok(DeviceCounts { total: count(0)?, disabled: count(1)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Database, HUB_DATABASE};

    #[test]
    fn a_list_of_connected_devices_reads_only_these() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::new(folder.path(), &HUB_DATABASE).open_for_writing().unwrap();
        let plan = |connected| {
            let sql = format!("EXPLAIN QUERY PLAN {}", select_devices(connected));
            let mut statement = db.prepare(&sql).unwrap();
            let steps =
                statement.query_map(params!["", "~", "", 100], |row| row.get::<_, String>(3)).unwrap();
            steps.map(std::result::Result::unwrap).collect::<Vec<_>>().join("; ")
        };
        assert!(plan(Some(true)).contains("USING INDEX connected_identity"), "{}", plan(Some(true)));
        for connected in [None, Some(true), Some(false)] {
            assert!(!plan(connected).contains("TEMP B-TREE"), "{connected:?}: {}", plan(connected));
        }
    }
}
