//! The paths of a plan: an adapter reads only what a query needs, and a target condition must not use some members.

use super::{Condition, Operand, Output, Path, Query};

impl Query {
    /// Calls `visit` with every path of the query, also with those of its columns. Paths may be repeated.
    pub fn visit_paths<'q>(&'q self, visit: &mut impl FnMut(&'q Path)) {
        if let Some(condition) = &self.filter.condition {
            condition.visit_paths(visit);
        }
        match &self.output {
            Output::Documents => {}
            Output::Columns(columns) => columns.iter().for_each(|column| visit(&column.value)),
            Output::Totals(columns) => {
                columns.iter().filter_map(|column| column.value.path()).for_each(visit)
            }
            Output::Groups { by, columns } => {
                visit(by);
                columns.iter().filter_map(|column| column.value.aggregate()?.path()).for_each(visit);
            }
        }
    }
}

impl Condition {
    /// Calls `visit` with every path of the condition. Paths may be repeated.
    pub fn visit_paths<'q>(&'q self, visit: &mut impl FnMut(&'q Path)) {
        match self {
            Self::Constant(_) => {}
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.visit_paths(visit)),
            Self::Not(inner) => inner.visit_paths(visit),
            Self::In { value: operand, .. }
            | Self::IsDefined(operand)
            | Self::HasType(_, operand)
            | Self::Value(operand) => operand.visit_paths(visit),
            Self::Compare { left, right, .. }
            | Self::Text { text: left, part: right, .. }
            | Self::ArrayContains { array: left, value: right } => {
                left.visit_paths(visit);
                right.visit_paths(visit);
            }
        }
    }
}

impl Operand {
    fn visit_paths<'q>(&'q self, visit: &mut impl FnMut(&'q Path)) {
        match self {
            Self::Undefined | Self::Literal(_) | Self::List(_) => {}
            Self::Path(path) => visit(path),
            Self::Negate(inner) => inner.visit_paths(visit),
            Self::Arithmetic { left, right, .. } => {
                left.visit_paths(visit);
                right.visit_paths(visit);
            }
            Self::Condition(condition) => condition.visit_paths(visit),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Dialect, Limits, Query};

    fn paths(text: &str) -> String {
        let query = Query::parse(text, Dialect::Twins, &Limits::QUERY).unwrap();
        let mut paths = Vec::new();
        query.visit_paths(&mut |path| paths.push(path.to_string()));
        paths.join(" ")
    }

    #[test]
    fn every_path_of_a_query_is_visited() {
        assert_eq!(paths("SELECT * FROM devices"), "");
        assert_eq!(
            paths("SELECT status, id FROM devices WHERE other = 1 OR NOT tags.a"),
            "[[other]] tags.a status deviceId"
        );
        assert_eq!(paths("SELECT COUNT(), MIN(version) FROM devices"), "version");
        assert_eq!(
            paths(
                "SELECT SUM(tags.n), tags.k FROM devices WHERE (tags.a = -tags.b) = (tags.c + 1 > 2) GROUP BY tags.k"
            ),
            "tags.a tags.b tags.c tags.k tags.n"
        );
        assert_eq!(
            paths(
                "SELECT * FROM devices WHERE IS_DEFINED(tags.a) AND IS_NULL(tags.b) AND CONTAINS(tags.c, tags.d) \
                 AND ARRAY_CONTAINS(tags.e, tags.f) AND tags.g IN [1]"
            ),
            "tags.a tags.b tags.c tags.d tags.e tags.f tags.g"
        );
    }
}
