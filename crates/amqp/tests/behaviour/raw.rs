//! Frames by hand, for what a well-behaved machine does not send.

use std::{sync::Arc, time::Instant};

use bytes::BytesMut;
use ferrohub_amqp::{
    Config, Connection, Event, Grant, LinkId,
    frame::{self, Frame, FrameType, ProtocolHeader},
    performative::{Attach, Begin, Open, Performative, Role, SaslFrame, Transfer},
};

use crate::pair::attach;

/// A frame with a performative.
pub(crate) fn frame<'a>(channel: u16, performative: impl Into<Performative<'a>>) -> Vec<u8> {
    frame_with_payload(channel, performative, b"")
}

pub(crate) fn frame_with_payload<'a>(
    channel: u16,
    performative: impl Into<Performative<'a>>,
    payload: &[u8],
) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::encode(&mut out, FrameType::Amqp, channel, |out| {
        performative.into().encode(out);
        out.extend_from_slice(payload);
    });
    out.to_vec()
}

pub(crate) fn sasl_frame<'a>(body: impl Into<SaslFrame<'a>>) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::encode(&mut out, FrameType::Sasl, 0, |out| body.into().encode(out));
    out.to_vec()
}

/// A transfer of a whole message or a part of one.
pub(crate) fn transfer(handle: u32, delivery_id: Option<u32>, more: bool, payload: &[u8]) -> Vec<u8> {
    let delivery_tag = delivery_id.map(|_| &b"tag"[..]);
    let transfer = Transfer { handle, delivery_id, delivery_tag, more, ..Transfer::default() };
    frame_with_payload(0, transfer, payload)
}

pub(crate) fn begin() -> Begin<'static> {
    Begin { incoming_window: 1000, outgoing_window: 1000, ..Begin::default() }
}

/// What a server has to send.
pub(crate) fn sent(server: &mut Connection) -> Vec<u8> {
    let mut out = BytesMut::new();
    server.poll_transmit(&mut out);
    out.to_vec()
}

/// The performatives of AMQP frames, with their channels.
pub(crate) fn performatives(mut bytes: &[u8]) -> Vec<(u16, Performative<'_>)> {
    let mut found = Vec::new();
    while let Some(size) = Frame::size(bytes, usize::MAX).unwrap() {
        let (frame, rest) = bytes.split_at(size);
        let frame = Frame::decode(frame).unwrap();
        found.push((frame.channel, Performative::decode(frame.body).unwrap().0));
        bytes = rest;
    }
    found
}

/// A server whose client has opened the connection and is authenticated.
pub(crate) fn open_server(config: Config) -> (Connection, Instant) {
    let now = Instant::now();
    let mut server = Connection::accept(Arc::new(config), now);
    server.set_authenticated();
    let open = Open { container_id: "raw", ..Open::default() };
    let bytes = [&ProtocolHeader::Amqp.to_bytes()[..], &frame(0, open)].concat();
    server.handle_input(&bytes, now).unwrap();
    assert!(matches!(server.poll_event(), Some(Event::Open(_))));
    sent(&mut server);
    (server, now)
}

/// A server with a session on channel 0 and links on which its client sends, from handle 0 up.
pub(crate) fn server_with_links(
    config: Config,
    links: u32,
    grant: &Grant,
) -> (Connection, Instant, Vec<LinkId>) {
    let (mut server, now) = open_server(config);
    server.handle_input(&frame(0, begin()), now).unwrap();
    assert!(matches!(server.poll_event(), Some(Event::Begin(_))));
    let ids = (0..links).map(|handle| {
        let name = handle.to_string();
        let attach = Attach { handle, ..attach(&name, Role::Sender) };
        server.handle_input(&frame(0, attach), now).unwrap();
        let Some(Event::Attach { link, .. }) = server.poll_event() else { panic!() };
        server.accept_link(link, grant).unwrap();
        link
    });
    let ids = ids.collect();
    sent(&mut server);
    (server, now, ids)
}
