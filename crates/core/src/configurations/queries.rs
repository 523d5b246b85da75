//! The queries of the system metrics of a configuration, as Azure writes them. Clients run them themselves.

use std::collections::BTreeMap;

use ferrohub_model::configuration::Configuration;

use super::condition::TargetKind;
use super::{ConfigurationId, TargetCondition};

/// Returns the queries of the system metrics by metric.
pub(super) fn system_queries(
    id: &ConfigurationId,
    configuration: &Configuration,
) -> BTreeMap<String, String> {
    let condition = configuration.target_condition.as_deref().unwrap_or_default().trim();
    let (applied, targeted) = match TargetKind::of(&configuration.content) {
        TargetKind::Devices => (applied("devices where ", id), targeted(condition, None)),
        TargetKind::Modules => (applied("devices.modules where ", id), targeted(condition, None)),
        TargetKind::Edge => {
            let agent = applied("devices.modules where moduleId = '$edgeAgent' and ", id);
            (agent, targeted(condition, Some("capabilities.iotEdge = true")))
        }
    };
    let mut queries = BTreeMap::new();
    if TargetKind::of(&configuration.content) == TargetKind::Edge {
        let current =
            format!("{applied} and properties.desired.$version = properties.reported.lastDesiredVersion");
        let reported = |code| format!("{current} and properties.reported.lastDesiredStatus.code {code} 200");
        queries.insert("reportedSuccessfulCount".to_owned(), reported("="));
        queries.insert("reportedFailedCount".to_owned(), reported("!="));
    }
    queries.insert("appliedCount".to_owned(), applied);
    queries.insert("targetedCount".to_owned(), targeted);
    queries
}

fn applied(source: &str, id: &ConfigurationId) -> String {
    format!("select deviceId from {source}configurations.[[{id}]].status = 'Applied'")
}

/// Returns the query of the devices or modules that match; empty if none can.
fn targeted(condition: &str, all: Option<&str>) -> String {
    let select = "select deviceId";
    let begins_with_from = condition.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("from"))
        && condition.chars().nth(4).is_some_and(char::is_whitespace);
    match (condition, all) {
        ("", _) => String::new(),
        _ if begins_with_from => format!("{select} {condition}"),
        (all_devices, None) if TargetCondition::is_all(all_devices) => format!("{select} from devices"),
        (all_devices, Some(all)) if TargetCondition::is_all(all_devices) => {
            format!("{select} from devices where {all}")
        }
        _ => format!("{select} from devices where {condition}"),
    }
}

#[cfg(test)]
mod tests {
    use ferrohub_query::{Dialect, Limits, Query};
    use serde_json::json;

    use super::*;

    fn queries(content: serde_json::Value, condition: &str) -> BTreeMap<String, String> {
        let mut configuration: Configuration = serde_json::from_value(json!({ "content": content })).unwrap();
        configuration.target_condition = Some(condition.to_owned());
        let queries = system_queries(&ConfigurationId::parse("c-1").unwrap(), &configuration);
        for query in queries.values().filter(|query| !query.is_empty()) {
            Query::parse(query, Dialect::Twins, &Limits::QUERY)
                .unwrap_or_else(|error| panic!("{query}: {error}"));
        }
        queries
    }

    #[test]
    fn the_queries_are_those_that_azure_prints() {
        let devices = json!({ "deviceContent": { "properties.desired.a": 1 } });
        let found = queries(devices.clone(), "tags.a = 'b'");
        assert_eq!(
            found["appliedCount"],
            "select deviceId from devices where configurations.[[c-1]].status = 'Applied'"
        );
        assert_eq!(found["targetedCount"], "select deviceId from devices where tags.a = 'b'");
        assert_eq!(queries(devices.clone(), "*")["targetedCount"], "select deviceId from devices");
        assert_eq!(queries(devices, "")["targetedCount"], "");
        let modules = json!({ "moduleContent": { "properties.desired.a": 1 } });
        let found = queries(modules, "from devices.modules where moduleId = 'm'");
        assert_eq!(found["targetedCount"], "select deviceId from devices.modules where moduleId = 'm'");
        let edge = json!({ "modulesContent": { "$edgeAgent": { "properties.desired": {} } } });
        let found = queries(edge, "*");
        assert_eq!(found["targetedCount"], "select deviceId from devices where capabilities.iotEdge = true");
        assert_eq!(
            found["reportedFailedCount"],
            "select deviceId from devices.modules where moduleId = '$edgeAgent' and configurations.[[c-1]].status = \
             'Applied' and properties.desired.$version = properties.reported.lastDesiredVersion and \
             properties.reported.lastDesiredStatus.code != 200"
        );
    }
}
