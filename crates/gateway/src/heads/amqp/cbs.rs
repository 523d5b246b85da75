//! The node `$cbs`: a client sends a token as the message `put-token` and gets an answer with a status.
//!
//! The name and the type of a token say nothing reliable: clients write hosts, URIs and scopes, and Node sends an Entra
//! token with the type of a SAS token. The text of the token decides.

use std::borrow::Cow;

use bytes::BytesMut;
use ferrohub_amqp::message::{Body, Message, MessageEncoder, Properties};
use ferrohub_amqp::{DecodeError, Value};

/// A message to `$cbs` that is no request with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidRequest {
    #[error("the message is malformed: {0}")]
    Malformed(#[from] DecodeError),
    #[error("the operation is not put-token")]
    Operation,
    #[error("the body is not a token as text")]
    NoToken,
}

/// Reads the token of a `put-token` message, as it would stand in the header `Authorization`.
pub(super) fn read_token(payload: &[u8]) -> Result<String, InvalidRequest> {
    let message = Message::parse(payload)?;
    let operation = message.application_properties()?.get("operation");
    if operation.and_then(|operation| operation.as_str()) != Some("put-token") {
        return Err(InvalidRequest::Operation);
    }
    let token = match message.body()? {
        Body::Value(value) => value.as_str(),
        _ => None,
    };
    token.map(|token| authorization(token).into_owned()).ok_or(InvalidRequest::NoToken)
}

/// Adds the scheme to a JWT that is sent without it: three parts with dots between them.
fn authorization(token: &str) -> Cow<'_, str> {
    if !token.contains(' ') && token.split('.').count() == 3 {
        return format!("Bearer {token}").into();
    }
    token.into()
}

/// Encodes the answer to a request. Its correlation-id is the request's message-id with its type, or null: Go sends none.
///
/// The status must be an int: Python, C and Go read nothing else.
pub(super) fn answer(request: &[u8], status: u16, description: &str) -> BytesMut {
    let properties = Message::parse(request).and_then(|message| message.properties());
    let correlation_id = properties.ok().and_then(|properties| properties.message_id);
    let mut bytes = BytesMut::new();
    MessageEncoder::new(&mut bytes)
        .properties(&Properties { correlation_id, ..Properties::default() })
        .application_properties(|map| {
            map.string("status-code");
            map.int(status.into());
            map.string("status-description");
            map.string(description);
        })
        .value(|value| value.value(&Value::Null));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(operation: &str, token: Value<'_>) -> BytesMut {
        let mut bytes = BytesMut::new();
        MessageEncoder::new(&mut bytes)
            .properties(&Properties { message_id: Some(Value::Ulong(7)), ..Properties::default() })
            .application_properties(|map| {
                map.string("operation");
                map.string(operation);
            })
            .value(|value| value.value(&token));
        bytes
    }

    #[test]
    fn the_text_of_a_token_decides_about_its_kind() {
        for (sent, read) in [
            ("SharedAccessSignature sr=a.b.c&sig=x", "SharedAccessSignature sr=a.b.c&sig=x"),
            ("Bearer a.b.c", "Bearer a.b.c"),
            ("a.b.c", "Bearer a.b.c"),
            ("a.b", "a.b"),
            ("", ""),
        ] {
            assert_eq!(read_token(&request("put-token", Value::String(sent))).as_deref(), Ok(read));
        }
    }

    #[test]
    fn other_requests_are_refused() {
        assert_eq!(read_token(&request("delete-token", Value::String("a"))), Err(InvalidRequest::Operation));
        assert_eq!(read_token(&request("put-token", Value::Ulong(1))), Err(InvalidRequest::NoToken));
        assert_eq!(read_token(b""), Err(InvalidRequest::Operation));
        assert!(matches!(read_token(b"\x00"), Err(InvalidRequest::Malformed(_))));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_request_or_not(payload: Vec<u8>) {
            let _ = read_token(&payload);
            let _ = Message::parse(&answer(&payload, 400, "no")).unwrap();
        }
    }

    #[test]
    fn an_answer_repeats_the_message_id_with_its_type() {
        let bytes = answer(&request("put-token", Value::Null), 200, "OK");
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.properties().unwrap().correlation_id, Some(Value::Ulong(7)));
        let properties = message.application_properties().unwrap();
        assert_eq!(properties.get("status-code"), Some(Value::Int(200)));
        assert_eq!(properties.get("status-description"), Some(Value::String("OK")));
        assert!(
            Message::parse(&answer(b"", 401, "no")).unwrap().properties().unwrap().correlation_id.is_none()
        );
    }
}
