//! The hub crashes while it creates devices. All acknowledged devices exist after the restart.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::thread::sleep;
use std::time::Duration;

use ferrohub_acceptance::{Hub, Service, sas};
use serde_json::{Value, json};

/// Number of crashes.
const CRASHES: u64 = 50;

#[test]
fn heavy_no_acknowledged_device_is_lost_in_fifty_crashes() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let headers = json!({ "Authorization": sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING")) });
    let mut known: Vec<(Value, Value)> = Vec::new();
    for crash in 0..CRASHES {
        // Four concurrent streams of creations, so that commits are shared. The crash interrupts them at some point.
        let streams: Vec<_> = (0..4)
            .map(|stream| {
                let prefix = format!("d{crash}-{stream}");
                let arguments = json!({ "url": hub.url(), "prefix": prefix, "headers": headers });
                service.begin("create_until_failure", &arguments)
            })
            .collect();
        sleep(Duration::from_millis(30 + crash * 7 % 90));
        hub.kill();
        for stream in streams {
            for device in stream.wait().expect("acknowledged devices").as_array().expect("a list") {
                known.push((device[0].clone(), device[1].clone()));
            }
        }
        hub.start_again();
    }
    eprintln!("{} devices acknowledged", known.len());
    assert!(known.len() as u64 > CRASHES, "the streams created devices before the crashes: {}", known.len());
    let ids: Vec<&Value> = known.iter().map(|(id, _)| id).collect();
    let arguments = json!({ "url": hub.url(), "device_ids": ids, "headers": headers });
    let found = service.call("generations", &arguments).expect("their generations");
    for ((id, generation), found) in known.iter().zip(found.as_array().expect("a list")) {
        assert_eq!(found, generation, "{id}");
    }
}
