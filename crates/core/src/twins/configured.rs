//! What configurations have done to a twin. It is part of the twin, so that it is persisted with the change itself.

use std::collections::BTreeMap;

use ferrohub_model::configuration::TwinConfiguration;

/// What configurations have done to a twin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configured {
    /// The configurations whose condition the twin matches, by id.
    pub configurations: BTreeMap<String, TwinConfiguration>,
    /// The desired properties that configurations have set or removed, as paths such as `fan.speed`, each with the id of
    /// the configuration. The empty path is all desired properties. A path is removed from the twin when no configuration
    /// sets it any more.
    pub paths: BTreeMap<String, String>,
}

impl Configured {
    /// Returns whether no configuration has done anything to the twin.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.configurations.is_empty() && self.paths.is_empty()
    }
}
