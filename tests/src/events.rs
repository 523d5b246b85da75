//! A back end that reads what devices send.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::service::HttpResponse;
use crate::{Hub, Service, sas};

/// How long events may take to come.
const LIMIT: Duration = Duration::from_secs(30);

/// An event, as a reader gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event(pub Value);

impl Event {
    fn text(&self, of: &str, name: &str) -> &str {
        self.0[of][name].as_str().unwrap_or_default()
    }

    /// One of the system properties, or an empty text.
    #[must_use]
    pub fn system(&self, name: &str) -> &str {
        self.text("systemProperties", name)
    }

    /// One of the application's properties, or an empty text.
    #[must_use]
    pub fn property(&self, name: &str) -> &str {
        self.text("properties", name)
    }

    /// All of the application's properties.
    #[must_use]
    pub fn properties(&self) -> &Value {
        &self.0["properties"]
    }

    /// The device that it is from or about.
    #[must_use]
    pub fn device(&self) -> &str {
        self.system("iothub-connection-device-id")
    }

    /// `Telemetry`, or where else it comes from.
    #[must_use]
    pub fn source(&self) -> &str {
        self.system("iothub-message-source")
    }

    /// Its body, which must be text.
    #[must_use]
    #[track_caller]
    pub fn body(&self) -> &str {
        self.0["body"].as_str().expect("a text")
    }

    /// Its body, which must be JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.body()).expect("JSON")
    }

    /// Its body.
    #[must_use]
    #[track_caller]
    pub fn bytes(&self) -> Vec<u8> {
        match &self.0["bodyBase64"] {
            Value::String(text) => STANDARD.decode(text).expect("base64"),
            _ => self.body().as_bytes().to_vec(),
        }
    }

    /// Its partition.
    #[must_use]
    #[track_caller]
    pub fn partition(&self) -> u64 {
        self.0["partition"].as_u64().expect("a number")
    }

    /// Its number in the partition.
    #[must_use]
    #[track_caller]
    pub fn sequence(&self) -> u64 {
        self.0["sequenceNumber"].as_u64().expect("a number")
    }

    /// Where a reader goes on behind it, if it is the last one that the reader saw of all partitions.
    #[must_use]
    pub fn position(&self) -> String {
        format!("{}:{}", self.partition(), self.0["offset"].as_str().unwrap_or_default())
    }
}

/// A reader of the hub's events, by plain HTTPS requests.
pub struct Events<'a> {
    service: &'a Service,
    token: String,
}

impl<'a> Events<'a> {
    /// With the policy `service`.
    #[must_use]
    #[track_caller]
    pub fn new(hub: &Hub, service: &'a Service) -> Self {
        Self { service, token: sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING")) }
    }

    /// The token that it reads with.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// One request; `query` begins behind the question mark.
    #[must_use]
    #[track_caller]
    pub fn request(&self, query: &str) -> HttpResponse {
        self.service.http("GET", &format!("/messages/events?{query}"), Some(&self.token), None)
    }

    /// The events that one request finds.
    #[must_use]
    #[track_caller]
    pub fn get(&self, query: &str) -> Vec<Event> {
        let answer = self.request(query);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let lines = answer.body.lines().filter(|line| !line.is_empty());
        lines.map(|line| Event(serde_json::from_str(line).expect("an event"))).collect()
    }

    /// All events that are there.
    #[must_use]
    #[track_caller]
    pub fn all(&self) -> Vec<Event> {
        self.get("position=start&wait=0")
    }

    /// All events, once there are so many that fit.
    #[must_use]
    #[track_caller]
    pub fn wait_for(&self, count: usize, fits: impl Fn(&Event) -> bool) -> Vec<Event> {
        let begun = Instant::now();
        loop {
            let all = self.all();
            if all.iter().filter(|event| fits(event)).count() >= count {
                return all.into_iter().filter(|event| fits(event)).collect();
            }
            assert!(begun.elapsed() < LIMIT, "there are not {count} such events, only {all:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the hub tells of its log.
    #[must_use]
    #[track_caller]
    pub fn info(&self) -> Value {
        self.service.http("GET", "/messages/events/partitions", Some(&self.token), None).json()
    }
}
