//! Every message and reply of a bus survives its encoding: there is nothing in it that another process could not have.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::node::{
    BusMessage, BusReply, CallEnd, DesiredNotice, MethodReply, OutgoingCall, Selector, What,
};
use ferrohub_model::method::MethodName;
use ferrohub_model::{DeviceId, SharedAccessKey};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::nodes::id;

fn assert_survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let encoded = serde_json::to_string(value).unwrap();
    let decoded: T = serde_json::from_str(&encoded).unwrap();
    assert_eq!(decoded, *value, "{encoded}");
}

fn call(payload: Option<&'static [u8]>) -> OutgoingCall {
    OutgoingCall {
        name: MethodName::new("größe").unwrap(),
        payload: payload.map(Bytes::from_static),
        connect_timeout: Duration::ZERO,
        response_timeout: Duration::from_millis(1_500),
    }
}

fn selectors() -> [Selector; 6] {
    [
        Selector::Identity(id("d")),
        Selector::Identity(id("d/m")),
        Selector::Device(DeviceId::new("d'$").unwrap()),
        Selector::Key { identity: id("d/m"), key: SharedAccessKey::generate().fingerprint() },
        Selector::Policy { name: "iothubowner".to_owned() },
        Selector::Authority { name: "Fleet \"Root\"".to_owned() },
    ]
}

const REASONS: [CloseReason; 14] = [
    CloseReason::ClientDisconnect,
    CloseReason::Lost,
    CloseReason::KeepAlive,
    CloseReason::ProtocolError,
    CloseReason::TakenOver,
    CloseReason::Expired,
    CloseReason::Deleted,
    CloseReason::Disabled,
    CloseReason::CredentialChanged,
    CloseReason::SlowReader,
    CloseReason::FaultInjected,
    CloseReason::StoreFailed,
    CloseReason::MissedTwinChange,
    CloseReason::Stopping,
];

const ENDS: [CallEnd; 9] = [
    CallEnd::NotOnline,
    CallEnd::TimedOut,
    CallEnd::Disconnected,
    CallEnd::TakenOver,
    CallEnd::FaultInjected,
    CallEnd::NotSent,
    CallEnd::TooManyInFlight,
    CallEnd::InvalidStatus,
    CallEnd::Stopping,
];

#[test]
fn every_message_survives_its_encoding() {
    let notice = DesiredNotice { version: u64::MAX, patch: Bytes::from_static(b"{\"a\":null}") };
    let mut messages = vec![
        BusMessage::Call { target: id("d"), call: call(None) },
        BusMessage::Call { target: id("d/m"), call: call(Some(b"[\"\xc3\xa9\"]")) },
        BusMessage::NotifyDesired { target: id("d"), notice },
        BusMessage::NotifyMessages { target: id("d") },
        BusMessage::Connected { id: id("d/m") },
        BusMessage::IsConnected { target: id("d") },
        BusMessage::CountDevices,
    ];
    messages.extend(What::ALL.map(BusMessage::Invalidate));
    messages.extend(
        selectors().map(|selector| BusMessage::Disconnect { selector, reason: CloseReason::Deleted }),
    );
    messages.extend(
        REASONS.map(|reason| BusMessage::Disconnect { selector: Selector::Identity(id("d")), reason }),
    );
    messages.iter().for_each(assert_survives);
}

#[test]
fn every_reply_survives_its_encoding() {
    // What a device answers need not be text.
    let reply = MethodReply { status: -1, payload: Bytes::from_static(b"\xff\x00") };
    let mut replies = vec![
        BusReply::Call(Ok(reply)),
        BusReply::Done,
        BusReply::Connected(true),
        BusReply::Devices(u64::MAX),
    ];
    replies.extend(ENDS.map(|end| BusReply::Call(Err(end))));
    replies.iter().for_each(assert_survives);
}

#[test]
fn a_message_with_an_id_that_is_not_valid_is_refused() {
    for invalid in ["\"\"", "\"d/\"", "\"d/m/n\"", "\"a b\"", "1"] {
        let message = format!("{{\"notify_messages\":{{\"target\":{invalid}}}}}");
        assert!(serde_json::from_str::<BusMessage>(&message).is_err(), "{invalid}");
    }
    let call = "{\"call\":{\"target\":\"d\",\"call\":{\"name\":\"\",\"payload\":null,\
                \"connect_timeout\":{\"secs\":0,\"nanos\":0},\"response_timeout\":{\"secs\":1,\"nanos\":0}}}}";
    assert!(serde_json::from_str::<BusMessage>(call).is_err());
    assert!(serde_json::from_str::<BusMessage>(&call.replace("\"name\":\"\"", "\"name\":\"m\"")).is_ok());
}
