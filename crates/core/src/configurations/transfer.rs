//! Configurations that a job exports, or imports from another hub.

use ferrohub_model::HubError;
use ferrohub_model::configuration::Configuration;

use super::content::is_same;
use super::{ConfigurationId, StoredConfiguration};
use crate::hub::Hub;
use crate::registry::IfMatch;

impl Hub {
    /// Returns all configurations, ordered by id, without the results of their metrics.
    pub(crate) fn exported_configurations(&self) -> Vec<Configuration> {
        let set = self.configurations.set();
        let mut all: Vec<Configuration> =
            set.ordered().iter().map(|parsed| self.present_configuration(parsed)).collect();
        all.sort_by(|left, right| left.id.cmp(&right.id));
        for configuration in &mut all {
            configuration.system_metrics.results.clear();
            configuration.metrics.results.clear();
        }
        all
    }

    /// Creates a configuration, or changes the one with its id if it has this etag, or if `configuration` has none. One that is
    /// already as `configuration` says stays as it is, so an import that is repeated has no effect.
    ///
    /// # Errors
    ///
    /// As [`put_configuration`](crate::ServiceCaller::put_configuration).
    pub(crate) async fn import_configuration(&self, configuration: Configuration) -> Result<(), HubError> {
        let id = ConfigurationId::parse(&configuration.id)?;
        let present = self.configurations.set().get(&id).map(|present| present.stored.clone());
        match present {
            None => self.create_configuration(&id, configuration).await?,
            Some(present) if says_the_same(&present, &configuration) => return Ok(()),
            Some(_) => {
                let etag = configuration.etag.as_deref().unwrap_or("*");
                let if_match = IfMatch::parse(etag);
                self.update_configuration(&id, configuration, &if_match).await?
            }
        };
        Ok(())
    }
}

/// Compares what a service can choose.
fn says_the_same(stored: &StoredConfiguration, new: &Configuration) -> bool {
    let old = &stored.configuration;
    is_same(&old.content, &new.content)
        && old.labels.clone().unwrap_or_default() == new.labels.clone().unwrap_or_default()
        && old.target_condition.as_deref().unwrap_or_default()
            == new.target_condition.as_deref().unwrap_or_default()
        && old.priority.unwrap_or_default() == new.priority.unwrap_or_default()
        && old.metrics.queries == new.metrics.queries
}
