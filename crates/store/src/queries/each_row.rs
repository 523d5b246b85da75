//! Reads the rows of a page, one after another.

use rusqlite::{Connection, Result, Row, Rows, params_from_iter};

use super::statement::Statement;
use super::stop;

/// Calls `add` with each row, until it has no room for one and returns false. Returns whether there are more rows. If there
/// are rows when the time is over, the page ends there, and the next one continues.
pub(super) fn each_row(
    db: &Connection,
    statement: &Statement,
    mut add: impl FnMut(&Row<'_>) -> Result<bool>,
) -> Result<bool> {
    let Some(of_row) = &statement.row else {
        let mut select = db.prepare(&statement.sql)?;
        return each_of(select.query(params_from_iter(&statement.parameters))?, add);
    };
    // Both statements read the same snapshot. The transaction writes nothing, and is rolled back.
    let _transaction = db.unchecked_transaction()?;
    let mut ids: Vec<[String; 2]> = Vec::new();
    let has_more = {
        let mut select = db.prepare(&statement.sql)?;
        each_of(select.query(params_from_iter(&statement.parameters))?, |row| {
            ids.push([row.get(0)?, row.get(1)?]);
            Ok(true)
        })?
    };
    let mut select = db.prepare(&of_row.sql)?;
    let mut has_rows = false;
    for ids in &ids {
        let parameters = ids.iter().chain(&of_row.parameters);
        match select.query_row(params_from_iter(parameters), &mut add) {
            Ok(true) => has_rows = true,
            Ok(false) => return Ok(true),
            Err(error) if has_rows && stop::is_stopped(&error) => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(has_more)
}

fn each_of(mut rows: Rows<'_>, mut add: impl FnMut(&Row<'_>) -> Result<bool>) -> Result<bool> {
    let mut has_rows = false;
    loop {
        match rows.next() {
            Ok(None) => return Ok(false),
            Ok(Some(row)) => {
                if !add(row)? {
                    return Ok(true);
                }
                has_rows = true;
            }
            Err(error) if has_rows && stop::is_stopped(&error) => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}
