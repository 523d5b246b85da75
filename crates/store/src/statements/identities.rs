//! Devices and modules.

use std::sync::LazyLock;

use ferrohub_core::registry::Identity;
use ferrohub_core::session::Session;
use ferrohub_core::store::{Activity, DeviceCounts, ModuleChange, Presence, WriteOutcome};
use ferrohub_model::device::Status;
use ferrohub_model::{DeviceId, IdentityId, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Result, params};

use crate::rows::{self, IDENTITY_COLUMNS, id_columns};

pub(crate) fn create_identity(db: &Connection, identity: &Identity, limit: u64) -> Result<WriteOutcome> {
    let (device, module) = id_columns(&identity.id);
    if !module.is_empty() && !exists(db, device, "")? {
        return Ok(WriteOutcome::NotFound);
    }
    if exists(db, device, module)? {
        return Ok(WriteOutcome::Conflict);
    }
    if count_towards_limit(db, device, module)? >= limit {
        return Ok(WriteOutcome::Full);
    }
    insert(db, identity)?;
    Ok(WriteOutcome::Done)
}

/// Inserts an identity. The column `connected` has its default: not connected.
fn insert(db: &Connection, identity: &Identity) -> Result<()> {
    let (device, module) = id_columns(&identity.id);
    let (authentication, primary, secondary) = rows::authentication_columns(&identity.authentication);
    db.prepare_cached(&format!(
        "INSERT INTO identity ({IDENTITY_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,NULL,0)"
    ))?
    .execute(params![
        device,
        module,
        identity.generation_id,
        identity.etag,
        identity.status == Status::Disabled,
        identity.status_reason,
        identity.status_updated.unix_millis(),
        authentication,
        primary,
        secondary,
        identity.iot_edge,
        identity.device_scope,
        rows::parent_scopes(identity),
        identity.managed_by,
        identity.connection_state_updated.unix_millis(),
        identity.last_activity.unix_millis(),
    ])?;
    Ok(())
}

pub(crate) fn create_device(
    db: &Connection,
    device: &Identity,
    modules: &[Identity],
    limit: u64,
) -> Result<WriteOutcome> {
    let written = create_identity(db, device, limit)?;
    if written == WriteOutcome::Done {
        modules.iter().try_for_each(|module| insert(db, module))?;
    }
    Ok(written)
}

pub(crate) fn update_device(
    db: &Connection,
    device: &Identity,
    expected_etag: &str,
    modules: &ModuleChange,
) -> Result<WriteOutcome> {
    let written = update_identity(db, device, expected_etag)?;
    if written == WriteOutcome::Done {
        for module in &modules.added {
            let (device, name) = id_columns(&module.id);
            if !exists(db, device, name)? {
                insert(db, module)?;
            }
        }
        for module in &modules.removed {
            let (device, name) = id_columns(module);
            db.prepare_cached("DELETE FROM identity WHERE device_id = ? AND module_id = ?")?
                .execute([device, name])?;
        }
    }
    Ok(written)
}

pub(crate) fn update_identity(
    db: &Connection,
    identity: &Identity,
    expected_etag: &str,
) -> Result<WriteOutcome> {
    let (device, module) = id_columns(&identity.id);
    let (authentication, primary, secondary) = rows::authentication_columns(&identity.authentication);
    let changed = db
        .prepare_cached(
            "UPDATE identity SET etag = ?, disabled = ?, status_reason = ?, status_updated = ?, \
             authentication = ?, primary_secret = ?, secondary_secret = ?, iot_edge = ?, device_scope = ?, \
             parent_scopes = ?, managed_by = ? \
             WHERE device_id = ? AND module_id = ? AND etag = ? AND generation_id = ?",
        )?
        .execute(params![
            identity.etag,
            identity.status == Status::Disabled,
            identity.status_reason,
            identity.status_updated.unix_millis(),
            authentication,
            primary,
            secondary,
            identity.iot_edge,
            identity.device_scope,
            rows::parent_scopes(identity),
            identity.managed_by,
            device,
            module,
            expected_etag,
            identity.generation_id,
        ])?;
    write_outcome(db, changed, device, module)
}

pub(crate) fn delete_identity(
    db: &Connection,
    id: &IdentityId,
    expected_etag: Option<&str>,
) -> Result<WriteOutcome> {
    let (device, module) = id_columns(id);
    let deleted = db
        .prepare_cached(
            "DELETE FROM identity WHERE device_id = ?1 AND module_id = ?2 AND (?3 IS NULL OR etag = ?3)",
        )?
        .execute(params![device, module, expected_etag])?;
    if deleted == 1 && module.is_empty() {
        db.prepare_cached("DELETE FROM identity WHERE device_id = ?")?.execute([device])?;
    }
    write_outcome(db, deleted, device, module)
}

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

pub(crate) fn devices(db: &Connection, top: usize) -> Result<Vec<Identity>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {IDENTITY_COLUMNS} FROM identity WHERE module_id = '' ORDER BY device_id LIMIT ?"
    ))?;
    let found = statement.query_map([i64::try_from(top).unwrap_or(i64::MAX)], rows::identity)?;
    found.map(|one| one.map(|(identity, _)| identity)).collect()
}

pub(crate) fn modules(db: &Connection, device: &DeviceId) -> Result<Vec<Identity>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {IDENTITY_COLUMNS} FROM identity WHERE device_id = ? AND module_id <> '' ORDER BY module_id"
    ))?;
    let found = statement.query_map([device.as_str()], rows::identity)?;
    found.map(|one| one.map(|(identity, _)| identity)).collect()
}

pub(crate) fn save_session(
    db: &Connection,
    id: &IdentityId,
    session: Option<Session>,
) -> Result<WriteOutcome> {
    let (device, module) = id_columns(id);
    let changed = db
        .prepare_cached("UPDATE identity SET session = ? WHERE device_id = ? AND module_id = ?")?
        .execute(params![session.map(Session::bits), device, module])?;
    Ok(if changed == 1 { WriteOutcome::Done } else { WriteOutcome::NotFound })
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

fn exists(db: &Connection, device: &str, module: &str) -> Result<bool> {
    db.prepare_cached("SELECT 1 FROM identity WHERE device_id = ? AND module_id = ?")?
        .exists([device, module])
}

/// Returns how many identities share a limit with this one: all devices, or the modules of its device.
fn count_towards_limit(db: &Connection, device: &str, module: &str) -> Result<u64> {
    let count: i64 = if module.is_empty() {
        db.prepare_cached("SELECT devices FROM registry_size")?.query_row([], |row| row.get(0))
    } else {
        db.prepare_cached("SELECT count(*) FROM identity WHERE device_id = ? AND module_id <> ''")?
            .query_row([device], |row| row.get(0))
    }?;
    Ok(count.unsigned_abs())
}

fn write_outcome(db: &Connection, changed: usize, device: &str, module: &str) -> Result<WriteOutcome> {
    Ok(match changed {
        0 if exists(db, device, module)? => WriteOutcome::Conflict,
        0 => WriteOutcome::NotFound,
        _ => WriteOutcome::Done,
    })
}
