//! Messages: what real clients have sent, what is written, and what is refused.

use bytes::BytesMut;
use ferrohub_amqp::{
    DecodeError, Symbol, Timestamp, Value,
    frame::{Frame, FrameType},
    message::{BATCH_FORMAT, Batch, Body, Header, Message, MessageEncoder, Properties},
    performative::{Performative, Transfer},
};
use proptest::{collection::vec, prelude::*};

use crate::{
    captures::{self, From, Line},
    values::{Tree, text, tree},
};

/// Complete messages of one side: the payloads of transfers that are not part of a longer delivery.
fn messages(from: From) -> Vec<(Line, u32, Vec<u8>)> {
    let lines = captures::all().into_iter().flat_map(|capture| capture.sections).flatten();
    let mut partial = false;
    let found = lines.filter(|line| line.from == from && !line.is_header()).filter_map(|line| {
        let frame = Frame::decode(&line.bytes).unwrap();
        if frame.kind != FrameType::Amqp || frame.body.is_empty() {
            return None;
        }
        let (Performative::Transfer(Transfer { message_format, more, .. }), payload) =
            Performative::decode(frame.body).unwrap()
        else {
            return None;
        };
        let whole = !partial && !more;
        partial = more;
        let payload = payload.to_vec();
        whole.then_some((line, message_format.unwrap_or(0), payload))
    });
    found.collect()
}

fn decode_all(message: &Message<'_>) -> Result<(), DecodeError> {
    message.header()?;
    message.delivery_annotations()?;
    message.message_annotations()?;
    message.properties()?;
    message.application_properties()?;
    message.footer()?;
    if let Body::Sequences(mut sequences) = message.body()? {
        sequences.try_for_each(|list| list.map(|_| ()))?;
    }
    Ok(())
}

#[test]
fn every_captured_message_decodes() {
    let mut count = 0;
    for from in [From::Client, From::Peer] {
        for (line, _, payload) in messages(from) {
            let message = Message::parse(&payload);
            let decoded = message.and_then(|message| decode_all(&message));
            decoded.unwrap_or_else(|error| panic!("{}: {error}", line.place));
            count += 1;
        }
    }
    assert_eq!(count, 205);
}

#[test]
fn a_device_in_c_sends_telemetry_as_a_batch_of_messages() {
    let batches = messages(From::Client).into_iter().filter(|(_, format, _)| *format == BATCH_FORMAT);
    let sizes = batches.map(|(line, _, payload)| {
        let mut size = 0;
        for message in Batch::parse(&payload).unwrap() {
            let message = message.unwrap_or_else(|error| panic!("{}: {error}", line.place));
            assert!(matches!(message.body(), Ok(Body::Data(data)) if data.clone().count() == 1));
            assert_eq!(message.properties().unwrap().to, None);
            assert!(message.application_properties().unwrap().len() < 10);
            size += 1;
        }
        size
    });
    let sizes: Vec<usize> = sizes.collect();
    assert_eq!(sizes, [3, 3]);
}

#[test]
fn ids_keep_their_types() {
    let mut kinds = [0; 4];
    for (_, _, payload) in messages(From::Client) {
        match Message::parse(&payload).unwrap().properties().unwrap().message_id {
            Some(Value::Ulong(_)) => kinds[0] += 1,
            Some(Value::Uuid(_)) => kinds[1] += 1,
            Some(Value::String(_)) => kinds[2] += 1,
            None => kinds[3] += 1,
            Some(other) => panic!("{other:?}"),
        }
    }
    assert!(kinds.iter().all(|&count| count > 0), "{kinds:?}");
}

#[test]
fn what_go_writes_for_nothing_is_nothing() {
    let go = Properties {
        correlation_id: Some(Value::String("")),
        absolute_expiry_time: Some(Timestamp(-6_795_364_578_871)),
        ..Properties::default()
    };
    assert_eq!((go.correlation(), go.expires_at()), (None, None));
    let real = Properties {
        correlation_id: Some(Value::Ulong(0)),
        absolute_expiry_time: Some(Timestamp(1)),
        ..Properties::default()
    };
    assert_eq!((real.correlation(), real.expires_at()), (Some(Value::Ulong(0)), Some(1)));
}

#[test]
fn a_written_message_has_these_bytes() {
    let mut bytes = BytesMut::new();
    let properties = Properties {
        correlation_id: Some(Value::Ulong(0)),
        content_type: Some(Symbol("a/b")),
        ..Properties::default()
    };
    MessageEncoder::new(&mut bytes)
        .header(&Header { delivery_count: Some(1), ..Header::default() })
        .message_annotations(|map| {
            map.symbol("x-opt-offset");
            map.string("7");
        })
        .properties(&properties)
        .application_properties(|map| {
            map.string("status-code");
            map.int(200);
        })
        .data(b"{}");
    let expected = b"\x00\x53\x70\xc0\x07\x05\x40\x40\x40\x40\x52\x01\
        \x00\x53\x72\xc1\x12\x02\xa3\x0cx-opt-offset\xa1\x017\
        \x00\x53\x73\xc0\x12\x0d\x40\x40\x40\x40\x40\x44\xa3\x03a/b\x40\x40\x40\x40\x40\x40\
        \x00\x53\x74\xc1\x13\x02\xa1\x0bstatus-code\x71\x00\x00\x00\xc8\
        \x00\x53\x75\xa0\x02{}";
    assert_eq!(&bytes[..], expected);
}

#[test]
fn sections_out_of_order_are_refused() {
    let (properties, data, value, sequence) = (
        &b"\x00\x53\x73\x45"[..],
        &b"\x00\x53\x75\xa0\x01x"[..],
        &b"\x00\x53\x77\x40"[..],
        &b"\x00\x53\x76\x45"[..],
    );
    let parse = |sections: &[&[u8]]| Message::parse(&sections.concat()).map(|_| ());
    assert_eq!(parse(&[properties, data, data]), Ok(()));
    assert_eq!(parse(&[properties]), Ok(()));
    assert_eq!(parse(&[]), Ok(()));
    for wrong in [
        &[data, properties][..],
        &[properties, properties],
        &[data, value],
        &[data, sequence],
        &[sequence, value],
        &[value, value],
    ] {
        assert_eq!(parse(wrong), Err(DecodeError::SectionOrder), "{wrong:?}");
    }
    assert_eq!(parse(&[b"\x00\x53\x79\x45"]), Err(DecodeError::UnexpectedDescriptor(0x79)));
    assert_eq!(parse(&[b"\x00\x53\x75\x40"]), Err(DecodeError::NotComposite));
    assert_eq!(parse(&[b"\x00\xa3\x10amqp:data:binary\xa0\x01x"]), Ok(()));
}

proptest! {
    #[test]
    fn a_message_survives_a_round_trip(
        header in prop::option::of(any::<Option<u32>>()),
        annotations in vec((text(), tree()), 0..4),
        to in prop::option::of(text()),
        application in vec((text(), tree()), 0..4),
        data in vec(vec(any::<u8>(), 0..300), 0..4),
        value in tree(),
    ) {
        let mut bytes = BytesMut::new();
        let mut encoder = MessageEncoder::new(&mut bytes);
        if let Some(delivery_count) = header {
            encoder.header(&Header { delivery_count, ..Header::default() });
        }
        if !annotations.is_empty() {
            encoder.message_annotations(|map| for (key, value) in &annotations {
                map.symbol(key);
                value.encode(map);
            });
        }
        encoder.properties(&Properties { to: to.as_deref(), ..Properties::default() });
        encoder.application_properties(|map| for (key, value) in &application {
            map.string(key);
            value.encode(map);
        });
        match &data[..] {
            [] => { encoder.value(|encoder| value.encode(encoder)); }
            data => for data in data { encoder.data(data); }
        }

        let message = Message::parse(&bytes).unwrap();
        prop_assert_eq!(message.header().unwrap().delivery_count, header.flatten());
        prop_assert_eq!(message.properties().unwrap().to, to.as_deref());
        for (map, pairs) in [
            (message.message_annotations().unwrap(), &annotations),
            (message.application_properties().unwrap(), &application),
        ] {
            prop_assert_eq!(map.len(), pairs.len());
            for ((key, found), (expected, tree)) in map.iter().zip(pairs) {
                prop_assert_eq!(key.as_str(), Some(&expected[..]));
                same_value(found, tree)?;
            }
        }
        prop_assert!(message.data().eq(data.iter().map(|data| &data[..])));
        prop_assert_eq!(&message.data().concat()[..], &data.concat()[..]);
        match message.body().unwrap() {
            Body::Value(found) => same_value(found, &value)?,
            Body::Data(_) => prop_assert!(!data.is_empty()),
            other => panic!("{other:?}"),
        }
        prop_assert_eq!(message.footer().unwrap().len(), 0);
    }

    #[test]
    fn a_batch_survives_a_round_trip(payloads in vec(vec(any::<u8>(), 0..40), 0..20)) {
        let mut bytes = BytesMut::new();
        let mut batch = MessageEncoder::new(&mut bytes);
        for payload in &payloads {
            let mut message = BytesMut::new();
            MessageEncoder::new(&mut message).data(payload);
            batch.data(&message);
        }
        let messages = Batch::parse(&bytes).unwrap();
        let found: Vec<_> = messages.map(|message| message.unwrap().data().concat().into_owned()).collect();
        prop_assert_eq!(found, payloads);
    }
}

fn same_value(found: Value<'_>, tree: &Tree) -> Result<(), TestCaseError> {
    let bytes = tree.encoded();
    prop_assert_eq!(found, Value::decode(&mut &bytes[..]).unwrap());
    Ok(())
}
