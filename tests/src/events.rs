//! A back end that reads device events over HTTPS.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::service::HttpResponse;
use crate::{Hub, Service, sas};

/// Maximum time to wait for events.
const LIMIT: Duration = Duration::from_secs(30);

/// An event as a reader receives it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event(pub Value);

impl Event {
    fn text(&self, of: &str, name: &str) -> &str {
        self.0[of][name].as_str().unwrap_or_default()
    }

    /// Returns a system property, or an empty string.
    #[must_use]
    pub fn system(&self, name: &str) -> &str {
        self.text("systemProperties", name)
    }

    /// Returns an application property, or an empty string.
    #[must_use]
    pub fn property(&self, name: &str) -> &str {
        self.text("properties", name)
    }

    /// Returns all application properties.
    #[must_use]
    pub fn properties(&self) -> &Value {
        &self.0["properties"]
    }

    /// Returns the id of the device that sent the event or that it is about.
    #[must_use]
    pub fn device(&self) -> &str {
        self.system("iothub-connection-device-id")
    }

    /// Returns the message source: `Telemetry`, or the source of a hub event.
    #[must_use]
    pub fn source(&self) -> &str {
        self.system("iothub-message-source")
    }

    /// Returns the body, which must be text.
    #[must_use]
    #[track_caller]
    pub fn body(&self) -> &str {
        self.0["body"].as_str().expect("a text")
    }

    /// Returns the body, which must be JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.body()).expect("JSON")
    }

    /// Returns the body.
    #[must_use]
    #[track_caller]
    pub fn bytes(&self) -> Vec<u8> {
        match &self.0["bodyBase64"] {
            Value::String(text) => STANDARD.decode(text).expect("base64"),
            _ => self.body().as_bytes().to_vec(),
        }
    }

    /// Returns the partition.
    #[must_use]
    #[track_caller]
    pub fn partition(&self) -> u64 {
        self.0["partition"].as_u64().expect("a number")
    }

    /// Returns the sequence number in the partition.
    #[must_use]
    #[track_caller]
    pub fn sequence(&self) -> u64 {
        self.0["sequenceNumber"].as_u64().expect("a number")
    }

    /// Returns the position after this event, for a reader that has read only this partition.
    #[must_use]
    pub fn position(&self) -> String {
        format!("{}:{}", self.partition(), self.0["offset"].as_str().unwrap_or_default())
    }
}

/// A reader of events with plain HTTPS requests.
pub struct Events<'a> {
    service: &'a Service,
    token: String,
}

impl<'a> Events<'a> {
    /// Creates a reader with the policy `service`.
    #[must_use]
    #[track_caller]
    pub fn new(hub: &Hub, service: &'a Service) -> Self {
        Self { service, token: sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING")) }
    }

    /// Returns the token of the reader.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Sends one request; `query` is the part after the question mark.
    #[must_use]
    #[track_caller]
    pub fn request(&self, query: &str) -> HttpResponse {
        self.service.http("GET", &format!("/messages/events?{query}"), Some(&self.token), None)
    }

    /// Returns the events of one response, which must have status 200.
    #[must_use]
    #[track_caller]
    pub fn get(&self, query: &str) -> Vec<Event> {
        let response = self.request(query);
        assert_eq!(response.status, 200, "{}", response.body);
        let lines = response.body.lines().filter(|line| !line.is_empty());
        lines.map(|line| Event(serde_json::from_str(line).expect("an event"))).collect()
    }

    /// Returns all stored events.
    #[must_use]
    #[track_caller]
    pub fn all(&self) -> Vec<Event> {
        self.get("position=start&wait=0")
    }

    /// Waits until `count` events match, and returns all that match.
    #[must_use]
    #[track_caller]
    pub fn wait_for(&self, count: usize, matches: impl Fn(&Event) -> bool) -> Vec<Event> {
        let begun = Instant::now();
        loop {
            let all = self.all();
            if all.iter().filter(|event| matches(event)).count() >= count {
                return all.into_iter().filter(|event| matches(event)).collect();
            }
            assert!(begun.elapsed() < LIMIT, "fewer than {count} matching events; all events: {all:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns the partitions and consumer groups of the log.
    #[must_use]
    #[track_caller]
    pub fn info(&self) -> Value {
        self.service.http("GET", "/messages/events/partitions", Some(&self.token), None).json()
    }
}
