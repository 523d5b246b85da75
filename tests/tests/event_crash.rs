//! The hub crashes during a stream of telemetry. After the restart the log contains all acknowledged events, in order
//! per device, and sequence numbers continue.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::collections::HashSet;
use std::thread::sleep;
use std::time::Duration;

use ferrohub_acceptance::{Device, Event, Events, Hub, Identity, Message, Service};

const DEVICES: usize = 4;

/// Lets the devices send until the hub crashes. Returns the number of acknowledged messages per device.
fn run_until_crash(hub: &mut Hub, identities: &[Identity], crash: u64) -> Vec<u64> {
    let devices: Vec<Device> = identities
        .iter()
        .map(|identity| Device::with_identity(identity).option("connection_retry", false).start(hub))
        .collect();
    for device in &devices {
        device.connect().unwrap();
    }
    let streams: Vec<_> =
        devices.iter().map(|device| device.begin_sending_until_failure(&format!("{crash}-"))).collect();
    sleep(Duration::from_millis(300 + crash * 37 % 200));
    hub.kill();
    streams.into_iter().map(|stream| stream.wait().expect("a number").as_u64().expect("a number")).collect()
}

#[track_caller]
fn check(all: &[Event], device: &str, crash: u64, acknowledged: u64) {
    let prefix = format!("{crash}-");
    let of_stream: Vec<&Event> =
        all.iter().filter(|event| event.device() == device && event.body().starts_with(&prefix)).collect();
    // The last event may be in the log without an acknowledgement.
    let expected: Vec<String> = (0..of_stream.len()).map(|number| format!("{prefix}{number}")).collect();
    assert_eq!(of_stream.iter().map(|event| event.body()).collect::<Vec<_>>(), expected);
    assert!(of_stream.len() as u64 >= acknowledged, "{device}: {} of {acknowledged}", of_stream.len());
    assert!(of_stream.len() as u64 <= acknowledged + 1);
}

fn check_crashes(count: u64) {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let identities: Vec<Identity> =
        (0..DEVICES).map(|number| service.create_device(&format!("dev{number}"))).collect();
    let mut acknowledged = Vec::new();
    for crash in 0..count {
        acknowledged.push(run_until_crash(&mut hub, &identities, crash));
        hub.start_again();
    }
    // Sequence numbers continue after the existing ones.
    let device = Device::with_identity(&identities[0]).start(&hub);
    device.send(&[Message::text("after all")]).unwrap();
    let all = Events::new(&hub, &service).all();
    let total: u64 = acknowledged.iter().flatten().sum();
    eprintln!("{total} messages acknowledged");
    assert!(total > count * DEVICES as u64, "{total}");
    for (crash, counts) in (0..).zip(&acknowledged) {
        for (device, acknowledged) in counts.iter().enumerate() {
            check(&all, &format!("dev{device}"), crash, *acknowledged);
        }
    }
    let numbers: HashSet<(u64, u64)> =
        all.iter().map(|event| (event.partition(), event.sequence())).collect();
    assert_eq!(numbers.len(), all.len(), "sequence numbers are unique");
    for partition in 0..4 {
        let of_partition: Vec<&Event> = all.iter().filter(|event| event.partition() == partition).collect();
        assert!(of_partition.windows(2).all(|pair| pair[1].sequence() == pair[0].sequence() + 1));
        let times = |event: &Event| event.0["enqueuedTime"].as_str().unwrap().to_owned();
        let times: Vec<_> = of_partition.iter().map(|event| times(event)).collect();
        assert!(times.len() < 2 || times.first() <= times.last());
    }
}

#[test]
fn no_acknowledged_event_is_lost_in_a_crash() {
    check_crashes(2);
}

#[test]
fn heavy_no_acknowledged_event_is_lost_in_ten_crashes() {
    check_crashes(10);
}
