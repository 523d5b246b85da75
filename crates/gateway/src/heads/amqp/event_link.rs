//! What a client asks for when it attaches a link for events.

use ferrohub_amqp::Value;
use ferrohub_amqp::performative::Attach;
use ferrohub_core::telemetry::{ReadRequest, StartPosition};

use super::address::{EventSource, Purpose};
use super::selector::{self, InvalidFilter};

/// The link property with the owner level.
const EPOCH: &str = "com.microsoft:epoch";
/// The capability of a client that wants to know the last event of the partition with each event.
const RUNTIME_METRIC: &str = "com.microsoft:enable-receiver-runtime-metric";

/// A link for events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventLink {
    pub(super) source: EventSource,
    pub(super) from: StartPosition,
    /// The owner level (Azure: epoch).
    pub(super) owner_level: Option<i64>,
    /// Whether the client wants to know the last event of the partition with each event.
    pub(super) wants_last_enqueued: bool,
}

/// An attach that the hub does not understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidEventLink {
    #[error("the link is not one for events")]
    Purpose,
    #[error(transparent)]
    Filter(#[from] InvalidFilter),
    #[error("the link property {EPOCH} is not an integer from 0 on")]
    Epoch,
}

impl EventLink {
    /// Reads the attach of a client. Other properties and capabilities have no meaning here.
    pub(super) fn parse(attach: &Attach<'_>, purpose: &Purpose) -> Result<Self, InvalidEventLink> {
        let Purpose::Events(source) = purpose else { return Err(InvalidEventLink::Purpose) };
        let from = selector::start_position(attach.source.as_ref(), source.partition)?;
        let epoch = attach.properties.and_then(|properties| properties.get(EPOCH));
        let owner_level = match epoch {
            None | Some(Value::Null) => None,
            Some(value) => Some(value.as_i64().filter(|level| *level >= 0).ok_or(InvalidEventLink::Epoch)?),
        };
        let wants_last_enqueued =
            attach.desired_capabilities.is_some_and(|wanted| wanted.contains(RUNTIME_METRIC));
        Ok(Self { source: source.clone(), from, owner_level, wants_last_enqueued })
    }

    /// Returns the request to the hub.
    pub(super) fn request(&self) -> ReadRequest<'_> {
        ReadRequest {
            consumer_group: &self.source.consumer_group,
            from: self.from.clone(),
            partition: Some(self.source.partition),
            owner_level: self.owner_level,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use ferrohub_amqp::{Encoder, Map};

    use super::*;

    fn parse(write: impl FnOnce(&mut Encoder<'_>)) -> Result<EventLink, InvalidEventLink> {
        let mut bytes = BytesMut::new();
        Encoder::new(&mut bytes).map(write);
        let properties = Some(Map::decode(&bytes).unwrap());
        let source = EventSource { consumer_group: "$Default".to_owned(), partition: 1 };
        EventLink::parse(&Attach { properties, ..Attach::default() }, &Purpose::Events(source))
    }

    #[test]
    fn the_owner_level_is_an_integer_of_any_type() {
        let level = |value: Value<'static>| {
            parse(|map| {
                map.symbol("com.microsoft:timeout");
                map.long(0);
                map.symbol(EPOCH);
                map.value(&value);
            })
            .map(|link| link.owner_level)
        };
        assert_eq!(level(Value::Long(0)), Ok(Some(0)));
        assert_eq!(level(Value::Long(i64::MAX)), Ok(Some(i64::MAX)));
        assert_eq!(level(Value::Uint(7)), Ok(Some(7)));
        assert_eq!(level(Value::Null), Ok(None));
        for other in [Value::Long(-1), Value::String("1"), Value::Ulong(u64::MAX), Value::Boolean(true)] {
            assert_eq!(level(other), Err(InvalidEventLink::Epoch), "{other:?}");
        }
        let link = parse(|_| {}).unwrap();
        assert_eq!(
            (link.owner_level, link.from, link.wants_last_enqueued),
            (None, StartPosition::Start, false)
        );
    }

    #[test]
    fn a_link_for_something_else_has_no_events() {
        let parsed = EventLink::parse(&Attach::default(), &Purpose::Messages);
        assert_eq!(parsed, Err(InvalidEventLink::Purpose));
    }
}
