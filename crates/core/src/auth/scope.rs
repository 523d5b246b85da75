//! What of the hub a token is for.

use ferrohub_model::sas::Resource;

use crate::operations::Operation;

/// The part of the hub that a token of a service covers. The rights of its policy apply inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenScope {
    /// The whole hub.
    Hub,
    /// Reading events, below a path of the Event Hubs-compatible endpoint: segments in lower case, none for all events.
    Events(Vec<String>),
}

impl TokenScope {
    /// Returns the scope of a token with this resource; `None` if it covers nothing that a service may use.
    pub(super) fn of(resource: &Resource, host: &str) -> Option<Self> {
        if resource.is_hub() && resource.is_on_host(host) {
            return Some(Self::Hub);
        }
        resource.event_hub_path(host).map(Self::Events)
    }

    /// Returns whether the scope contains anything that the operation is about.
    #[must_use]
    pub fn contains(&self, operation: Operation) -> bool {
        match (self, operation) {
            (Self::Hub, _) => true,
            (Self::Events(path), Operation::GetEventLog) => {
                matches!(path.first().map(String::as_str), None | Some("$management"))
            }
            (Self::Events(path), Operation::ReadEvents) => {
                matches!(path.first().map(String::as_str), None | Some("consumergroups"))
            }
            (Self::Events(_), _) => false,
        }
    }

    /// Returns whether the scope contains the events of a consumer group in a partition, or in all if it is `None`.
    #[must_use]
    pub fn contains_events(&self, group: &str, partition: Option<u16>) -> bool {
        let Self::Events(path) = self else { return true };
        let partition = partition.map(|partition| partition.to_string());
        let events = ["consumergroups", group, "partitions", partition.as_deref().unwrap_or_default()];
        let events = if partition.is_some() { &events[..] } else { &events[..2] };
        path.len() <= events.len()
            && path.iter().zip(events).all(|(segment, expected)| segment.eq_ignore_ascii_case(expected))
    }
}

#[cfg(test)]
mod tests {
    use ferrohub_model::sas::SasToken;

    use super::*;

    fn scope(resource: &str) -> Option<TokenScope> {
        let token = format!("SharedAccessSignature sr={resource}&sig=eA%3D%3D&se=1");
        TokenScope::of(&SasToken::parse(&token).unwrap().resource().unwrap(), "hub.lan")
    }

    #[test]
    fn a_token_covers_what_its_resource_names() {
        use Operation::{GetEventLog, ReadEvents, SendMessage};
        let all = [GetEventLog, ReadEvents, SendMessage];
        for (resource, operations) in [
            ("hub.lan", &all[..]),
            ("sb://hub.lan/", &all[..2]),
            ("sb%3A%2F%2Fhub.lan%2Fhub", &all[..2]),
            ("sb://hub.lan/hub/$management", &[GetEventLog]),
            ("sb://hub.lan/hub/consumergroups/$Default", &[ReadEvents]),
            ("sb://hub.lan/hub/publishers", &[]),
        ] {
            let scope = scope(resource).expect(resource);
            for operation in all {
                let expected = operations.contains(&operation);
                assert_eq!(scope.contains(operation), expected, "{resource} {operation:?}");
            }
        }
        for foreign in ["other.lan", "sb://other.lan/hub", "hub.lan/devices/a", "sb://hub.lan/devices/a"] {
            assert_eq!(scope(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_token_for_a_partition_or_a_group_covers_no_other() {
        let covers = |resource: &str, group, partition| {
            scope(resource).expect(resource).contains_events(group, partition)
        };
        for resource in ["hub.lan", "sb://hub.lan", "sb://hub.lan/HUB", "sb://hub.lan/hub/ConsumerGroups"] {
            assert!(covers(resource, "$Default", Some(1)) && covers(resource, "a", None), "{resource}");
        }
        let group = "sb%3A%2F%2Fhub.lan%2Fhub%2Fconsumergroups%2F%24default";
        assert!(covers(group, "$Default", Some(1)) && covers(group, "$Default", None));
        assert!(!covers(group, "other", Some(1)));
        let partition = "sb://hub.lan/hub/ConsumerGroups/$Default/Partitions/1";
        assert!(covers(partition, "$Default", Some(1)));
        assert!(!covers(partition, "$Default", Some(10)) && !covers(partition, "$Default", None));
        assert!(!covers("sb://hub.lan/hub/ConsumerGroups/$Default/Partitions/1/x", "$Default", Some(1)));
        assert!(!covers("sb://hub.lan/hub/$management", "$Default", Some(1)));
    }
}
