//! What the target conditions of all configurations read: only changes of that can change who matches.

use std::collections::BTreeSet;

use ferrohub_model::twin::Properties;
use ferrohub_query::plan::{Member, Path, Root};

use super::TargetCondition;

/// What target conditions read of twins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Reads {
    tags: Keys,
    reported: Keys,
}

/// Members of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Keys {
    /// All members.
    All,
    /// These members.
    Some(BTreeSet<String>),
}

impl Default for Keys {
    fn default() -> Self {
        Self::Some(BTreeSet::new())
    }
}

impl Keys {
    fn add(&mut self, path: &Path) {
        match (&mut *self, path.members().first()) {
            // Metadata and version change with every member.
            (Self::Some(keys), Some(Member::Name(name))) if !name.starts_with('$') => {
                keys.insert(name.clone());
            }
            _ => *self = Self::All,
        }
    }

    fn contain_one_of(&self, changed: &Properties) -> bool {
        match self {
            Self::All => true,
            Self::Some(keys) => changed.keys().any(|key| keys.contains(key)),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Some(keys) if keys.is_empty())
    }
}

impl Reads {
    pub(super) fn add(&mut self, condition: &TargetCondition) {
        let TargetCondition::Filter(filter) = condition else { return };
        let Some(condition) = &filter.condition else { return };
        condition.visit_paths(&mut |path| match path.root() {
            Some(Root::Tags) => self.tags.add(path),
            Some(Root::Reported) => self.reported.add(path),
            _ => {}
        });
    }

    /// Returns whether a condition reads one of these tags.
    pub(super) fn tags(&self, changed: &Properties) -> bool {
        self.tags.contain_one_of(changed)
    }

    /// Returns whether a condition reads any tag.
    pub(super) fn any_tags(&self) -> bool {
        !self.tags.is_empty()
    }

    /// Returns whether a condition reads one of these reported properties.
    pub(super) fn reported(&self, changed: &Properties) -> bool {
        self.reported.contain_one_of(changed)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_members_that_a_condition_reads_count() {
        let object = |value| serde_json::from_value::<Properties>(value).unwrap();
        let mut reads = Reads::default();
        assert!(!reads.any_tags());
        for text in ["", "*", "tags.a.b = 1 AND properties.reported.x = 1", "deviceId = 'd'"] {
            reads.add(&TargetCondition::parse_any(text).unwrap());
        }
        assert!(reads.any_tags() && reads.tags(&object(json!({ "a": null }))));
        assert!(!reads.tags(&object(json!({ "b": 1 }))) && !reads.reported(&object(json!({ "a": 1 }))));
        assert!(reads.reported(&object(json!({ "x": { "y": 1 }, "z": 1 }))));
        reads.add(&TargetCondition::parse_any("properties.reported.$version > 3").unwrap());
        assert!(reads.reported(&object(json!({ "a": 1 }))));
    }
}
