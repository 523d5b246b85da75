//! Twins.

use std::sync::LazyLock;

use ferrohub_core::registry::Identity;
use ferrohub_core::twins::TwinDocument;
use ferrohub_model::IdentityId;
use rusqlite::{Connection, OptionalExtension as _, Result, params};
use serde::Serialize;

use crate::rows::{self, IDENTITY_COLUMNS, TWIN_COLUMNS, TWIN_VALUES, id_columns};

pub(crate) fn twin(db: &Connection, id: &IdentityId) -> Result<Option<(Identity, TwinDocument)>> {
    static SELECT: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT {IDENTITY_COLUMNS}, {TWIN_VALUES} FROM identity LEFT JOIN twin USING (device_id, module_id) \
             WHERE device_id = ? AND module_id = ?"
        )
    });
    let (device, module) = id_columns(id);
    let read = |row: &rusqlite::Row<'_>| Ok((rows::identity(row)?.0, rows::twin(row)?.unwrap_or_default()));
    db.prepare_cached(&SELECT)?.query_row([device, module], read).optional()
}

pub(super) fn save_twin(db: &Connection, id: &IdentityId, twin: &TwinDocument) -> Result<()> {
    static SAVE: LazyLock<String> = LazyLock::new(|| {
        let excluded: Vec<_> = TWIN_COLUMNS.split(", ").map(|column| format!("excluded.{column}")).collect();
        let excluded = excluded.join(", ");
        format!(
            "INSERT INTO twin (device_id, module_id, {TWIN_COLUMNS}) \
             VALUES (?, ?, ?, ?, jsonb(?), jsonb(?), jsonb(?), ?, jsonb(?), jsonb(?), ?, jsonb(?), jsonb(?)) \
             ON CONFLICT DO UPDATE SET ({TWIN_COLUMNS}) = ({excluded})"
        )
    });
    let (device, module) = id_columns(id);
    let configured = Some(&twin.configured).filter(|configured| !configured.is_empty());
    db.prepare_cached(&SAVE)?.execute(params![
        device,
        module,
        rows::signed(twin.updates),
        twin.model_id,
        json(&twin.tags),
        json(&twin.desired.values),
        json(&twin.desired.metadata),
        rows::signed(twin.desired.version),
        json(&twin.reported.values),
        json(&twin.reported.metadata),
        rows::signed(twin.reported.version),
        configured.map(|configured| json(&configured.configurations)),
        configured.map(|configured| json(&configured.paths)),
    ])?;
    Ok(())
}

fn json(object: &impl Serialize) -> String {
    serde_json::to_string(object).unwrap_or_default()
}
