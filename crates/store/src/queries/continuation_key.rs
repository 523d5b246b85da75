//! The key that signs continuation tokens.

use ferrohub_model::SharedAccessKey;
use rusqlite::{Connection, Result};

use crate::rows;

/// The name of the key in the table of secrets.
const NAME: &str = "query-continuation";

pub(crate) fn get_or_insert(db: &Connection, candidate: &SharedAccessKey) -> Result<SharedAccessKey> {
    db.prepare_cached("INSERT OR IGNORE INTO secret (name, key) VALUES (?, ?)")?
        .execute([NAME, &candidate.to_base64()])?;
    db.prepare_cached("SELECT key FROM secret WHERE name = ?")?.query_row([NAME], |row| rows::key(row, 0))
}
