//! A device that receives messages with plain HTTPS requests.

use serde_json::{Value, json};

use crate::{HttpResponse, Identity, Service};

/// A device or module, and the program that sends its requests.
pub struct HttpsDevice<'a> {
    service: &'a Service,
    path: String,
    token: String,
}

impl<'a> HttpsDevice<'a> {
    /// Creates a device with a token of its primary key.
    #[must_use]
    pub fn new(service: &'a Service, identity: &Identity) -> Self {
        let module =
            identity.module_id.as_ref().map(|module| format!("/modules/{module}")).unwrap_or_default();
        let path = format!("/devices/{}{module}/messages/deviceBound", identity.device_id);
        Self { service, path, token: identity.token() }
    }

    /// Sends one request to a path below the device's queue.
    #[must_use]
    #[track_caller]
    pub fn request(&self, verb: &str, rest: &str) -> HttpResponse {
        let query = if rest.contains('?') { "&" } else { "?" };
        let path = format!("{}{rest}{query}api-version=2020-03-13", self.path);
        self.service.http_with(verb, &path, json!({ "Authorization": self.token }), None)
    }

    /// Receives the next message: its lock token and the response. `None` if the queue is empty.
    #[must_use]
    #[track_caller]
    pub fn receive(&self) -> Option<(String, HttpResponse)> {
        let response = self.request("GET", "");
        if response.status == 204 {
            return None;
        }
        assert_eq!(response.status, 200, "{}", response.body);
        Some((response.header("etag").trim_matches('"').to_owned(), response))
    }

    /// Receives and completes the next message and returns its body. `None` if the queue is empty.
    #[must_use]
    #[track_caller]
    pub fn take(&self) -> Option<String> {
        let (token, response) = self.receive()?;
        assert_eq!(self.complete(&token).status, 204);
        Some(response.body)
    }

    /// Completes the message.
    #[must_use]
    #[track_caller]
    pub fn complete(&self, token: &str) -> HttpResponse {
        self.request("DELETE", &format!("/{token}"))
    }

    /// Rejects the message.
    #[must_use]
    #[track_caller]
    pub fn reject(&self, token: &str) -> HttpResponse {
        self.request("DELETE", &format!("/{token}?reject"))
    }

    /// Abandons the message.
    #[must_use]
    #[track_caller]
    pub fn abandon(&self, token: &str) -> HttpResponse {
        self.request("POST", &format!("/{token}/abandon"))
    }
}

impl Service {
    /// Receives a feedback batch: its lock token and its records. `None` if there is none yet.
    #[must_use]
    #[track_caller]
    pub fn receive_feedback(&self) -> Option<(String, Vec<Value>)> {
        let batch = self.call("receive_feedback", &json!({})).expect("the request succeeds");
        let token = batch["lock_token"].as_str()?.to_owned();
        assert_eq!(batch["content_type"], "application/vnd.microsoft.iothub.feedback.json");
        Some((token, batch["records"].as_array().expect("a list").clone()))
    }
}
