//! Which tables a query reads.
//!
//! A twin that was never changed has no row in `twin`, so a query reads `identity` and joins `twin` to it. If the condition
//! is not true for the content of such a twin, the query reads `twin` first, which is much smaller and has the indexes of
//! paths. Tables that the query does not need are left out.

use ferrohub_core::twins::TwinDocument;
use ferrohub_query::Query;
use ferrohub_query::plan::{Collection, Condition, Output, Path, Root};
use serde_json::{Value, json};

/// The tables of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Only `identity`.
    Identities,
    /// `identity` with `twin`, whose columns are `NULL` for a twin that was never changed.
    IdentitiesWithTwins,
    /// Only `twin`.
    Twins,
    /// `twin` with `identity`.
    TwinsWithIdentities,
    /// `job_device` with `job`.
    Jobs,
}

impl Source {
    pub(super) fn of(query: &Query) -> Self {
        if query.filter.collection == Collection::Jobs {
            return Self::Jobs;
        }
        let (mut identity, mut twin) = (false, false);
        if query.output == Output::Documents {
            (identity, twin) = (true, true);
        }
        query.visit_paths(&mut |path| match Table::of(path) {
            Table::Identity => identity = true,
            Table::Twin | Table::Content => twin = true,
            Table::Both | Table::None => {}
        });
        let only_changed = query.filter.condition.as_ref().is_some_and(refuses_unchanged);
        match (only_changed, identity, twin) {
            (true, true, _) => Self::TwinsWithIdentities,
            (true, false, _) => Self::Twins,
            (false, _, true) => Self::IdentitiesWithTwins,
            (false, _, false) => Self::Identities,
        }
    }

    /// Returns the tables as SQL. The order of the tables is that of the loops.
    pub(super) fn tables(self) -> &'static str {
        match self {
            Self::Identities => "identity AS i",
            Self::IdentitiesWithTwins => {
                "identity AS i LEFT JOIN twin AS t ON t.device_id = i.device_id AND t.module_id = i.module_id"
            }
            Self::Twins => "twin AS t",
            Self::TwinsWithIdentities => {
                "twin AS t CROSS JOIN identity AS i ON i.device_id = t.device_id AND i.module_id = t.module_id"
            }
            Self::Jobs => "job_device AS d JOIN job AS j ON j.number = d.job",
        }
    }

    pub(super) fn device_id(self) -> &'static str {
        match self {
            Self::Identities | Self::IdentitiesWithTwins => "i.device_id",
            Self::Twins | Self::TwinsWithIdentities => "t.device_id",
            Self::Jobs => "d.device_id",
        }
    }

    pub(super) fn module_id(self) -> &'static str {
        match self {
            Self::Identities | Self::IdentitiesWithTwins => "i.module_id",
            Self::Twins | Self::TwinsWithIdentities => "t.module_id",
            Self::Jobs => "d.module_id",
        }
    }
}

/// The table that has the value of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    /// No table: the value is always undefined.
    None,
    /// Each table.
    Both,
    Identity,
    /// `twin`, and the value of a twin that was never changed depends on nothing else.
    Content,
    /// `twin`.
    Twin,
}

impl Table {
    fn of(path: &Path) -> Self {
        match path.root() {
            None => Self::None,
            Some(Root::DeviceId | Root::ModuleId) => Self::Both,
            Some(
                Root::Tags
                | Root::Properties
                | Root::Desired
                | Root::Reported
                | Root::ModelId
                | Root::Configurations,
            ) => Self::Content,
            Some(Root::Etag | Root::Version) => Self::Twin,
            Some(_) => Self::Identity,
        }
    }
}

/// Returns whether the condition is not true for a twin that was never changed, whatever its identity.
fn refuses_unchanged(condition: &Condition) -> bool {
    if let Condition::All(parts) = condition {
        return parts.iter().any(refuses_unchanged);
    }
    let mut only_content = true;
    condition.visit_paths(&mut |path| {
        only_content &= matches!(Table::of(path), Table::Content | Table::None);
    });
    only_content && condition.evaluate(&unchanged()) != Some(true)
}

/// The content of a twin that was never changed.
fn unchanged() -> Value {
    let TwinDocument { tags, desired, reported, model_id, .. } = TwinDocument::default();
    json!({
        "tags": tags,
        "properties": { "desired": desired.for_service(), "reported": reported.for_service() },
        "modelId": model_id,
    })
}

#[cfg(test)]
mod tests {
    use ferrohub_query::{Dialect, Limits};

    use super::*;

    #[test]
    fn only_the_needed_tables_are_read() {
        for (query, source) in [
            ("SELECT * FROM devices", Source::IdentitiesWithTwins),
            ("SELECT deviceId, status FROM devices", Source::Identities),
            ("SELECT COUNT() FROM devices WHERE status = 'enabled'", Source::Identities),
            ("SELECT COUNT() FROM devices WHERE tags.a = 1", Source::Twins),
            ("SELECT deviceId, etag FROM devices WHERE tags.a = 1 AND deviceId > 'x'", Source::Twins),
            ("SELECT * FROM devices WHERE tags.a = 1", Source::TwinsWithIdentities),
            (
                "SELECT COUNT() FROM devices WHERE tags.a = 1 AND status = 'enabled'",
                Source::TwinsWithIdentities,
            ),
            ("SELECT COUNT() FROM devices WHERE NOT IS_DEFINED(tags.a)", Source::IdentitiesWithTwins),
            ("SELECT COUNT() FROM devices WHERE tags.a = 1 OR deviceId = 'x'", Source::IdentitiesWithTwins),
            ("SELECT COUNT() FROM devices WHERE tags.a = deviceId", Source::IdentitiesWithTwins),
            ("SELECT COUNT() FROM devices WHERE properties.desired.$version > 1", Source::Twins),
            (
                "SELECT COUNT() FROM devices WHERE properties.desired.$version = 1",
                Source::IdentitiesWithTwins,
            ),
            ("SELECT * FROM devices.jobs WHERE status = 'failed'", Source::Jobs),
            ("SELECT COUNT() FROM devices WHERE other = 1", Source::Twins),
        ] {
            let parsed = Query::parse(query, Dialect::Twins, &Limits::QUERY).unwrap();
            assert_eq!(Source::of(&parsed), source, "{query}");
        }
    }
}
