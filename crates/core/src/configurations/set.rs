//! All configurations of a hub, parsed.

use std::sync::Arc;

use ferrohub_model::HubError;

use super::reads::Reads;
use super::{ConfigurationId, Content, StoredConfiguration, TargetCondition};
use crate::twins::TwinLimits;

/// A configuration, parsed.
#[derive(Debug, Clone)]
pub struct ParsedConfiguration {
    /// As stored.
    pub stored: StoredConfiguration,
    /// What it sets.
    pub content: Content,
    /// Whom it is for.
    pub condition: TargetCondition,
}

impl ParsedConfiguration {
    /// Parses a configuration.
    ///
    /// # Errors
    /// `InvalidConfigurationContent` or `InvalidConfigurationTargetCondition`.
    pub fn parse(stored: StoredConfiguration, limits: &TwinLimits) -> Result<Self, HubError> {
        let content = Content::parse(&stored.configuration.content, limits)?;
        let text = stored.configuration.target_condition.as_deref().unwrap_or_default();
        let condition = TargetCondition::parse(text, &content)?;
        Ok(Self { stored, content, condition })
    }

    /// Returns the id.
    #[must_use]
    pub fn id(&self) -> &ConfigurationId {
        &self.stored.id
    }
}

/// All configurations of a hub.
#[derive(Debug, Clone, Default)]
pub struct ConfigurationSet {
    /// From the one that all others override to the one that overrides all others: by priority, then by creation.
    ordered: Vec<Arc<ParsedConfiguration>>,
    reads: Reads,
}

impl ConfigurationSet {
    /// Returns the set of these configurations.
    #[must_use]
    pub fn new(mut configurations: Vec<Arc<ParsedConfiguration>>) -> Self {
        configurations.sort_by_key(|configuration| {
            (configuration.stored.configuration.priority.unwrap_or_default(), configuration.stored.number)
        });
        let mut reads = Reads::default();
        for configuration in &configurations {
            reads.add(&configuration.condition);
        }
        Self { ordered: configurations, reads }
    }

    /// Returns the configurations, each before those that override it.
    #[must_use]
    pub fn ordered(&self) -> &[Arc<ParsedConfiguration>] {
        &self.ordered
    }

    /// Returns a configuration.
    #[must_use]
    pub fn get(&self, id: &ConfigurationId) -> Option<&Arc<ParsedConfiguration>> {
        self.ordered.iter().find(|configuration| configuration.id() == id)
    }

    /// Returns whether there are no configurations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }

    pub(super) fn reads(&self) -> &Reads {
        &self.reads
    }
}
