//! The operation that tests the queries of a configuration.

use ferrohub_model::HubError;
use ferrohub_model::configuration::{ConfigurationQueries, ConfigurationQueryErrors};

use super::TargetCondition;
use crate::callers::ServiceCaller;
use crate::operations::Operation;
use crate::queries::parse_query;

impl ServiceCaller {
    /// Tests a target condition and queries of metrics. Returns what is wrong with them.
    pub async fn test_configuration_queries(
        &self,
        request: &ConfigurationQueries,
    ) -> Result<ConfigurationQueryErrors, HubError> {
        self.permit(Operation::TestConfigurationQueries)?;
        let condition = request.target_condition.as_deref().unwrap_or_default();
        let target_condition_error =
            TargetCondition::parse_any(condition).err().map(|error| error.message.into_owned());
        let errors = request.custom_metric_queries.iter().filter_map(|(name, query)| {
            let error = parse_query(query).err()?;
            Some((name.clone(), error.message.into_owned()))
        });
        Ok(ConfigurationQueryErrors { target_condition_error, custom_metric_query_errors: errors.collect() })
    }
}
