//! Readers of events that no real client is: floods, stalls, tiny frames, and more of everything than there may be.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::time::Duration;

use ferrohub_acceptance::raw_amqp::RawAmqp;
use ferrohub_acceptance::{
    AmqpClient, EventSender, EventsLink, Hub, Service, eventually, management_request, sas,
};
use ferrohub_amqp::frame::ProtocolHeader;
use ferrohub_amqp::performative::{
    Attach, Begin, DeliveryState, Disposition, Flow, Open, Performative, Target, Transfer,
};
use serde_json::json;

fn token(hub: &Hub) -> String {
    sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"))
}

fn address(hub: &Hub, partition: u16) -> String {
    format!("{}/ConsumerGroups/$Default/Partitions/{partition}", hub.name())
}

/// A connection with a token, with a link on handle 2 that reads the partition.
#[track_caller]
fn reader(hub: &Hub, partition: u16) -> RawAmqp {
    let mut peer = RawAmqp::open(hub);
    peer.put_token(&token(hub));
    attach(&mut peer, hub, partition);
    peer
}

#[track_caller]
fn attach(peer: &mut RawAmqp, hub: &Hub, partition: u16) {
    peer.send(0, RawAmqp::receiver_frame("events", 2, &address(hub, partition)));
    let frame = peer.expect("amqp:attach:list");
    let Performative::Attach(Attach { source, snd_settle_mode, .. }) = frame.performative() else {
        unreachable!()
    };
    assert!(source.is_some(), "the link is accepted");
    assert_eq!(snd_settle_mode.map(|mode| mode as u8), Some(1), "events are sent settled");
}

/// Sends events of one device, and returns their partition.
#[track_caller]
fn send(service: &Service, hub: &Hub, count: usize) -> u16 {
    let sender = EventSender::with_devices(service, 1);
    for number in 0..count {
        sender.send(0, &number.to_string());
    }
    sender.partition_of(hub, 0).parse().unwrap()
}

#[track_caller]
fn expect_transfers(peer: &mut RawAmqp, count: usize) {
    for number in 0..count {
        let frame = peer.expect("amqp:transfer:list");
        let Performative::Transfer(Transfer { settled, more, .. }) = frame.performative() else {
            unreachable!()
        };
        assert_eq!((settled, more), (Some(true), false), "{number}");
    }
}

fn credit(delivery_count: u32, credit: u32, drain: bool) -> Flow<'static> {
    Flow { delivery_count: Some(delivery_count), drain, ..RawAmqp::credit_frame(2, credit) }
}

/// Reads the next flow of the link, which must come before any event.
#[track_caller]
fn expect_drained(peer: &mut RawAmqp, delivery_count: u32) {
    let frame = peer.next_frame().expect("a frame");
    let Performative::Flow(flow) = frame.performative() else { panic!("{:?}", frame.performative()) };
    assert_eq!((flow.link_credit, flow.drain), (Some(0), true));
    assert_eq!(flow.delivery_count, Some(delivery_count), "the credit counts as used");
}

#[test]
fn credit_is_used_exactly_and_given_back_when_the_reader_drains_it() {
    let hub = Hub::start();
    let partition = send(&Service::owner(&hub), &hub, 7);
    let mut peer = reader(&hub, partition);
    peer.send(0, credit(0, 3, false));
    expect_transfers(&mut peer, 3);
    // Without credit nothing comes: the answer to a drain is the next frame.
    peer.send(0, credit(3, 0, true));
    expect_drained(&mut peer, 3);
    peer.send(0, credit(3, 2, true));
    expect_transfers(&mut peer, 2);
    expect_drained(&mut peer, 5);
    // More credit than events: what is there, and the rest back.
    peer.send(0, credit(5, 100, true));
    expect_transfers(&mut peer, 2);
    expect_drained(&mut peer, 105);
    // An empty partition.
    peer.send(0, credit(105, 1, true));
    expect_drained(&mut peer, 106);
}

#[test]
fn a_flood_of_credit_does_no_harm() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let sender = EventSender::with_devices(&service, 1);
    sender.send(0, "0");
    let partition = sender.partition_of(&hub, 0).parse().unwrap();
    let mut peer = reader(&hub, partition);
    for number in 0..20_000 {
        peer.send(0, credit(0, number % 3, number % 5 == 0));
        peer.send(0, credit(0, u32::MAX, false));
    }
    expect_transfers(&mut peer, 1);
    sender.send(0, "1");
    expect_transfers(&mut peer, 1);
    assert!(hub.readiness().is_ok());
}

#[test]
fn an_event_is_split_into_the_frames_and_windows_of_the_client() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let sender = EventSender::with_devices(&service, 1);
    let body = "x".repeat(200_000);
    sender.send_with(0, json!({}), &body);
    sender.send(0, "1");
    let partition = sender.partition_of(&hub, 0).parse().unwrap();

    let mut peer = RawAmqp::connect(&hub);
    peer.send_bytes(&ProtocolHeader::Amqp.to_bytes());
    peer.send(0, Open { max_frame_size: 4096, ..RawAmqp::open_frame() });
    peer.send(0, Begin { incoming_window: 5, ..RawAmqp::begin_frame() });
    assert_eq!(peer.read_header(), Some(ProtocolHeader::Amqp));
    let _ = peer.expect("amqp:open:list");
    let _ = peer.expect("amqp:begin:list");
    peer.put_token(&token(&hub));
    attach(&mut peer, &hub, partition);
    // The answer to the token was the first transfer.
    let (mut frames, mut received, mut events) = (1_u32, 0, 0);
    while events < 2 {
        let window = Flow {
            next_incoming_id: Some(1 + frames),
            incoming_window: 5,
            ..credit(events, 10 - events, false)
        };
        peer.send(0, window);
        for _ in 0..5 {
            let frame = peer.expect("amqp:transfer:list");
            let Performative::Transfer(Transfer { more, .. }) = frame.performative() else { unreachable!() };
            frames += 1;
            received += frame.payload_len();
            events += u32::from(!more);
            if events == 2 {
                break;
            }
        }
    }
    assert!(frames > 40 && received > body.len(), "{frames} frames, {received} bytes");
}

#[test]
fn a_reader_that_stalls_holds_nobody_up_and_little_memory() {
    let hub = Hub::builder().config("[limits]\nwrite_timeout_seconds = 5").start();
    let service = Service::owner(&hub);
    let sender = EventSender::with_devices(&service, 1);
    sender.send(0, "0");
    let partition = sender.partition_of(&hub, 0).parse().unwrap();
    let mut stalled: Vec<RawAmqp> = (0..5).map(|_| reader(&hub, partition)).collect();
    for peer in &mut stalled {
        peer.send(0, credit(0, 100_000, false));
    }
    let before = hub.resident_kib();
    let body = "x".repeat(200_000);
    for _ in 0..150 {
        sender.send_with(0, json!({}), &body);
    }
    let grown = hub.resident_kib().saturating_sub(before);
    assert!(grown < 24 * 1024, "30 MB were sent to five readers that do not read: {grown} KiB");
    eventually("the end of the readers", Duration::from_secs(30), || {
        (hub.metric("ferrohub_event_readers", "") == 0.0).then_some(())
    });
    assert!(hub.log().contains("reason=\"slow_reader\""), "{}", hub.log());
}

#[test]
fn a_connection_has_links_to_the_limit_and_each_gets_its_events() {
    let hub = Hub::builder().config("[events]\nreaders_per_group = 100").start();
    let service = Service::owner(&hub);
    let sender = EventSender::with_devices(&service, 1);
    sender.send(0, "0");
    let partition = sender.partition_of(&hub, 0).parse().unwrap();
    let mut client = AmqpClient::connect(&hub);
    assert_eq!(client.put_token(&token(&hub)), 200);
    // Two are those of $cbs.
    let link = EventsLink { partition, ..EventsLink::default() };
    for _ in 0..62 {
        client.attach_events(&hub, &link).unwrap();
    }
    let refused = client.attach_events(&hub, &link).unwrap_err();
    assert_eq!(refused.condition, "amqp:resource-limit-exceeded");
    for number in 0..3 {
        for _ in 0..62 {
            assert_eq!(client.next_received_event().sequence, number);
        }
        sender.send(0, "next");
    }
}

#[test]
fn questions_whose_answers_nobody_takes_are_rejected() {
    let hub = Hub::start();
    let mut peer = RawAmqp::open(&hub);
    peer.put_token(&token(&hub));
    let target = Some(Target { address: Some("my-answers"), ..Target::default() });
    peer.send(0, Attach { target, ..RawAmqp::receiver_frame("answers", 2, "$management") });
    let _ = peer.expect("amqp:attach:list");
    peer.send(0, RawAmqp::sender_frame("questions", 3, "$management"));
    let _ = peer.expect("amqp:flow:list");
    let question = management_request(&[
        ("operation", "READ"),
        ("name", hub.name()),
        ("type", "com.microsoft:eventhub"),
    ]);
    for number in 0..20 {
        peer.transfer(3, 1 + number, &question, false);
        let frame = peer.expect("amqp:disposition:list");
        let Performative::Disposition(Disposition { state, .. }) = frame.performative() else {
            unreachable!()
        };
        match state {
            Some(DeliveryState::Accepted) if number < 16 => {}
            Some(DeliveryState::Rejected(rejected)) if number >= 16 => {
                assert_eq!(rejected.error.unwrap().condition.0, "amqp:resource-limit-exceeded");
            }
            other => panic!("{number}: {other:?}"),
        }
    }
    // The answers come once there is credit.
    peer.send(0, RawAmqp::credit_frame(2, 100));
    expect_transfers(&mut peer, 16);
}

/// Ticks of processor time that the hub has used.
fn processor_ticks(hub: &Hub) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", hub.process_id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn readers_that_wait_use_no_processor_time() {
    let hub = Hub::builder().config("[events]\nreaders_per_group = 100").start();
    let mut clients: Vec<AmqpClient> = (0..4).map(|_| AmqpClient::connect(&hub)).collect();
    for client in &mut clients {
        assert_eq!(client.put_token(&token(&hub)), 200);
        for partition in (0..4).cycle().take(40) {
            client.attach_events(&hub, &EventsLink { partition, ..EventsLink::default() }).unwrap();
        }
    }
    assert_eq!(hub.metric("ferrohub_event_readers", ""), 160.0);
    let before = processor_ticks(&hub);
    std::thread::sleep(Duration::from_secs(3));
    let used = processor_ticks(&hub) - before;
    // 10 ms each: the hub has background tasks besides.
    assert!(used <= 5, "{used} ticks in three seconds");
}
