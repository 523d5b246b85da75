//! The operations that read and change configurations.

use std::sync::Arc;

use ferrohub_model::configuration::{Configuration, ConfigurationMetrics};
use ferrohub_model::{ErrorCode, HubError};
use tracing::info;

use super::content::is_same;
use super::{
    ConfigurationId, ConfigurationSet, Content, CreateConfigurationOutcome, ParsedConfiguration,
    StoredConfiguration, TargetCondition, WriteConfigurationOutcome, not_found,
};
use crate::callers::ServiceCaller;
use crate::hub::Hub;
use crate::node::What;
use crate::operations::Operation;
use crate::registry::{IfMatch, wrong_etag};
use crate::store::{StoreError, store_failed};
use crate::twins::TwinLimits;
use crate::uncancelled::run_uncancelled;

/// The greatest priority: clients read it as a signed number of 32 bits.
const MAX_PRIORITY: i64 = i32::MAX as i64;
/// Maximum length of a query of a metric, in characters.
const MAX_QUERY: usize = 8192;
/// The version of configurations whose client names none.
const SCHEMA_VERSION: &str = "1.0";

impl ServiceCaller {
    /// Returns the first `top` configurations, ordered by id.
    pub async fn list_configurations(&self, top: usize) -> Result<Vec<Configuration>, HubError> {
        let hub = self.permit(Operation::ListConfigurations)?;
        let set = hub.configurations.set();
        let mut all: Vec<&ParsedConfiguration> = set.ordered().iter().map(Arc::as_ref).collect();
        all.sort_by_key(|configuration| configuration.id());
        Ok(hub.present_with_results(all.into_iter().take(top)).await)
    }

    /// Returns a configuration.
    ///
    /// # Errors
    ///
    /// `ConfigurationNotFound`.
    pub async fn get_configuration(&self, id: &ConfigurationId) -> Result<Configuration, HubError> {
        let hub = self.permit(Operation::GetConfiguration)?;
        let set = hub.configurations.set();
        let found = set.get(id).ok_or_else(|| not_found(id))?;
        hub.present_with_results([&**found].into_iter()).await.pop().ok_or_else(|| not_found(id))
    }

    /// Creates a configuration (`if_match` is `None`), or changes the target condition, priority, labels and metrics of an
    /// existing one. Runs to completion even if the caller is cancelled.
    ///
    /// # Errors
    ///
    /// `ConfigurationAlreadyExists` and `ConfigurationCountLimitExceeded`, or `ConfigurationNotFound`, `PreconditionFailed`
    /// and `CannotModifyImmutableConfigurationContent`; `InvalidConfigurationContent`,
    /// `InvalidConfigurationTargetCondition`, `InvalidConfigurationCustomMetricsQuery` and `ArgumentInvalid`.
    pub async fn put_configuration(
        &self,
        id: &ConfigurationId,
        request: Configuration,
        if_match: Option<IfMatch>,
    ) -> Result<Configuration, HubError> {
        let permitted = self.permit(Operation::PutConfiguration)?;
        let (hub, id) = (permitted.clone(), id.clone());
        run_uncancelled(&permitted.metrics.panics, async move {
            match if_match {
                None => hub.create_configuration(&id, request).await,
                Some(if_match) => hub.update_configuration(&id, request, &if_match).await,
            }
        })
        .await
    }

    /// Deletes a configuration. What it has set is removed from the twins. Runs to completion even if the caller is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// `ConfigurationNotFound` and `PreconditionFailed`.
    pub async fn delete_configuration(
        &self,
        id: &ConfigurationId,
        if_match: &IfMatch,
    ) -> Result<(), HubError> {
        let permitted = self.permit(Operation::DeleteConfiguration)?;
        let (hub, id, if_match) = (permitted.clone(), id.clone(), if_match.clone());
        run_uncancelled(
            &permitted.metrics.panics,
            async move { hub.delete_configuration(&id, &if_match).await },
        )
        .await
    }
}

impl Hub {
    /// Reads the configurations from the store.
    pub(crate) async fn reload_configurations(&self) -> Result<(), StoreError> {
        let _editing_lock = self.configurations.editing.lock().await;
        self.read_configurations().await
    }

    /// Reads the configurations from the store. The caller holds the lock of editing, or has the hub alone.
    pub(crate) async fn read_configurations(&self) -> Result<(), StoreError> {
        // The limits of a running hub apply when a configuration is applied: lower ones must not make stored configurations
        // unreadable.
        let any = TwinLimits {
            depth: usize::MAX,
            key_bytes: usize::MAX,
            string_bytes: usize::MAX,
            tags_bytes: usize::MAX,
            desired_bytes: usize::MAX,
            reported_bytes: usize::MAX,
        };
        let stored = self.store.configurations().await?;
        self.metrics.configurations.count.set(i64::try_from(stored.len()).unwrap_or(i64::MAX));
        let parse = |stored: StoredConfiguration| {
            let id = stored.id.clone();
            ParsedConfiguration::parse(stored, &any).map(Arc::new).map_err(|error| {
                StoreError::Corrupt(format!("the configuration {id} cannot be read: {error}"))
            })
        };
        let parsed = stored.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        self.configurations.replace(ConfigurationSet::new(parsed));
        Ok(())
    }

    pub(super) async fn create_configuration(
        &self,
        id: &ConfigurationId,
        request: Configuration,
    ) -> Result<Configuration, HubError> {
        let now = self.clock.now();
        let new = Configuration {
            schema_version: request.schema_version.clone().or_else(|| Some(SCHEMA_VERSION.to_owned())),
            target_condition: Some(request.target_condition.clone().unwrap_or_default()),
            priority: Some(request.priority.unwrap_or_default()),
            created_time_utc: Some(now),
            last_updated_time_utc: Some(now),
            ..request
        };
        let new = self.checked(id, new)?;
        let editing_lock = self.configurations.editing.lock().await;
        let limit = self.limits.configurations.count;
        let created = match self.store.create_configuration(id, &new, limit).await.map_err(store_failed)? {
            CreateConfigurationOutcome::Created(created) => created,
            CreateConfigurationOutcome::Exists => {
                let text =
                    format!("The configuration {id} already exists; an update needs the header If-Match.");
                return Err(HubError::new(ErrorCode::ConfigurationAlreadyExists, text));
            }
            CreateConfigurationOutcome::Full => {
                let text = format!(
                    "The hub has the maximum number of configurations, {limit} (configurations.max_count)."
                );
                return Err(HubError::new(ErrorCode::ConfigurationCountLimitExceeded, text));
            }
        };
        self.read_configurations().await.map_err(store_failed)?;
        // The other nodes need their own lock to reload, so waiting for them with this one could wait for ever.
        drop(editing_lock);
        info!(configuration = %id, priority = new.priority, "configuration created");
        self.bus.invalidate(What::Configurations).await;
        self.presented(*created)
    }

    pub(super) async fn update_configuration(
        &self,
        id: &ConfigurationId,
        request: Configuration,
        if_match: &IfMatch,
    ) -> Result<Configuration, HubError> {
        let editing_lock = self.configurations.editing.lock().await;
        let old = self.configuration_to_edit(id, if_match)?;
        let Configuration { labels, content, target_condition, priority, metrics, .. } = request.clone();
        let has_content = !(content.device_content.is_empty()
            && content.module_content.is_empty()
            && content.modules_content.is_empty());
        if has_content && !is_same(&content, &old.configuration.content) {
            let text = "The content of a configuration cannot be changed. Create another configuration with a higher \
                        priority, and delete this one.";
            return Err(HubError::new(ErrorCode::CannotModifyImmutableConfigurationContent, text));
        }
        let new = Configuration {
            labels,
            target_condition: target_condition.or_else(|| old.configuration.target_condition.clone()),
            priority: priority.or(old.configuration.priority),
            metrics,
            last_updated_time_utc: Some(self.clock.now()),
            ..old.configuration.clone()
        };
        let new = self.checked(id, Configuration { id: request.id, ..new })?;
        let written = self.store.update_configuration(id, old.revision, &new).await.map_err(store_failed)?;
        let updated = written_or_error(id, written)?;
        self.read_configurations().await.map_err(store_failed)?;
        drop(editing_lock);
        info!(configuration = %id, priority = new.priority, "configuration changed");
        self.bus.invalidate(What::Configurations).await;
        self.presented(updated)
    }

    async fn delete_configuration(&self, id: &ConfigurationId, if_match: &IfMatch) -> Result<(), HubError> {
        let editing_lock = self.configurations.editing.lock().await;
        let old = self.configuration_to_edit(id, if_match)?;
        let expected = matches!(if_match, IfMatch::Etag(_)).then_some(old.revision);
        let written = self.store.delete_configuration(id, expected).await.map_err(store_failed)?;
        written_or_error(id, written)?;
        self.read_configurations().await.map_err(store_failed)?;
        drop(editing_lock);
        info!(configuration = %id, "configuration deleted");
        self.bus.invalidate(What::Configurations).await;
        Ok(())
    }

    /// Returns a configuration that has this etag. The caller holds the lock of editing.
    fn configuration_to_edit(
        &self,
        id: &ConfigurationId,
        if_match: &IfMatch,
    ) -> Result<StoredConfiguration, HubError> {
        let set = self.configurations.set();
        let found = &set.get(id).ok_or_else(|| not_found(id))?.stored;
        if if_match.matches(&found.etag()) { Ok(found.clone()) } else { Err(wrong_etag()) }
    }

    fn presented(&self, stored: StoredConfiguration) -> Result<Configuration, HubError> {
        Ok(self.present_configuration(&ParsedConfiguration::parse(stored, &self.limits.twins)?))
    }

    /// Checks a configuration. Returns it as it is stored: without what the hub computes.
    fn checked(&self, id: &ConfigurationId, new: Configuration) -> Result<Configuration, HubError> {
        let limits = &self.limits.configurations;
        let invalid = |text: String| Err(HubError::new(ErrorCode::ArgumentInvalid, text));
        if !new.id.is_empty() && new.id != id.as_str() {
            return invalid(format!("The id in the body is {:?}, but the one in the path is {id}.", new.id));
        }
        if !(0..=MAX_PRIORITY).contains(&new.priority.unwrap_or_default()) {
            return invalid(format!("The priority must be a number from 0 to {MAX_PRIORITY}."));
        }
        let content = Content::parse(&new.content, &self.limits.twins)?;
        TargetCondition::parse(new.target_condition.as_deref().unwrap_or_default(), &content)?;
        check_metrics(&new.metrics, limits.metrics)?;
        let new = Configuration {
            id: String::new(),
            system_metrics: ConfigurationMetrics::default(),
            metrics: ConfigurationMetrics { queries: new.metrics.queries, ..ConfigurationMetrics::default() },
            etag: None,
            ..new
        };
        let bytes = serde_json::to_vec(&new).map_or(usize::MAX, |json| json.len());
        if bytes > limits.bytes {
            let text = format!(
                "The configuration has {bytes} bytes; the maximum is {} (configurations.max_bytes).",
                limits.bytes
            );
            return Err(HubError::new(ErrorCode::MessageTooLarge, text));
        }
        Ok(new)
    }
}

fn written_or_error(
    id: &ConfigurationId,
    outcome: WriteConfigurationOutcome,
) -> Result<StoredConfiguration, HubError> {
    match outcome {
        WriteConfigurationOutcome::Written(stored) => Ok(*stored),
        WriteConfigurationOutcome::Changed => Err(wrong_etag()),
        WriteConfigurationOutcome::NotFound => Err(not_found(id)),
    }
}

/// Checks the number, names and lengths of metrics. A query that cannot be parsed is kept, as in Azure: it has no result, and
/// `testQueries` says why.
fn check_metrics(metrics: &ConfigurationMetrics, max: usize) -> Result<(), HubError> {
    let invalid = |text: String| Err(HubError::new(ErrorCode::InvalidConfigurationCustomMetricsQuery, text));
    let number = metrics.queries.len();
    if number > max {
        return invalid(format!(
            "The configuration has {number} metrics; the maximum is {max} (configurations.max_metrics)."
        ));
    }
    for (name, query) in &metrics.queries {
        if name.is_empty() || query.trim().is_empty() {
            return invalid(format!("The metric {name:?} must have a name and a query."));
        }
        if query.chars().count() > MAX_QUERY {
            return invalid(format!(
                "The query of the metric {name:?} is longer than {MAX_QUERY} characters."
            ));
        }
    }
    Ok(())
}
