//! Indexes for the paths that the operator declares.
//!
//! A declared path has an index over the JSON text of its values. SQLite uses it for `=`, `IN` and `STARTSWITH`. The
//! indexes are created and dropped when the store opens.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use ferrohub_query::plan::{Member, Path, Root};
use rusqlite::{Connection, Result};

use super::paths::json_path;

/// What the name of each of these indexes begins with.
const PREFIX: &str = "twin_path:";

/// Returns whether an index of this name is one for a declared path.
pub(crate) fn is_path_index(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// A path that has an index: below `tags`, `properties.desired` or `properties.reported`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedPath {
    text: String,
    path: Path,
    /// The column of the table and the path in it, as SQL.
    expression: String,
}

/// A text is not a path that can have an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIndexedPath {
    /// The text is not a path.
    #[error("{0}")]
    NotAPath(#[from] ferrohub_query::QueryError),
    /// Another path.
    #[error(
        "an indexed path begins with tags, properties.desired or properties.reported, and names a property there"
    )]
    NotAProperty,
}

impl IndexedPath {
    pub(super) fn is(&self, path: &Path) -> bool {
        self.path == *path
    }

    /// Returns the expression of the JSON text, relative to the table.
    pub(super) fn expression(&self) -> &str {
        &self.expression
    }

    fn index_name(&self) -> String {
        format!("{PREFIX}{}", self.expression)
    }
}

impl fmt::Display for IndexedPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for IndexedPath {
    type Err = InvalidIndexedPath;

    fn from_str(text: &str) -> Result<Self, InvalidIndexedPath> {
        let path = Path::parse(text)?;
        let Path::Known { root, members } = &path else { return Err(InvalidIndexedPath::NotAProperty) };
        let column = match root {
            Root::Tags => "tags",
            Root::Desired => "desired",
            Root::Reported => "reported",
            _ => return Err(InvalidIndexedPath::NotAProperty),
        };
        match members.first() {
            Some(Member::Name(name)) if !name.starts_with('$') => {}
            _ => return Err(InvalidIndexedPath::NotAProperty),
        }
        let json_path = json_path(members).ok_or(InvalidIndexedPath::NotAProperty)?;
        let expression = format!("{column} -> '{}'", json_path.replace('\'', "''"));
        Ok(Self { text: text.to_owned(), path, expression })
    }
}

/// Creates the indexes of these paths and drops those of others.
pub(crate) fn create(db: &Connection, paths: &[IndexedPath]) -> Result<()> {
    let wanted: BTreeMap<String, &IndexedPath> = paths.iter().map(|path| (path.index_name(), path)).collect();
    let existing: Vec<String> = db
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'index' AND substr(name, 1, length(?1)) = ?1")?
        .query_map([PREFIX], |row| row.get(0))?
        .collect::<Result<_>>()?;
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    for name in existing.iter().filter(|name| !wanted.contains_key(*name)) {
        tracing::info!(index = name, "drops the index of a path that is not declared any more");
        db.execute_batch(&format!("DROP INDEX {}", quoted(name)))?;
    }
    for (name, path) in wanted.iter().filter(|(name, _)| !existing.contains(name)) {
        tracing::info!(%path, "creates the index of a path; with many twins this takes some time");
        let IndexedPath { expression, .. } = path;
        db.execute_batch(&format!(
            "CREATE INDEX {} ON twin (({expression}), device_id, module_id)",
            quoted(name)
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_properties_can_be_indexed() {
        let expression = |text: &str| text.parse::<IndexedPath>().map(|path| path.expression);
        assert_eq!(expression("tags.building").unwrap(), r#"tags -> '$."building"'"#);
        assert_eq!(
            expression("Properties.Reported.a['it''s'][0]").unwrap(),
            r#"reported -> '$."a"."it''s"[0]'"#
        );
        for text in [
            "deviceId",
            "tags",
            "tags[0]",
            "properties.desired.$version",
            "properties.reported.$metadata.a",
            "other.a",
        ] {
            assert_eq!(expression(text), Err(InvalidIndexedPath::NotAProperty), "{text}");
        }
        for text in ["", "tags.a = 1", "tags.a; DROP TABLE twin", "tags.a)"] {
            assert!(matches!(expression(text), Err(InvalidIndexedPath::NotAPath(_))), "{text}");
        }
    }
}
