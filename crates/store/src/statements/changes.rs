//! Changes of identities and twins.

use ferrohub_core::registry::Identity;
use ferrohub_core::store::{Applied, Change, ChangeGroup, Refusal, Refused};
use ferrohub_core::twins::{TwinChangeFn, TwinDocument};
use ferrohub_model::IdentityId;
use ferrohub_model::device::Status;
use rusqlite::{Connection, Result, params};

use super::jobs::end_job_device;
use super::twins::{save_twin, twin};
use crate::rows::{self, IDENTITY_COLUMNS, id_columns};

/// The outcome of one change; `Ok` contains the identity and its changed twin, if the change is one of a twin.
type ChangeOutcome = std::result::Result<Option<(Identity, TwinDocument)>, Refusal>;

pub(crate) fn apply(
    db: &Connection,
    groups: Vec<ChangeGroup>,
) -> Result<Vec<std::result::Result<Applied, Refused>>> {
    groups.into_iter().map(|group| apply_group(db, group)).collect()
}

fn apply_group(db: &Connection, group: ChangeGroup) -> Result<std::result::Result<Applied, Refused>> {
    // A single change writes nothing when it is refused.
    if group.0.len() < 2 {
        return apply_changes(db, group);
    }
    db.prepare_cached("SAVEPOINT change_group")?.execute([])?;
    let outcome = apply_changes(db, group)?;
    if outcome.is_err() {
        db.prepare_cached("ROLLBACK TO change_group")?.execute([])?;
    }
    db.prepare_cached("RELEASE change_group")?.execute([])?;
    Ok(outcome)
}

fn apply_changes(db: &Connection, group: ChangeGroup) -> Result<std::result::Result<Applied, Refused>> {
    let mut applied = Applied::default();
    for change in group.0 {
        let outcome = match &change {
            Change::Create { identity, limit } => create(db, identity, *limit),
            Change::EnsureModule(module) => ensure_module(db, module),
            Change::Update { identity, expected_etag } => update(db, identity, expected_etag),
            Change::Delete { id, expected_etag } => delete(db, id, expected_etag.as_deref()),
            Change::EnsureNoModule(id) => delete(db, id, None).map(|_| Ok(None)),
            Change::Twin { id, change } => change_twin(db, id, change),
            Change::JobDevice { id, lease, now } => {
                end_job_device(db, id, *lease, *now).map(|ended| ended.map(|()| None))
            }
        }?;
        match outcome {
            Ok(twin) => applied.twins.extend(twin),
            Err(reason) => return Ok(Err(Refused { id: change.id().clone(), reason })),
        }
    }
    Ok(Ok(applied))
}

fn create(db: &Connection, identity: &Identity, limit: u64) -> Result<ChangeOutcome> {
    let (device, module) = id_columns(&identity.id);
    if !module.is_empty() && !exists(db, device, "")? {
        return Ok(Err(Refusal::NoDevice));
    }
    if exists(db, device, module)? {
        return Ok(Err(Refusal::Exists));
    }
    if count_towards_limit(db, device, module)? >= limit {
        return Ok(Err(Refusal::Full { limit }));
    }
    insert(db, identity)?;
    Ok(Ok(None))
}

fn ensure_module(db: &Connection, identity: &Identity) -> Result<ChangeOutcome> {
    let (device, module) = id_columns(&identity.id);
    if !exists(db, device, "")? {
        return Ok(Err(Refusal::NoDevice));
    }
    if !exists(db, device, module)? {
        insert(db, identity)?;
    }
    Ok(Ok(None))
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

fn update(db: &Connection, identity: &Identity, expected_etag: &str) -> Result<ChangeOutcome> {
    let (device, module) = id_columns(&identity.id);
    let (authentication, primary, secondary) = rows::authentication_columns(&identity.authentication);
    let changed_rows = db
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
    changed(db, changed_rows, device, module)
}

fn delete(db: &Connection, id: &IdentityId, expected_etag: Option<&str>) -> Result<ChangeOutcome> {
    let (device, module) = id_columns(id);
    let deleted = db
        .prepare_cached(
            "DELETE FROM identity WHERE device_id = ?1 AND module_id = ?2 AND (?3 IS NULL OR etag = ?3)",
        )?
        .execute(params![device, module, expected_etag])?;
    if deleted == 1 && module.is_empty() {
        db.prepare_cached("DELETE FROM identity WHERE device_id = ?")?.execute([device])?;
    }
    changed(db, deleted, device, module)
}

fn change_twin(db: &Connection, id: &IdentityId, change: &TwinChangeFn) -> Result<ChangeOutcome> {
    let Some((identity, old)) = twin(db, id)? else { return Ok(Err(Refusal::NotFound)) };
    match change(&old) {
        Err(error) => Ok(Err(Refusal::Twin(error))),
        Ok(new) => {
            if new != old {
                save_twin(db, id, &new)?;
            }
            Ok(Ok(Some((identity, new))))
        }
    }
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

/// Returns the outcome of a change by id and etag that changed this number of rows.
fn changed(db: &Connection, rows: usize, device: &str, module: &str) -> Result<ChangeOutcome> {
    Ok(match rows {
        0 if exists(db, device, module)? => Err(Refusal::WrongEtag),
        0 => Err(Refusal::NotFound),
        _ => Ok(None),
    })
}
