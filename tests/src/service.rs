//! A back end on Microsoft's service client.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::certificate::CertificateFiles;
use crate::openapi::{self, Exchange};
use crate::script_process::{Failure, Pending, ScriptProcess};
use crate::{Hub, Identity, Script};

/// A method call with the fields of `CloudToDeviceMethod`.
#[derive(Debug, Clone)]
#[must_use]
pub struct Method(Value);

impl Method {
    /// Creates a call without payload, which the client sends as an empty string.
    pub fn new(name: &str) -> Self {
        Self(json!({ "method_name": name }))
    }

    /// Sets the payload.
    pub fn payload(self, payload: impl Into<Value>) -> Self {
        self.with("payload", payload.into())
    }

    /// `response_timeout_in_seconds`
    pub fn response_timeout(self, seconds: u64) -> Self {
        self.with("response_timeout_in_seconds", seconds.into())
    }

    /// `connect_timeout_in_seconds`
    pub fn connect_timeout(self, seconds: u64) -> Self {
        self.with("connect_timeout_in_seconds", seconds.into())
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.0[name] = value;
        self
    }
}

/// The response of the device.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodResult {
    /// Status from the device.
    pub status: i64,
    /// Payload from the device.
    pub payload: Value,
}

/// An HTTP response as `requests` received it.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// HTTP status.
    pub status: u16,
    /// Headers, with names in lower case.
    pub headers: Value,
    /// Body as text.
    pub body: String,
}

impl HttpResponse {
    fn from_value(value: &Value) -> Self {
        let status = value["status"].as_u64().unwrap_or_default();
        Self {
            status: u16::try_from(status).unwrap_or_default(),
            headers: value["headers"].clone(),
            body: value["body"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// Returns a header, or an empty string.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].as_str().unwrap_or_default()
    }

    /// Returns the error name from the header `iothub-errorcode`.
    #[must_use]
    pub fn error_code(&self) -> &str {
        self.header("iothub-errorcode")
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    /// If the body is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {:?}", self.body))
    }

    /// Returns the error in the body of the twin and method endpoints: JSON as a string inside JSON.
    ///
    /// # Panics
    /// If the body does not have this form.
    #[must_use]
    #[track_caller]
    pub fn nested_error(&self) -> Value {
        let outer = self.json();
        assert_eq!(outer["ExceptionMessage"], "", "{}", self.body);
        let inner = outer["Message"].as_str().unwrap_or_default();
        serde_json::from_str(inner)
            .unwrap_or_else(|error| panic!("`Message` is not JSON ({error}): {:?}", self.body))
    }
}

/// An exception of the client.
#[derive(Debug, Clone)]
pub struct ServiceException {
    /// Class of the exception.
    pub exception: String,
    /// Text of the exception.
    pub message: String,
    /// The HTTP response that caused it.
    pub http: HttpResponse,
}

impl From<Failure> for ServiceException {
    fn from(failure: Failure) -> Self {
        Self {
            exception: failure.exception,
            message: failure.message,
            http: HttpResponse::from_value(&failure.response.unwrap_or_default()),
        }
    }
}

/// A method call in flight.
#[must_use]
pub struct PendingMethodResult(Pending);

impl PendingMethodResult {
    /// Waits for the response.
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn wait(self) -> Result<MethodResult, ServiceException> {
        let result = self.0.wait()?;
        Ok(MethodResult {
            status: result["status"].as_i64().unwrap_or_default(),
            payload: result["payload"].clone(),
        })
    }

    /// Returns whether the call has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.is_done()
    }
}

/// A running back end.
pub struct Service {
    process: ScriptProcess,
    hub: String,
    url: String,
    /// Token of the policy, or empty.
    token: String,
}

impl Service {
    /// Starts a back end with the policy `iothubowner`, which has all rights.
    #[must_use]
    #[track_caller]
    pub fn owner(hub: &Hub) -> Self {
        Self::with_connection_string(hub, hub.variable("IOTHUB_CONNECTION_STRING"))
    }

    /// Starts a back end with the policy `service`, as in the tutorial.
    #[must_use]
    #[track_caller]
    pub fn with_service_policy(hub: &Hub) -> Self {
        Self::with_connection_string(hub, hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"))
    }

    /// Starts a back end with any connection string.
    #[must_use]
    #[track_caller]
    pub fn with_connection_string(hub: &Hub, connection_string: &str) -> Self {
        Self::start(hub, &json!({ "connection_string": connection_string }))
    }

    /// Starts a back end with the client secret of the hub's development issuer.
    #[must_use]
    #[track_caller]
    pub fn with_entra(hub: &Hub) -> Self {
        Self::start(hub, &entra(hub))
    }

    /// Starts a back end with the policy `iothubowner` and the client secret of the hub's development issuer, which records
    /// the methods of the client that are called. The operation `calls` returns them.
    #[must_use]
    #[track_caller]
    pub fn recording(hub: &Hub) -> Self {
        let mut config = entra(hub);
        config["connection_string"] = hub.variable("IOTHUB_CONNECTION_STRING").into();
        config["record_calls"] = true.into();
        Self::start(hub, &config)
    }

    /// Starts a back end that sends messages over AMQP and WebSocket: with the policy `service`, or with the client secret
    /// of the development issuer.
    #[must_use]
    #[track_caller]
    pub fn over_websocket(hub: &Hub, with_entra: bool) -> Self {
        let mut config = match with_entra {
            true => entra(hub),
            false => json!({ "connection_string": hub.variable("IOTHUB_SERVICE_CONNECTION_STRING") }),
        };
        config["transport"] = "amqp_ws".into();
        Self::start(hub, &config)
    }

    #[track_caller]
    fn start(hub: &Hub, config: &Value) -> Self {
        Self {
            process: ScriptProcess::start(Script::new(hub, "service.py").arg(config.to_string())),
            hub: hub.name().to_owned(),
            url: hub.url(),
            token: config["connection_string"].as_str().map(crate::sas::policy_token).unwrap_or_default(),
        }
    }

    /// Calls `create_device_with_sas` with keys that the hub generates.
    ///
    /// # Panics
    /// If the hub returns an error.
    #[must_use]
    #[track_caller]
    pub fn create_device(&self, device_id: &str) -> Identity {
        let document = self
            .call("create_device_with_sas", &json!({ "device_id": device_id }))
            .unwrap_or_else(|error| panic!("cannot create {device_id}: {error:?}"));
        Identity::from_document(&self.hub, document)
    }

    /// Calls `create_module_with_sas` with keys that the hub generates.
    ///
    /// # Panics
    /// If the hub returns an error.
    #[must_use]
    #[track_caller]
    pub fn create_module(&self, device_id: &str, module_id: &str) -> Identity {
        let document = self
            .call("create_module_with_sas", &json!({ "device_id": device_id, "module_id": module_id }))
            .unwrap_or_else(|error| panic!("cannot create {device_id}/{module_id}: {error:?}"));
        Identity::from_document(&self.hub, document)
    }

    /// Returns the token of the policy, or an empty string.
    #[must_use]
    pub fn authorization(&self) -> &str {
        &self.token
    }

    /// Runs an operation of `tests/python/service.py`.
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn call(&self, operation: &str, arguments: &Value) -> Result<Value, ServiceException> {
        Ok(self.process.call(operation, arguments)?)
    }

    /// Calls an operation that the hub must refuse. Returns the status and the error code.
    ///
    /// # Panics
    /// If the hub does not refuse it.
    #[track_caller]
    pub fn refusal(&self, operation: &str, arguments: &Value) -> (u16, String) {
        let refusal = self.call(operation, arguments).unwrap_err();
        (refusal.http.status, refusal.http.error_code().to_owned())
    }

    /// Starts an operation of `tests/python/service.py` in the background.
    #[track_caller]
    pub fn begin(&self, operation: &str, arguments: &Value) -> Pending {
        self.process.begin(operation, arguments)
    }

    /// Sends a message to a device, or to `device/modules/module`, over HTTPS; `headers` are the message properties.
    ///
    /// # Panics
    /// If the hub returns an error.
    #[track_caller]
    pub fn send(&self, to: &str, headers: Value, body: &[u8]) -> Value {
        let address = format!("/devices/{to}/messages/deviceBound");
        let response = self.try_send(&address, headers, body);
        assert_eq!(response.status, 200, "{}", response.body);
        response.json()
    }

    /// Sends a message to any address and returns the response, also if it is an error.
    #[must_use]
    #[track_caller]
    pub fn try_send(&self, address: &str, mut headers: Value, body: &[u8]) -> HttpResponse {
        headers["iothub-to"] = address.into();
        headers["Authorization"] = self.token.clone().into();
        self.request("POST", "/messages/deviceBound?api-version=2021-04-12", &headers, body, None)
    }

    /// Calls `invoke_device_method` and waits for the response.
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn invoke(&self, device_id: &str, method: Method) -> Result<MethodResult, ServiceException> {
        self.begin_invoke(device_id, method).wait()
    }

    /// Calls `invoke_device_method` in the background.
    #[track_caller]
    pub fn begin_invoke(&self, device_id: &str, method: Method) -> PendingMethodResult {
        let mut arguments = method.0;
        arguments["device_id"] = device_id.into();
        PendingMethodResult(self.process.begin("invoke", &arguments))
    }

    /// Sends a plain HTTP request; `path` starts with a slash.
    #[must_use]
    #[track_caller]
    pub fn http(
        &self,
        verb: &str,
        path: &str,
        authorization: Option<&str>,
        body: Option<&str>,
    ) -> HttpResponse {
        let mut headers = json!({});
        if let Some(authorization) = authorization {
            headers["Authorization"] = authorization.into();
        }
        self.http_with(verb, path, headers, body)
    }

    /// Sends a plain HTTP request with any headers, given as a JSON object.
    #[must_use]
    #[track_caller]
    pub fn http_with(&self, verb: &str, path: &str, mut headers: Value, body: Option<&str>) -> HttpResponse {
        if body.is_some() && headers["Content-Type"].is_null() {
            headers["Content-Type"] = "application/json; charset=utf-8".into();
        }
        self.request(verb, path, &headers, body.unwrap_or_default().as_bytes(), None)
    }

    /// Sends a plain HTTP request with a client certificate instead of a token.
    #[must_use]
    #[track_caller]
    pub fn http_with_certificate(
        &self,
        verb: &str,
        path: &str,
        certificate: &CertificateFiles,
        body: Option<&str>,
    ) -> HttpResponse {
        self.request(verb, path, &json!({}), body.unwrap_or_default().as_bytes(), Some(certificate))
    }

    /// Sends a request, and compares both bodies with the description of the API.
    #[track_caller]
    fn request(
        &self,
        verb: &str,
        path: &str,
        headers: &Value,
        body: &[u8],
        certificate: Option<&CertificateFiles>,
    ) -> HttpResponse {
        let request = json!({
            "method": verb,
            "url": format!("{}{path}", self.url),
            "headers": headers,
            "body_base64": base64::engine::general_purpose::STANDARD.encode(body),
            "certificate": certificate.map(|files| [&files.certificate, &files.key]),
        });
        let response = self.process.call("http", &request).expect("the program sends the request");
        let response = HttpResponse::from_value(&response);
        let exchange = Exchange {
            verb,
            path,
            sent_type: headers["Content-Type"].as_str().unwrap_or_default(),
            sent: body,
            status: response.status,
            received_type: response.header("content-type"),
            received: &response.body,
            has_retry_after: !response.header("retry-after").is_empty(),
        };
        if let Err(mismatch) = openapi::check(&exchange) {
            panic!(
                "{verb} {path} is not as tests/golden/openapi.json describes it: {mismatch}: {}",
                response.body
            );
        }
        response
    }
}

/// What the client secret of the hub's development issuer needs.
fn entra(hub: &Hub) -> Value {
    json!({ "entra": {
        "host": hub.name(),
        "tenant_id": hub.variable("AZURE_TENANT_ID"),
        "client_id": hub.variable("AZURE_CLIENT_ID"),
        "client_secret": hub.variable("AZURE_CLIENT_SECRET"),
        "authority": hub.variable("AZURE_AUTHORITY_HOST"),
    }})
}
