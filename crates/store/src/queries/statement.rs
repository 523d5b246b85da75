//! The whole statement of a page.

use ferrohub_core::queries::{PageRequest, Position};
use ferrohub_query::plan::{Collection, Output, Path, Root};
use ferrohub_query::{Aggregation, Query};

use super::indexes::IndexedPath;
use super::paths::Scope;
use super::source::Source;
use super::sql::{Parameters, join};
use crate::rows::{self, IDENTITY_COLUMNS, TWIN_VALUES};
use crate::statements::jobs::{JOB_COLUMNS, ROW_COLUMNS};

/// A statement and its parameters.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) parameters: Vec<String>,
    /// If this is given, `sql` reads only the ids of the rows, and this reads one row: by its device id and module id, which
    /// are the first two parameters.
    pub(super) row: Option<RowStatement>,
    /// Whether it calls the functions of the live state.
    pub(super) is_live: bool,
}

/// The statement that reads one row.
#[derive(Debug)]
pub(super) struct RowStatement {
    pub(super) sql: String,
    /// The parameters after the ids.
    pub(super) parameters: Vec<String>,
}

/// Builds the statement for a page.
///
/// An index gives the rows in the order of its values, so that SQLite has to sort them, and copies each one for it. So a page
/// whose condition has an indexed path reads the ids first: it keeps a thousand ids, and not a thousand twins.
///
/// * For whole twins, its rows are the columns of identity and twin; for the rows of jobs, those of job and row.
/// * For columns: device id, module id, and the JSON text of each column.
/// * For aggregates: the JSON text of each path of the aggregation, or only the number of rows if it only counts.
pub(super) fn build(request: &PageRequest, indexed: &[IndexedPath]) -> Statement {
    let query = &*request.query;
    let source = Source::of(query);
    let (collection, parameters) = (query.filter.collection, Parameters::default());
    let mut scope = Scope { source, collection, indexed, parameters };
    let aggregation = Aggregation::new(&query.output);
    if aggregation.as_ref().is_some_and(Aggregation::only_counts)
        && query.filter.condition.is_none()
        && query.filter.collection == Collection::Devices
    {
        let sql = "SELECT devices FROM registry_size".to_owned();
        return Statement { sql, parameters: Vec::new(), row: None, is_live: false };
    }
    let reads_ids_first =
        aggregation.is_none() && collection != Collection::Jobs && names_indexed(query, indexed);
    let mut row_scope = Scope { source, collection, indexed, parameters: Parameters::default() };
    let of_row = reads_ids_first.then(|| {
        let ids = [source.device_id(), source.module_id()];
        let bound = ids.map(|column| format!("{column} = {}", row_scope.parameters.reserve()));
        join("AND", &bound)
    });
    let values = match (&aggregation, &query.output) {
        (Some(aggregation), _) if aggregation.only_counts() => "count(*)".to_owned(),
        (Some(aggregation), _) => values(&mut scope, aggregation.paths()),
        (None, Output::Columns(columns)) => {
            let ids = [source.device_id(), source.module_id()].map(str::to_owned);
            let scope = if reads_ids_first { &mut row_scope } else { &mut scope };
            let columns = values(scope, columns.iter().map(|column| &column.value));
            [&ids[..], &[columns]].concat().join(", ")
        }
        (None, _) if collection == Collection::Jobs => job_columns(),
        (None, _) => format!("{}, {TWIN_VALUES}", identity_columns()),
    };
    let mut conditions = vec![match collection {
        Collection::Modules => format!("{} > ''", source.module_id()),
        Collection::Devices => format!("{} = ''", source.module_id()),
        Collection::Jobs => "1".to_owned(),
    }];
    conditions.extend(query.filter.condition.as_ref().map(|condition| scope.is_true(condition)));
    if aggregation.is_none() {
        conditions.extend(after(&mut scope, request.position.as_ref()));
    }
    let tables = source.tables();
    let (values, row) = match of_row {
        None => (values, None),
        Some(of_row) => {
            let sql = format!("SELECT {values} FROM {tables} WHERE {of_row}");
            let parameters = row_scope.parameters.values().iter().skip(2).cloned().collect();
            let ids = format!("{}, {}", source.device_id(), source.module_id());
            (ids, Some(RowStatement { sql, parameters }))
        }
    };
    let mut sql = format!("SELECT {values} FROM {tables} WHERE {}", join("AND", &conditions));
    if aggregation.is_none() {
        // One more row tells whether there is another page.
        let rows = request.rows.saturating_add(1);
        let first = if collection == Collection::Jobs { "d.job, " } else { "" };
        let (device, module) = (source.device_id(), source.module_id());
        sql.push_str(&format!(" ORDER BY {first}{device}, {module} LIMIT {rows}"));
    }
    let mut is_live = false;
    query.visit_paths(&mut |path: &Path| {
        is_live |= matches!(path.root(), Some(Root::ConnectionState | Root::LastActivityTime));
    });
    Statement { sql, parameters: scope.parameters.values().to_vec(), row, is_live }
}

/// Returns whether the condition has a path with an index.
fn names_indexed(query: &Query, indexed: &[IndexedPath]) -> bool {
    let mut names = false;
    if let Some(condition) = &query.filter.condition {
        condition.visit_paths(&mut |path| names |= indexed.iter().any(|indexed| indexed.is(path)));
    }
    names
}

/// Returns the JSON texts of paths as columns of the result.
fn values<'q>(scope: &mut Scope<'_>, paths: impl IntoIterator<Item = &'q Path>) -> String {
    let values: Vec<_> = paths.into_iter().map(|path| scope.path(path).into_json()).collect();
    values.join(", ")
}

/// Returns the columns of an identity. Their names also occur in `twin`.
fn identity_columns() -> String {
    let columns: Vec<_> = IDENTITY_COLUMNS.split(',').map(|column| format!("i.{}", column.trim())).collect();
    columns.join(", ")
}

/// Returns the columns of a job, and of its row.
fn job_columns() -> String {
    let job = JOB_COLUMNS.iter().map(|column| format!("j.{column}"));
    let row = ROW_COLUMNS.iter().map(|column| format!("d.{column}"));
    job.chain(row).collect::<Vec<_>>().join(", ")
}

/// Returns the condition for rows after a position.
fn after(scope: &mut Scope<'_>, position: Option<&Position>) -> Option<String> {
    let (number, id) = match position? {
        Position::After(id) => (None, id),
        Position::AfterJob { number, id } => (Some(*number), id),
        Position::Row(_) => return None,
    };
    let (device_column, module_column) = (scope.source.device_id(), scope.source.module_id());
    let device = scope.parameters.bind(id.device_str());
    Some(match scope.collection {
        Collection::Jobs => {
            let module = scope.parameters.bind(id.module_str().unwrap_or_default());
            // A number, and not a text as all parameters.
            let number = rows::signed(number?);
            format!("(d.job, {device_column}, {module_column}) > ({number}, {device}, {module})")
        }
        Collection::Modules => {
            let module = scope.parameters.bind(id.module_str().unwrap_or_default());
            format!("({device_column}, {module_column}) > ({device}, {module})")
        }
        Collection::Devices => format!("{device_column} > {device}"),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ferrohub_core::queries::{LiveState, QueryLimits};
    use ferrohub_model::{IdentityId, Timestamp};
    use ferrohub_query::{Dialect, Limits};

    use super::*;

    struct Nobody;

    impl LiveState for Nobody {
        fn is_connected(&self, _: &IdentityId, _: &str) -> bool {
            false
        }

        fn last_activity(&self, _: &IdentityId, _: &str, stored: Timestamp) -> Timestamp {
            stored
        }
    }

    fn statement(query: &str) -> Statement {
        let request = PageRequest {
            query: Arc::new(Query::parse(query, Dialect::Twins, &Limits::QUERY).unwrap()),
            position: None,
            rows: 10,
            limits: QueryLimits::default(),
            live: Arc::new(Nobody),
        };
        build(&request, &["tags.building".parse().unwrap()])
    }

    #[test]
    fn only_ids_are_sorted_if_an_index_may_give_the_rows() {
        let twins = statement("SELECT * FROM devices WHERE tags.building = 7");
        assert!(twins.sql.starts_with("SELECT t.device_id, t.module_id FROM twin AS t "), "{}", twins.sql);
        assert!(twins.sql.ends_with("ORDER BY t.device_id, t.module_id LIMIT 11"), "{}", twins.sql);
        let row = twins.row.unwrap();
        assert!(row.sql.ends_with("WHERE (t.device_id = ?1 AND t.module_id = ?2)"), "{}", row.sql);
        assert_eq!(row.parameters, Vec::<String>::new());
        let columns = statement("SELECT tags.other, tags FROM devices WHERE tags.building IN [1, 2]");
        assert!(!columns.sql.contains("other"), "{}", columns.sql);
        assert!(columns.row.is_some());
        for other in [
            "SELECT * FROM devices WHERE tags.other = 7",
            "SELECT tags.building FROM devices",
            "SELECT COUNT() FROM devices WHERE tags.building = 7",
            "SELECT * FROM devices.jobs",
        ] {
            assert!(statement(other).row.is_none(), "{other}");
        }
    }
}
