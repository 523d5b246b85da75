//! The JSON of configurations: desired properties for all devices or modules that match a condition.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::timestamp::Timestamp;

/// Settings by the path of a property, such as `properties.desired.fan.speed`.
pub type Settings = Map<String, Value>;

/// A configuration: which devices or modules it is for, and what it sets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Configuration {
    /// The id.
    pub id: String,
    /// The version of the form of the content. Clients choose it; the hub only stores it.
    pub schema_version: Option<String>,
    /// Labels for people and programs.
    #[serde(deserialize_with = "texts")]
    pub labels: Option<BTreeMap<String, String>>,
    /// What it sets.
    pub content: ConfigurationContent,
    /// A member that some clients send and read; the hub only stores it.
    pub content_type: Option<String>,
    /// Which devices or modules it is for: a condition of the query language, `*` for all, empty for none.
    pub target_condition: Option<String>,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "Timestamp::serialize_fixed_width")]
    pub created_time_utc: Option<Timestamp>,
    /// When it was last changed.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "Timestamp::serialize_fixed_width")]
    pub last_updated_time_utc: Option<Timestamp>,
    /// Of two configurations that set the same property, the one with the higher priority counts. `None` in a request means
    /// 0, and in an update the present priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// The metrics of the hub.
    #[serde(deserialize_with = "null_as_default")]
    pub system_metrics: ConfigurationMetrics,
    /// The metrics of the configuration.
    #[serde(deserialize_with = "null_as_default")]
    pub metrics: ConfigurationMetrics,
    /// The etag, without quotes.
    pub etag: Option<String>,
}

impl Configuration {
    /// Returns a configuration for devices, to be created.
    #[must_use]
    pub fn new(id: impl Into<String>, content: ConfigurationContent) -> Self {
        let schema_version = Some("1.0".to_owned());
        Self { id: id.into(), schema_version, content, ..Self::default() }
    }

    /// Sets the target condition.
    #[must_use]
    pub fn with_target_condition(mut self, condition: impl Into<String>) -> Self {
        self.target_condition = Some(condition.into());
        self
    }

    /// Sets the priority.
    #[must_use]
    pub fn with_priority(mut self, priority: i64) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.get_or_insert_default().insert(name.into(), value.into());
        self
    }

    /// Adds a metric of its own: the number of rows of a query.
    #[must_use]
    pub fn with_metric(mut self, name: impl Into<String>, query: impl Into<String>) -> Self {
        self.metrics.queries.insert(name.into(), query.into());
        self
    }
}

/// What a configuration sets. Exactly one of the members has settings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigurationContent {
    /// Settings of the twins of devices.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "null_as_default")]
    pub device_content: Settings,
    /// Settings of the modules of edge devices, by module.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub modules_content: BTreeMap<String, Settings>,
    /// Settings of the twins of modules.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "null_as_default")]
    pub module_content: Settings,
}

impl ConfigurationContent {
    /// Returns settings of devices.
    #[must_use]
    pub fn for_devices(settings: Settings) -> Self {
        Self { device_content: settings, ..Self::default() }
    }

    /// Returns settings of modules.
    #[must_use]
    pub fn for_modules(settings: Settings) -> Self {
        Self { module_content: settings, ..Self::default() }
    }

    /// Returns settings of the modules of edge devices, by module.
    #[must_use]
    pub fn for_edge_devices(settings: BTreeMap<String, Settings>) -> Self {
        Self { modules_content: settings, ..Self::default() }
    }
}

/// Metrics: queries, and the number of rows that each had when it was last run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigurationMetrics {
    /// The number of rows by metric. A query that cannot be run has none.
    #[serde(deserialize_with = "null_as_default")]
    pub results: BTreeMap<String, i64>,
    /// The queries by metric.
    #[serde(deserialize_with = "texts_or_default")]
    pub queries: BTreeMap<String, String>,
}

/// The body of a test of queries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigurationQueries {
    /// A target condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_condition: Option<String>,
    /// Queries of metrics, by metric.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "texts_or_default")]
    pub custom_metric_queries: BTreeMap<String, String>,
}

/// What is wrong with tested queries. Empty if nothing is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigurationQueryErrors {
    /// The error of the target condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_condition_error: Option<String>,
    /// The errors of queries of metrics, by metric.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_metric_query_errors: BTreeMap<String, String>,
}

/// What a configuration has done to a twin that matches its condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigurationStatus {
    /// None of its settings is in the twin, because other configurations override them, or because the twin cannot have
    /// them.
    Targeted,
    /// The twin has at least one of its settings.
    Applied,
}

/// A configuration in a twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinConfiguration {
    /// What it has done to the twin.
    pub status: ConfigurationStatus,
}

/// Clients send `null` for members without a value.
fn null_as_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads texts by name. Clients send `null` to remove one.
fn texts<'de, D>(deserializer: D) -> Result<Option<BTreeMap<String, String>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let texts: Option<BTreeMap<String, Option<String>>> = Option::deserialize(deserializer)?;
    Ok(texts.map(|texts| texts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()))
}

fn texts_or_default<'de, D>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Ok(texts(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn clients_send_null_and_empty_objects_for_what_is_not_there() {
        let text = r#"{"id":"c","labels":null,"content":{"deviceContent":{"properties.desired.a":1},"modulesContent":{},
            "moduleContent":null},"contentType":"assignment","metrics":null,"systemMetrics":null,"etag":"*"}"#;
        let configuration: Configuration = serde_json::from_str(text).unwrap();
        assert_eq!(configuration.content.device_content["properties.desired.a"], 1);
        assert!(configuration.content.modules_content.is_empty());
        assert_eq!(configuration.metrics, ConfigurationMetrics::default());
    }

    #[test]
    fn a_label_or_metric_that_is_null_is_removed() {
        let text =
            r#"{"labels":{"gone":null,"kept":"a"},"metrics":{"queries":{"gone":null,"kept":"select *"}}}"#;
        let configuration: Configuration = serde_json::from_str(text).unwrap();
        assert_eq!(configuration.labels, Some([("kept".to_owned(), "a".to_owned())].into()));
        assert_eq!(configuration.metrics.queries.keys().collect::<Vec<_>>(), ["kept"]);
        assert_eq!(configuration.priority, None);
    }

    #[test]
    fn a_configuration_has_the_json_that_clients_expect() {
        let settings = Settings::from_iter([("properties.desired.a".to_owned(), json!(1))]);
        let configuration = Configuration::new("c", ConfigurationContent::for_devices(settings))
            .with_target_condition("*")
            .with_priority(3);
        assert_eq!(
            serde_json::to_value(&configuration).unwrap(),
            json!({
                "id": "c", "schemaVersion": "1.0", "labels": null,
                "content": { "deviceContent": { "properties.desired.a": 1 } }, "contentType": null,
                "targetCondition": "*", "priority": 3, "systemMetrics": { "results": {}, "queries": {} },
                "metrics": { "results": {}, "queries": {} }, "etag": null,
            })
        );
    }
}
