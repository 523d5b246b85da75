//! The node `$management` of the event hub: a client asks for the partitions, or for the state of one.

use bytes::{Bytes, BytesMut};
use ferrohub_amqp::message::{Message, MessageEncoder, Properties};
use ferrohub_amqp::{DecodeError, Encoder};
use ferrohub_core::telemetry::{EventLogState, PartitionState};
use ferrohub_model::event_hub::event_hub_name;
use ferrohub_model::{ErrorCode, HubError, Timestamp};

use super::event_message::signed;

const EVENT_HUB: &str = "com.microsoft:eventhub";
const PARTITION: &str = "com.microsoft:partition";

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Question {
    EventHub,
    Partition(u16),
}

/// A message to `$management` that the hub does not understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum InvalidQuestion {
    #[error("the message is malformed: {0}")]
    Malformed(#[from] DecodeError),
    #[error("the operation is not READ")]
    Operation,
    #[error("the type is neither {EVENT_HUB} nor {PARTITION}")]
    Type,
    #[error("the hub has no event hub of this name, only '{0}'")]
    Name(String),
    #[error("the event hub has no such partition")]
    Partition,
}

impl From<InvalidQuestion> for HubError {
    fn from(error: InvalidQuestion) -> Self {
        let code = match error {
            InvalidQuestion::Malformed(_) | InvalidQuestion::Operation | InvalidQuestion::Type => {
                ErrorCode::ArgumentInvalid
            }
            InvalidQuestion::Name(_) | InvalidQuestion::Partition => ErrorCode::GenericNotFound,
        };
        Self::new(code, error.to_string())
    }
}

impl Question {
    fn parse(request: &[u8], host: &str) -> Result<Self, InvalidQuestion> {
        let message = Message::parse(request)?;
        let properties = message.application_properties()?;
        let text = |name: &str| properties.get(name).and_then(|value| value.as_str());
        if text("operation") != Some("READ") {
            return Err(InvalidQuestion::Operation);
        }
        let entity = event_hub_name(host);
        if !text("name").is_some_and(|name| name.eq_ignore_ascii_case(entity)) {
            return Err(InvalidQuestion::Name(entity.to_owned()));
        }
        match text("type") {
            Some(EVENT_HUB) => Ok(Self::EventHub),
            Some(PARTITION) => text("partition")
                .and_then(|id| id.parse().ok())
                .map(Self::Partition)
                .ok_or(InvalidQuestion::Partition),
            _ => Err(InvalidQuestion::Type),
        }
    }
}

/// Returns where a request wants its answer: the target of one of the client's links.
pub(super) fn reply_to(request: &[u8]) -> Option<String> {
    let message = Message::parse(request).ok()?;
    let properties = message.properties().ok()?;
    properties.reply_to.filter(|reply_to| !reply_to.is_empty()).map(str::to_owned)
}

/// What an answer says about the event hub besides its partitions.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventHub<'a> {
    /// The name of the hub.
    pub(super) host: &'a str,
    /// When it was created, as far as is known.
    pub(super) created: Timestamp,
}

/// Answers a request. `injected` is the error of an injected fault. `log` reads the event log; it is awaited only for a
/// valid question.
pub(super) async fn answer(
    request: &Bytes,
    hub: EventHub<'_>,
    injected: Option<HubError>,
    log: impl Future<Output = Result<EventLogState, HubError>>,
) -> (BytesMut, Result<(), HubError>) {
    let answered = match (injected, Question::parse(request, hub.host)) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(error.into()),
        (None, Ok(question)) => log.await.and_then(|log| encode(request, &question, &log, hub)),
    };
    match answered {
        Ok(message) => (message, Ok(())),
        Err(error) => {
            let mut message = BytesMut::new();
            start(&mut message, request, error.code.http_status(), &error.message)
                .value(|value| value.null());
            (message, Err(error))
        }
    }
}

/// Begins an answer. Its correlation-id is the request's message-id with its type. The status must be an int.
fn start<'b>(out: &'b mut BytesMut, request: &[u8], status: u16, description: &str) -> MessageEncoder<'b> {
    let properties = Message::parse(request).and_then(|message| message.properties());
    let correlation_id = properties.ok().and_then(|properties| properties.message_id);
    let mut message = MessageEncoder::new(out);
    message.properties(&Properties { correlation_id, ..Properties::default() }).application_properties(
        |map| {
            map.string("status-code");
            map.int(status.into());
            map.string("status-description");
            map.string(description);
        },
    );
    message
}

fn encode(
    request: &[u8],
    question: &Question,
    log: &EventLogState,
    hub: EventHub<'_>,
) -> Result<BytesMut, HubError> {
    let entity = event_hub_name(hub.host);
    let partition = match question {
        Question::EventHub => None,
        Question::Partition(id) => {
            let state = log.partitions.get(usize::from(*id)).ok_or(InvalidQuestion::Partition)?;
            Some((*id, state))
        }
    };
    let mut message = BytesMut::new();
    start(&mut message, request, 200, "OK").value(|value| {
        value.map(|map| match partition {
            None => event_hub(map, entity, log, hub.created),
            Some((id, partition)) => state(map, entity, id, partition),
        });
    });
    Ok(message)
}

/// Go reads the ids only if they are an array of strings.
fn event_hub(map: &mut Encoder<'_>, entity: &str, log: &EventLogState, created: Timestamp) {
    let ids: Vec<String> = (0..log.partitions.len()).map(|id| id.to_string()).collect();
    map.string("name");
    map.string(entity);
    map.string("type");
    map.string(EVENT_HUB);
    map.string("created_at");
    map.timestamp(created.unix_millis());
    map.string("partition_count");
    map.int(i32::try_from(ids.len()).unwrap_or(i32::MAX));
    map.string("partition_ids");
    map.strings(ids.iter().map(String::as_str));
}

/// An empty partition has the sequence number and the offset before its first event, and no time.
fn state(map: &mut Encoder<'_>, entity: &str, id: u16, partition: &PartitionState) {
    let last = partition.last;
    map.string("name");
    map.string(entity);
    map.string("type");
    map.string(PARTITION);
    map.string("partition");
    map.string(&id.to_string());
    map.string("begin_sequence_number");
    map.long(signed(partition.begin));
    map.string("last_enqueued_sequence_number");
    map.long(last.map_or(-1, signed));
    map.string("last_enqueued_offset");
    map.string(&last.map_or("-1".to_owned(), |last| last.to_string()));
    map.string("last_enqueued_time_utc");
    map.timestamp(partition.last_enqueued.map_or(0, Timestamp::unix_millis));
    map.string("is_partition_empty");
    map.boolean(partition.is_empty());
}

#[cfg(test)]
mod tests {
    use ferrohub_amqp::{Map, Value};

    use super::*;

    fn request(pairs: &[(&str, &str)]) -> Bytes {
        let mut bytes = BytesMut::new();
        MessageEncoder::new(&mut bytes)
            .properties(&Properties {
                message_id: Some(Value::Uuid([7; 16])),
                reply_to: Some("answers"),
                ..Properties::default()
            })
            .application_properties(|map| {
                for (name, value) in pairs {
                    map.string(name);
                    map.string(value);
                }
            });
        bytes.freeze()
    }

    fn question(pairs: &[(&str, &str)]) -> Result<Question, InvalidQuestion> {
        Question::parse(&request(pairs), "hub.local")
    }

    const HUB: EventHub<'_> =
        EventHub { host: "hub.local", created: Timestamp::from_unix_millis(1_600_000_000_000) };
    const READ: [(&str, &str); 2] = [("operation", "READ"), ("name", "Hub")];

    #[test]
    fn clients_ask_for_the_event_hub_or_a_partition() {
        assert_eq!(question(&[READ[0], READ[1], ("type", EVENT_HUB)]), Ok(Question::EventHub));
        let of = |id| question(&[READ[0], READ[1], ("type", PARTITION), ("partition", id)]);
        assert_eq!(of("3"), Ok(Question::Partition(3)));
        for id in ["", "x", "-1", "65536"] {
            assert_eq!(of(id), Err(InvalidQuestion::Partition), "{id}");
        }
        assert_eq!(question(&[READ[0], READ[1], ("type", "x")]), Err(InvalidQuestion::Type));
        assert_eq!(question(&[READ[0], READ[1]]), Err(InvalidQuestion::Type));
        assert_eq!(
            question(&[READ[0], ("name", "other"), ("type", EVENT_HUB)]),
            Err(InvalidQuestion::Name("hub".to_owned()))
        );
        assert_eq!(question(&[("operation", "DELETE"), READ[1]]), Err(InvalidQuestion::Operation));
        assert!(matches!(Question::parse(b"\x00", "hub"), Err(InvalidQuestion::Malformed(_))));
        assert_eq!(reply_to(&request(&READ)).as_deref(), Some("answers"));
        assert_eq!(reply_to(b""), None);
    }

    fn log() -> EventLogState {
        let partition = |begin, next| PartitionState {
            begin,
            next,
            last: u64::checked_sub(next, 1),
            oldest: None,
            last_enqueued: (next > 0).then(|| Timestamp::from_unix_millis(1_700_000_000_000)),
            bytes: 0,
        };
        EventLogState {
            consumer_groups: vec!["$Default".to_owned()],
            partitions: vec![partition(0, 0), partition(3, 9)],
        }
    }

    #[tokio::test]
    async fn the_event_log_is_read_for_valid_questions_only() {
        let valid = request(&[READ[0], READ[1], ("type", EVENT_HUB)]);
        let unread = async || -> Result<EventLogState, HubError> { panic!("the log is read") };
        let (_, result) = answer(&request(&READ), HUB, None, unread()).await;
        assert_eq!(result.unwrap_err().code, ErrorCode::ArgumentInvalid);
        let fault = HubError::new(ErrorCode::ServiceUnavailable, "injected");
        let (_, result) = answer(&valid, HUB, Some(fault), unread()).await;
        assert_eq!(result.unwrap_err().code, ErrorCode::ServiceUnavailable);
        let (_, result) = answer(&valid, HUB, None, async { Ok(log()) }).await;
        assert_eq!(result, Ok(()));
    }

    fn answered(question: &Question, read: impl FnOnce(Map<'_>)) {
        let message = encode(&request(&READ), question, &log(), HUB).unwrap();
        let message = Message::parse(&message).unwrap();
        assert_eq!(message.properties().unwrap().correlation_id, Some(Value::Uuid([7; 16])));
        let properties = message.application_properties().unwrap();
        assert_eq!(properties.get("status-code"), Some(Value::Int(200)));
        let ferrohub_amqp::message::Body::Value(Value::Map(map)) = message.body().unwrap() else {
            panic!("no map")
        };
        read(map);
    }

    #[test]
    fn answers_have_the_names_and_types_that_clients_read() {
        answered(&Question::EventHub, |map| {
            assert_eq!(map.get("name"), Some(Value::String("hub")));
            assert_eq!(map.get("type"), Some(Value::String(EVENT_HUB)));
            assert_eq!(map.get("created_at"), Some(Value::Timestamp(1_600_000_000_000)));
            assert_eq!(map.get("partition_count"), Some(Value::Int(2)));
            let Some(Value::Array(ids)) = map.get("partition_ids") else { panic!("no array") };
            assert_eq!(ids.iter().collect::<Vec<_>>(), [Value::String("0"), Value::String("1")]);
        });
        answered(&Question::Partition(1), |map| {
            for (name, value) in [
                ("partition", Value::String("1")),
                ("begin_sequence_number", Value::Long(3)),
                ("last_enqueued_sequence_number", Value::Long(8)),
                ("last_enqueued_offset", Value::String("8")),
                ("last_enqueued_time_utc", Value::Timestamp(1_700_000_000_000)),
                ("is_partition_empty", Value::Boolean(false)),
            ] {
                assert_eq!(map.get(name), Some(value), "{name}");
            }
        });
        answered(&Question::Partition(0), |map| {
            assert_eq!(map.get("last_enqueued_sequence_number"), Some(Value::Long(-1)));
            assert_eq!(map.get("last_enqueued_offset"), Some(Value::String("-1")));
            assert_eq!(map.get("is_partition_empty"), Some(Value::Boolean(true)));
        });
        let unknown = encode(&request(&READ), &Question::Partition(2), &log(), HUB).unwrap_err();
        assert_eq!(unknown.code, ErrorCode::GenericNotFound);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_question_or_not(payload: Vec<u8>) {
            let _ = Question::parse(&payload, "hub");
            let _ = reply_to(&payload);
        }
    }
}
