//! Addresses of links.

use ferrohub_amqp::performative::{Attach, Role};
use ferrohub_core::{Operation, ServiceCaller};
use ferrohub_model::event_hub::{event_hub_name, event_hub_path};
use ferrohub_model::percent;

use super::feed::Feed;

/// The port in the address of a redirect: Node and Go search for this text.
const AMQP_PORT: u16 = 5671;

/// What a client attaches a link for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Sends tokens to `$cbs`.
    Tokens,
    /// Receives the answers to tokens from `$cbs`.
    TokenAnswers,
    /// Sends messages to devices.
    Messages,
    /// Receives feedback or file notifications.
    Feed(Feed),
    /// Sends questions about the event hub to `$management`.
    Management,
    /// Receives the answers of `$management`.
    ManagementAnswers,
    /// Receives the events of a partition.
    Events(EventSource),
    /// Asks the hub for the address of its event hub.
    Redirect(Redirect),
}

/// The events that a link receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventSource {
    pub(super) consumer_group: String,
    pub(super) partition: u16,
}

/// An address that another one replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirect {
    /// What the client wrote after `messages/events/`.
    tail: String,
}

impl Redirect {
    /// Returns the address in the Event Hubs-compatible endpoint. Node and Go parse it: the port and what follows the name
    /// must be there.
    pub(super) fn address(&self, host: &str) -> String {
        format!("amqps://{host}:{AMQP_PORT}/{}/{}", event_hub_name(host), self.tail)
    }

    pub(super) fn port() -> u16 {
        AMQP_PORT
    }
}

impl Purpose {
    /// Returns the purpose of a link; `None` if the hub `host` has no such address, or not in this direction.
    pub(super) fn of(attach: &Attach<'_>, host: &str) -> Option<Self> {
        let path = path(address(attach));
        let is = |name: &str| path.eq_ignore_ascii_case(name);
        match attach.role {
            Role::Sender if is("$cbs") => Some(Self::Tokens),
            Role::Receiver if is("$cbs") => Some(Self::TokenAnswers),
            Role::Sender if is("$management") => Some(Self::Management),
            Role::Receiver if is("$management") => Some(Self::ManagementAnswers),
            Role::Sender if is("messages/devicebound") => Some(Self::Messages),
            Role::Receiver if is("messages/servicebound/feedback") => Some(Self::Feed(Feed::Feedback)),
            Role::Receiver if is("messages/servicebound/filenotifications") => {
                Some(Self::Feed(Feed::FileNotifications))
            }
            role => Self::of_event_hub(role, path, host),
        }
    }

    fn of_event_hub(role: Role, path: &str, host: &str) -> Option<Self> {
        let segments: Vec<&str> = event_hub_path(host, path.split('/'))?.collect();
        if event_hub_path(host, path.split('/').take(1)).is_none() {
            return Some(Self::Redirect(Redirect { tail: segments.join("/") }));
        }
        let is = |segment: &str, name: &str| segment.eq_ignore_ascii_case(name);
        match (role, &*segments) {
            (Role::Sender, [node]) if is(node, "$management") => Some(Self::Management),
            (Role::Receiver, [node]) if is(node, "$management") => Some(Self::ManagementAnswers),
            (Role::Receiver, [groups, group, partitions, partition])
                if is(groups, "ConsumerGroups") && is(partitions, "Partitions") =>
            {
                let consumer_group = percent::decode_lossy(group);
                Some(Self::Events(EventSource { consumer_group, partition: partition.parse().ok()? }))
            }
            _ => None,
        }
    }

    /// Returns the operation for which a caller needs the right; `None` for `$cbs`, which everybody may use.
    pub(super) fn operation(&self) -> Option<Operation> {
        match self {
            Self::Tokens | Self::TokenAnswers => None,
            Self::Messages => Some(Operation::SendMessage),
            Self::Feed(feed) => Some(feed.receive_operation()),
            Self::Management | Self::ManagementAnswers => Some(Operation::GetEventLog),
            Self::Events(_) => Some(Operation::ReadEvents),
            Self::Redirect(Redirect { tail }) if tail.eq_ignore_ascii_case("$management") => {
                Some(Operation::GetEventLog)
            }
            Self::Redirect(_) => Some(Operation::ReadEvents),
        }
    }

    /// Returns whether a caller may use the link, by its rights and by what its token covers.
    pub(super) fn is_open_to(&self, caller: &ServiceCaller) -> bool {
        let Some(operation) = self.operation() else { return true };
        let covers = match self {
            Self::Events(EventSource { consumer_group, partition }) => {
                caller.scope().contains_events(consumer_group, Some(*partition))
            }
            _ => true,
        };
        covers && caller.may(operation)
    }
}

/// Returns the address that a client means: it sends to the target, or receives from the source. Empty if there is none.
pub(super) fn address<'a>(attach: &Attach<'a>) -> &'a str {
    let address = match attach.role {
        Role::Sender => attach.target.and_then(|target| target.address),
        Role::Receiver => attach.source.and_then(|source| source.address),
    };
    address.unwrap_or_default()
}

/// Removes scheme and host, a leading and a trailing slash: Python and C clients send whole URIs, Node a path with a
/// leading slash, others one without.
fn path(address: &str) -> &str {
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => address.strip_prefix('/').unwrap_or(address),
    };
    path.strip_suffix('/').unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use ferrohub_amqp::performative::{Source, Target};

    use super::*;

    fn of(role: Role, text: &str) -> Option<Purpose> {
        let source = Some(Source { address: Some(text), ..Source::default() });
        let target = Some(Target { address: Some(text), ..Target::default() });
        let attach = Attach { name: "l", role, source, target, ..Attach::default() };
        Purpose::of(&attach, "hub.local")
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        for text in [
            "amqps://hub.local/messages/devicebound",
            "amqps://hub.local:5671/messages/deviceBound/",
            "/messages/devicebound",
            "messages/devicebound",
        ] {
            assert_eq!(of(Role::Sender, text), Some(Purpose::Messages), "{text}");
            assert_eq!(of(Role::Receiver, text), None, "{text}");
        }
        assert_eq!(of(Role::Sender, "$cbs"), Some(Purpose::Tokens));
        assert_eq!(of(Role::Receiver, "$cbs"), Some(Purpose::TokenAnswers));
        let feedback = Some(Purpose::Feed(Feed::Feedback));
        for text in ["/messages/serviceBound/feedback", "amqps://h/messages/servicebound/feedback"] {
            assert_eq!(of(Role::Receiver, text), feedback);
            assert_eq!(of(Role::Sender, text), None);
        }
        let files = of(Role::Receiver, "/messages/serviceBound/filenotifications");
        assert_eq!(files, Some(Purpose::Feed(Feed::FileNotifications)));
        for text in
            ["", "/", "//messages/devicebound", "amqps://hub.local", "messages/devicebound/x", "messages"]
        {
            assert_eq!(of(Role::Sender, text), None, "{text}");
        }
        assert_eq!(Purpose::of(&Attach::default(), "hub.local"), None, "no source, no target");
    }

    #[test]
    fn readers_write_the_name_of_the_event_hub_in_every_form() {
        for (text, group, partition) in [
            ("amqps://hub.local/hub/ConsumerGroups/$Default/Partitions/0", "$Default", 0),
            ("hub/ConsumerGroups/$default/Partitions/1", "$default", 1),
            ("/HUB/consumergroups/%24Default/partitions/31/", "$Default", 31),
        ] {
            let events = EventSource { consumer_group: group.to_owned(), partition };
            assert_eq!(of(Role::Receiver, text), Some(Purpose::Events(events)), "{text}");
            assert_eq!(of(Role::Sender, text), None, "{text}");
        }
        for text in ["$management", "hub/$management", "amqps://hub.local/hub/$management"] {
            assert_eq!(of(Role::Sender, text), Some(Purpose::Management), "{text}");
            assert_eq!(of(Role::Receiver, text), Some(Purpose::ManagementAnswers), "{text}");
        }
        for text in [
            "hub",
            "hub/ConsumerGroups",
            "hub/ConsumerGroups/$Default",
            "hub/ConsumerGroups/$Default/Partitions",
            "hub/ConsumerGroups/$Default/Partitions/x",
            "hub/ConsumerGroups/$Default/Partitions/-1",
            "hub/ConsumerGroups/$Default/Partitions/65536",
            "hub/ConsumerGroups/$Default/Partitions/0/x",
            "hub/Partitions/0",
            "other/ConsumerGroups/$Default/Partitions/0",
        ] {
            assert_eq!(of(Role::Receiver, text), None, "{text}");
        }
    }

    #[test]
    fn the_address_of_the_hub_leads_to_its_event_hub() {
        for (text, tail) in [
            ("messages/events/", ""),
            ("/messages/events", ""),
            ("amqps://hub.local/messages/events/$management", "$management"),
            ("/messages/events/$management", "$management"),
            ("/messages/Events/ConsumerGroups/$Default/Partitions/0", "ConsumerGroups/$Default/Partitions/0"),
        ] {
            for role in [Role::Sender, Role::Receiver] {
                let Some(Purpose::Redirect(redirect)) = of(role, text) else { panic!("{text}") };
                assert_eq!(redirect.address("hub.local"), format!("amqps://hub.local:5671/hub/{tail}"));
            }
        }
    }
}
