//! Every frame that a real client has sent decodes, and an encoded frame is what clients have accepted.

use std::collections::BTreeMap;

use bytes::BytesMut;
use ferrohub_amqp::{
    DecodeError,
    frame::{self, Frame, FrameType},
    performative::{Performative, SaslFrame},
};

use crate::captures::{self, From, Line};

/// The name and the encoding of a frame after decoding it, with its payload.
fn reencoded(frame: Frame<'_>) -> Result<(&'static str, Vec<u8>), DecodeError> {
    let mut body = BytesMut::new();
    let name = match frame.kind {
        FrameType::Sasl => {
            let sasl = SaslFrame::decode(frame.body)?;
            sasl.encode(&mut body);
            sasl.name()
        }
        FrameType::Amqp if frame.body.is_empty() => "heartbeat",
        FrameType::Amqp => {
            let (performative, payload) = Performative::decode(frame.body)?;
            performative.encode(&mut body);
            body.extend_from_slice(payload);
            performative.name()
        }
    };
    let mut bytes = BytesMut::new();
    frame::encode(&mut bytes, frame.kind, frame.channel, |out| out.extend_from_slice(&body));
    Ok((name, bytes.to_vec()))
}

fn frames(from: From) -> impl Iterator<Item = Line> {
    let captures = captures::all().into_iter().flat_map(|capture| capture.sections).flatten();
    captures.filter(move |line| line.from == from && !line.is_header())
}

#[test]
fn every_client_frame_decodes_and_means_the_same_when_encoded_in_full() {
    let mut names = BTreeMap::<_, u32>::new();
    for line in frames(From::Client) {
        let frame = Frame::decode(&line.bytes).unwrap_or_else(|error| panic!("{}: {error}", line.place));
        let (name, full) = reencoded(frame).unwrap_or_else(|error| panic!("{}: {error}", line.place));
        *names.entry(name).or_default() += 1;
        let again = Frame::decode(&full).unwrap();
        match frame.kind {
            FrameType::Sasl => assert_eq!(SaslFrame::decode(again.body), SaslFrame::decode(frame.body)),
            FrameType::Amqp if frame.body.is_empty() => assert!(again.body.is_empty()),
            FrameType::Amqp => {
                assert_eq!(
                    Performative::decode(again.body),
                    Performative::decode(frame.body),
                    "{}",
                    line.place
                );
            }
        }
    }
    // The number of frames per performative: a capture that is not read would pass otherwise.
    assert_eq!(names.values().sum::<u32>(), 637, "{names:?}");
    assert_eq!(names["amqp:attach:list"], 132);
}

#[test]
fn encoded_frames_are_those_that_clients_have_accepted() {
    let mut equal = 0;
    for line in frames(From::Peer) {
        let frame = Frame::decode(&line.bytes).unwrap();
        let (name, bytes) = reencoded(frame).unwrap_or_else(|error| panic!("{}: {error}", line.place));
        // The test peer copied sources and targets as short as the client had written them, and used wide arrays.
        if matches!(name, "amqp:attach:list" | "amqp:sasl-mechanisms:list") {
            continue;
        }
        assert_eq!(bytes, line.bytes, "{}", line.place);
        equal += 1;
    }
    assert_eq!(equal, 481);
}
