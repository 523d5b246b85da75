//! The hub dies in the middle of work. What it had acknowledged is there when it comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::thread::sleep;
use std::time::Duration;

use ferrohub_acceptance::{Hub, Service, sas};
use serde_json::{Value, json};

/// How often the hub dies.
const DEATHS: u64 = 50;

#[test]
fn heavy_nothing_acknowledged_is_lost_in_fifty_deaths() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let headers = json!({ "Authorization": sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING")) });
    let mut known: Vec<(Value, Value)> = Vec::new();
    for death in 0..DEATHS {
        // Four streams of creations, so that commits are shared, which the death cuts off somewhere.
        let streams: Vec<_> = (0..4)
            .map(|stream| {
                let prefix = format!("d{death}-{stream}");
                let arguments = json!({ "url": hub.url(), "prefix": prefix, "headers": headers });
                service.begin("create_until_failure", &arguments)
            })
            .collect();
        sleep(Duration::from_millis(30 + death * 7 % 90));
        hub.kill();
        for stream in streams {
            for device in stream.wait().expect("acknowledged devices").as_array().expect("a list") {
                known.push((device[0].clone(), device[1].clone()));
            }
        }
        hub.start_again();
    }
    eprintln!("{} devices acknowledged", known.len());
    assert!(known.len() as u64 > DEATHS, "the streams ran before the deaths: {}", known.len());
    let ids: Vec<&Value> = known.iter().map(|(id, _)| id).collect();
    let arguments = json!({ "url": hub.url(), "device_ids": ids, "headers": headers });
    let found = service.call("generations", &arguments).expect("their generations");
    for ((id, generation), found) in known.iter().zip(found.as_array().expect("a list")) {
        assert_eq!(found, generation, "{id}");
    }
}
