//! The results of the metrics of configurations: the number of rows of each query. They are computed when a configuration is
//! read, and kept for some seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrohub_model::configuration::Configuration;
use tokio::time::Instant;
use tracing::debug;

use super::pending::lock;
use super::queries::system_queries;
use super::{ParsedConfiguration, TargetCondition};
use crate::hub::Hub;

/// How long results are kept.
const VALIDITY: Duration = Duration::from_secs(10);
/// How long the computation of all results of one request may take. Those that are not computed by then keep their last
/// values.
const BUDGET: Duration = Duration::from_secs(5);

/// Results that were computed before.
#[derive(Debug, Clone)]
pub(super) struct CachedResults {
    computed: Instant,
    revision: u64,
    results: Results,
}

#[derive(Debug, Clone, Default)]
struct Results {
    system: BTreeMap<String, i64>,
    custom: BTreeMap<String, i64>,
}

impl Hub {
    /// Returns configurations as a service reads them, with the results of their metrics.
    pub(super) async fn present_with_results<'a>(
        &self,
        configurations: impl Iterator<Item = &'a ParsedConfiguration>,
    ) -> Vec<Configuration> {
        let deadline = Instant::now() + BUDGET;
        let mut presented = Vec::new();
        for configuration in configurations {
            let is_current =
                self.cached(configuration).is_some_and(|cached| cached.computed.elapsed() < VALIDITY);
            if !is_current && Instant::now() < deadline {
                self.compute_results(configuration, deadline).await;
            }
            presented.push(self.present_configuration(configuration));
        }
        presented
    }

    /// Returns a configuration as a service reads it, with the last results of its metrics.
    pub(super) fn present_configuration(&self, parsed: &ParsedConfiguration) -> Configuration {
        let stored = &parsed.stored;
        let mut configuration = stored.configuration.clone();
        stored.id.as_str().clone_into(&mut configuration.id);
        configuration.etag = Some(stored.etag());
        configuration.system_metrics.queries = system_queries(&stored.id, &configuration);
        if let Some(CachedResults { results, .. }) = self.cached(parsed) {
            configuration.system_metrics.results = results.system;
            configuration.metrics.results = results.custom;
        }
        configuration
    }

    /// Returns the last results of this revision of a configuration.
    fn cached(&self, parsed: &ParsedConfiguration) -> Option<CachedResults> {
        let cached = lock(&self.configurations.results);
        cached.get(parsed.id()).filter(|cached| cached.revision == parsed.stored.revision).cloned()
    }

    async fn compute_results(&self, parsed: &ParsedConfiguration, deadline: Instant) {
        let configuration = &parsed.stored.configuration;
        let mut results = Results::default();
        // Nothing is targeted, and Azure has no results then.
        if parsed.condition != TargetCondition::Nothing {
            let queries = system_queries(parsed.id(), configuration);
            results.system = self.count_all(&queries, deadline).await;
        }
        results.custom = self.count_all(&configuration.metrics.queries, deadline).await;
        let cached = CachedResults { computed: Instant::now(), revision: parsed.stored.revision, results };
        let set = self.configurations.set();
        let mut all = lock(&self.configurations.results);
        all.insert(parsed.id().clone(), cached);
        all.retain(|id, _| set.get(id).is_some());
    }

    /// Returns the number of rows of queries. A query that cannot be run has none.
    async fn count_all(
        &self,
        queries: &BTreeMap<String, String>,
        deadline: Instant,
    ) -> BTreeMap<String, i64> {
        let mut counts = BTreeMap::new();
        for (name, query) in queries {
            if Instant::now() >= deadline {
                break;
            }
            match self.count_rows(query).await {
                Ok(rows) => drop(counts.insert(name.clone(), i64::try_from(rows).unwrap_or(i64::MAX))),
                Err(error) => debug!(metric = name, %error, "a metric of a configuration has no result"),
            }
        }
        counts
    }
}
