//! Addresses of links.

use ferrohub_amqp::performative::{Attach, Role};
use ferrohub_core::Operation;

use super::feed::Feed;

/// What a client attaches a link for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Sends tokens to `$cbs`.
    Tokens,
    /// Receives the answers to tokens from `$cbs`.
    TokenAnswers,
    /// Sends messages to devices.
    Messages,
    /// Receives feedback or file notifications.
    Feed(Feed),
}

impl Purpose {
    /// Returns the purpose of a link; `None` if the hub has no such address, or not in this direction.
    pub(super) fn of(attach: &Attach<'_>) -> Option<Self> {
        let is = |name: &str| path(address(attach)).eq_ignore_ascii_case(name);
        match attach.role {
            Role::Sender if is("$cbs") => Some(Self::Tokens),
            Role::Receiver if is("$cbs") => Some(Self::TokenAnswers),
            Role::Sender if is("messages/devicebound") => Some(Self::Messages),
            Role::Receiver if is("messages/servicebound/feedback") => Some(Self::Feed(Feed::Feedback)),
            Role::Receiver if is("messages/servicebound/filenotifications") => {
                Some(Self::Feed(Feed::FileNotifications))
            }
            _ => None,
        }
    }

    /// Returns the operation for which a caller needs the right; `None` for `$cbs`, which everybody may use.
    pub(super) fn operation(self) -> Option<Operation> {
        match self {
            Self::Tokens | Self::TokenAnswers => None,
            Self::Messages => Some(Operation::SendMessage),
            Self::Feed(feed) => Some(feed.receive_operation()),
        }
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

    #[test]
    fn every_form_of_an_address_is_read() {
        let of = |role, text| {
            let source = Some(Source { address: Some(text), ..Source::default() });
            let target = Some(Target { address: Some(text), ..Target::default() });
            Purpose::of(&Attach { name: "l", role, source, target, ..Attach::default() })
        };
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
        assert_eq!(Purpose::of(&Attach::default()), None, "no source, no target");
    }
}
