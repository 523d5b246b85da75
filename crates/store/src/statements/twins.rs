//! Twins.

use std::sync::LazyLock;

use ferrohub_core::registry::Identity;
use ferrohub_core::store::{ChangeTwin, TwinChanged};
use ferrohub_core::twins::TwinDocument;
use ferrohub_model::IdentityId;
use ferrohub_model::twin::Properties;
use rusqlite::{Connection, OptionalExtension as _, Result, params};

use crate::rows::{self, IDENTITY, TWIN, key_of};

pub(crate) fn twin(db: &Connection, id: &IdentityId) -> Result<Option<(Identity, TwinDocument)>> {
    static SELECT: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT {IDENTITY}, {TWIN} FROM identity LEFT JOIN twin USING (device_id, module_id) \
             WHERE device_id = ? AND module_id = ?"
        )
    });
    let (device, module) = key_of(id);
    let read = |row: &rusqlite::Row<'_>| Ok((rows::identity(row)?.0, rows::twin(row)?.unwrap_or_default()));
    db.prepare_cached(&SELECT)?.query_row([device, module], read).optional()
}

pub(crate) fn change_twin(db: &Connection, id: &IdentityId, change: &ChangeTwin) -> Result<TwinChanged> {
    let Some((identity, old)) = twin(db, id)? else { return Ok(TwinChanged::NotFound) };
    match change(&old) {
        Err(error) => Ok(TwinChanged::Refused(error)),
        Ok(new) => {
            if new != old {
                save_twin(db, id, &new)?;
            }
            Ok(TwinChanged::Done(Box::new((identity, new))))
        }
    }
}

fn save_twin(db: &Connection, id: &IdentityId, twin: &TwinDocument) -> Result<()> {
    static SAVE: LazyLock<String> = LazyLock::new(|| {
        format!(
            "INSERT OR REPLACE INTO twin (device_id, module_id, {TWIN}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
    });
    let (device, module) = key_of(id);
    db.prepare_cached(&SAVE)?.execute(params![
        device,
        module,
        count(twin.updates),
        twin.model_id,
        json(&twin.tags),
        json(&twin.desired.values),
        json(&twin.desired.metadata),
        count(twin.desired.version),
        json(&twin.reported.values),
        json(&twin.reported.metadata),
        count(twin.reported.version),
    ])?;
    Ok(())
}

fn json(object: &Properties) -> String {
    serde_json::to_string(object).unwrap_or_default()
}

/// SQLite's integers have a sign; no twin is changed that often.
fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
