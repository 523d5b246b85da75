//! A device that receives messages over HTTPS, with requests of the test's own making.

use serde_json::{Value, json};

use crate::{HttpResponse, Identity, Service};

/// A device or module, and whoever makes its requests.
pub struct HttpsDevice<'a> {
    service: &'a Service,
    path: String,
    token: String,
}

impl<'a> HttpsDevice<'a> {
    /// With a token of its primary key.
    #[must_use]
    pub fn new(service: &'a Service, identity: &Identity) -> Self {
        let module =
            identity.module_id.as_ref().map(|module| format!("/modules/{module}")).unwrap_or_default();
        let path = format!("/devices/{}{module}/messages/deviceBound", identity.device_id);
        Self { service, path, token: identity.token() }
    }

    /// One request below its queue.
    #[must_use]
    #[track_caller]
    pub fn request(&self, verb: &str, rest: &str) -> HttpResponse {
        let query = if rest.contains('?') { "&" } else { "?" };
        let path = format!("{}{rest}{query}api-version=2020-03-13", self.path);
        self.service.http_with(verb, &path, json!({ "Authorization": self.token }), None)
    }

    /// The next message: its lock token and the answer. `None` if there is none.
    #[must_use]
    #[track_caller]
    pub fn receive(&self) -> Option<(String, HttpResponse)> {
        let answer = self.request("GET", "");
        if answer.status == 204 {
            return None;
        }
        assert_eq!(answer.status, 200, "{}", answer.body);
        Some((answer.header("etag").trim_matches('"').to_owned(), answer))
    }

    /// The body of the next message, completed; `None` if there is none.
    #[must_use]
    #[track_caller]
    pub fn take(&self) -> Option<String> {
        let (token, answer) = self.receive()?;
        assert_eq!(self.complete(&token).status, 204);
        Some(answer.body)
    }

    /// Is done with it.
    #[must_use]
    #[track_caller]
    pub fn complete(&self, token: &str) -> HttpResponse {
        self.request("DELETE", &format!("/{token}"))
    }

    /// Does not want it.
    #[must_use]
    #[track_caller]
    pub fn reject(&self, token: &str) -> HttpResponse {
        self.request("DELETE", &format!("/{token}?reject"))
    }

    /// Gives it back.
    #[must_use]
    #[track_caller]
    pub fn abandon(&self, token: &str) -> HttpResponse {
        self.request("POST", &format!("/{token}/abandon"))
    }
}

impl Service {
    /// A batch of feedback: its lock token and its records. `None` if there is none yet.
    #[must_use]
    #[track_caller]
    pub fn receive_feedback(&self) -> Option<(String, Vec<Value>)> {
        let batch = self.call("receive_feedback", &json!({})).expect("an answer");
        let token = batch["lock_token"].as_str()?.to_owned();
        assert_eq!(batch["content_type"], "application/vnd.microsoft.iothub.feedback.json");
        Some((token, batch["records"].as_array().expect("a list").clone()))
    }
}
