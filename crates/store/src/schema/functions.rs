//! The SQL functions of migrations: changes of stored values for which SQL has no fast expression.
//!
//! A function never changes its meaning, because the migrations that call it never change.

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, Error, Result};
use serde_json::{Map, Value};

/// The member that has the time of the last update, in the metadata of twins.
const LAST_UPDATED: &str = "$lastUpdated";
/// The time of what was never updated.
const NEVER: &str = "0001-01-01T00:00:00";
/// Length of a time up to the seconds.
const SECONDS_LENGTH: usize = NEVER.len();
/// Digits of the fraction of a second.
const FRACTION_DIGITS: usize = 7;

/// Registers the functions.
pub(crate) fn register(db: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    db.create_scalar_function("ferrohub_one_width", 1, flags, |context| {
        let text = context.get_raw(0).as_str()?;
        let mut metadata: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| Error::UserFunctionError(Box::new(error)))?;
        give_one_width(&mut metadata);
        Ok(Value::Object(metadata).to_string())
    })
}

/// Gives all times in the metadata of a twin the same number of digits, so that the order of the texts is that of the times.
fn give_one_width(metadata: &mut Map<String, Value>) {
    for (name, value) in metadata {
        match value {
            Value::String(time) if name == LAST_UPDATED => *time = with_fraction(time),
            Value::Object(members) => give_one_width(members),
            _ => {}
        }
    }
}

fn with_fraction(time: &str) -> String {
    let (seconds, fraction) =
        time.trim_end_matches('Z').split_at_checked(SECONDS_LENGTH).unwrap_or((time, ""));
    if seconds == NEVER {
        return format!("{NEVER}Z");
    }
    let digits: String = fraction.chars().filter(char::is_ascii_digit).take(FRACTION_DIGITS).collect();
    format!("{seconds}.{digits:0<FRACTION_DIGITS$}Z")
}
