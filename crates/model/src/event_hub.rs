//! The Event Hubs-compatible endpoint of a hub: its name, and what clients write for it in addresses and tokens.

use std::net::IpAddr;

/// Returns the Event Hubs-compatible name of the hub `host` (Azure: entity): the first label of its host name, or its
/// address.
#[must_use]
pub fn event_hub_name(host: &str) -> &str {
    match host.split_once('.') {
        Some((label, _)) if host.parse::<IpAddr>().is_err() => label,
        _ => host,
    }
}

/// Returns what follows the Event Hubs-compatible name of the hub `host` in a path, or `messages/events`, as clients call
/// it that know only the hub. Ignores case. `None` if the path begins with something else.
pub fn event_hub_path<'a, P>(host: &str, mut path: P) -> Option<P>
where
    P: Iterator<Item = &'a str>,
{
    let first = path.next()?;
    let is_endpoint = first.eq_ignore_ascii_case(event_hub_name(host))
        || (first.eq_ignore_ascii_case("messages")
            && path.next().is_some_and(|second| second.eq_ignore_ascii_case("events")));
    is_endpoint.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_with_the_name_or_with_messages_events() {
        let rest = |path: &'static str| {
            event_hub_path("MyHub.example.lan", path.split('/')).map(|rest| rest.collect::<Vec<_>>())
        };
        assert_eq!(event_hub_name("MyHub.example.lan"), "MyHub");
        assert_eq!(event_hub_name("localhost"), "localhost");
        assert_eq!(event_hub_name("192.0.2.1"), "192.0.2.1");
        assert_eq!(rest("myhub"), Some(vec![]));
        assert_eq!(rest("myhub/ConsumerGroups/a"), Some(vec!["ConsumerGroups", "a"]));
        assert_eq!(rest("messages/Events"), Some(vec![]));
        assert_eq!(rest("messages/events/$management"), Some(vec!["$management"]));
        for other in ["", "other", "messages", "messages/devicebound", "myhub2/x", "MyHub.example.lan"] {
            assert_eq!(rest(other), None, "{other}");
        }
    }
}
