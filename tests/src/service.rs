//! A back end on Microsoft's service client.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::certificate::CertificateFiles;
use crate::script_process::{Failure, Pending, ScriptProcess};
use crate::{Hub, Identity, Script};

/// A method call, as `CloudToDeviceMethod` takes it.
#[derive(Debug, Clone)]
#[must_use]
pub struct Method(Value);

impl Method {
    /// A call without payload; the client makes an empty string of that.
    pub fn new(name: &str) -> Self {
        Self(json!({ "method_name": name }))
    }

    /// The payload.
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

/// What the device answered.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodResult {
    /// The device's own status.
    pub status: i64,
    /// The device's own payload.
    pub payload: Value,
}

/// An HTTP answer, as `requests` saw it.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Value,
    /// As text.
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

    /// A header, or an empty text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].as_str().unwrap_or_default()
    }

    /// The name of the error, as the header `iothub-errorcode` carries it.
    #[must_use]
    pub fn error_code(&self) -> &str {
        self.header("iothub-errorcode")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {:?}", self.body))
    }

    /// The error in the body of the twin and method endpoints: JSON as text inside JSON.
    ///
    /// # Panics
    /// When the body is not of that shape.
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

/// What the client raised instead of returning.
#[derive(Debug, Clone)]
pub struct ServiceException {
    /// The exception's class.
    pub exception: String,
    /// Its text.
    pub message: String,
    /// The HTTP answer behind it.
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

/// A call that is under way.
#[must_use]
pub struct PendingMethodResult(Pending);

impl PendingMethodResult {
    /// Waits for the answer.
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn wait(self) -> Result<MethodResult, ServiceException> {
        let answer = self.0.wait()?;
        Ok(MethodResult {
            status: answer["status"].as_i64().unwrap_or_default(),
            payload: answer["payload"].clone(),
        })
    }

    /// Whether it is there.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.is_done()
    }
}

/// A back end that runs.
pub struct Service {
    process: ScriptProcess,
    hub: String,
    url: String,
    /// Of the policy that it uses, or empty.
    token: String,
}

impl Service {
    /// With the policy `iothubowner`, which may do everything.
    #[must_use]
    #[track_caller]
    pub fn owner(hub: &Hub) -> Self {
        Self::with_connection_string(hub, hub.variable("IOTHUB_CONNECTION_STRING"))
    }

    /// With the policy `service`, as the tutorial wants it.
    #[must_use]
    #[track_caller]
    pub fn with_service_policy(hub: &Hub) -> Self {
        Self::with_connection_string(hub, hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"))
    }

    /// With any connection string.
    #[must_use]
    #[track_caller]
    pub fn with_connection_string(hub: &Hub, connection_string: &str) -> Self {
        Self::start(hub, &json!({ "connection_string": connection_string }))
    }

    /// With the client secret of the hub's development issuer.
    #[must_use]
    #[track_caller]
    pub fn with_entra(hub: &Hub) -> Self {
        let entra = json!({ "entra": {
            "host": hub.name(),
            "tenant_id": hub.variable("AZURE_TENANT_ID"),
            "client_id": hub.variable("AZURE_CLIENT_ID"),
            "client_secret": hub.variable("AZURE_CLIENT_SECRET"),
            "authority": hub.variable("AZURE_AUTHORITY_HOST"),
        }});
        Self::start(hub, &entra)
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

    /// `create_device_with_sas` with keys that the hub makes.
    ///
    /// # Panics
    /// When the hub refuses.
    #[must_use]
    #[track_caller]
    pub fn create_device(&self, device_id: &str) -> Identity {
        let document = self
            .call("create_device_with_sas", &json!({ "device_id": device_id }))
            .unwrap_or_else(|refusal| panic!("cannot create {device_id}: {refusal:?}"));
        Identity::from_document(&self.hub, document)
    }

    /// `create_module_with_sas` with keys that the hub makes.
    ///
    /// # Panics
    /// When the hub refuses.
    #[must_use]
    #[track_caller]
    pub fn create_module(&self, device_id: &str, module_id: &str) -> Identity {
        let document = self
            .call("create_module_with_sas", &json!({ "device_id": device_id, "module_id": module_id }))
            .unwrap_or_else(|refusal| panic!("cannot create {device_id}/{module_id}: {refusal:?}"));
        Identity::from_document(&self.hub, document)
    }

    /// Any operation of `tests/python/service.py`.
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn call(&self, operation: &str, arguments: &Value) -> Result<Value, ServiceException> {
        Ok(self.process.call(operation, arguments)?)
    }

    /// Any operation of `tests/python/service.py`, in the background.
    #[track_caller]
    pub fn begin(&self, operation: &str, arguments: &Value) -> Pending {
        self.process.begin(operation, arguments)
    }

    /// Sends a message to a device, or to `device/modules/module`, over HTTPS; `headers` are what it says about itself.
    ///
    /// # Panics
    /// When the hub refuses.
    #[track_caller]
    pub fn send(&self, to: &str, headers: Value, body: &[u8]) -> Value {
        let address = format!("/devices/{to}/messages/deviceBound");
        let answer = self.try_send(&address, headers, body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    /// The same to any address, whatever comes of it.
    #[must_use]
    #[track_caller]
    pub fn try_send(&self, address: &str, mut headers: Value, body: &[u8]) -> HttpResponse {
        headers["iothub-to"] = address.into();
        headers["Authorization"] = self.token.clone().into();
        let request = json!({
            "method": "POST",
            "url": format!("{}/messages/deviceBound?api-version=2021-04-12", self.url),
            "headers": headers,
            "body_base64": base64::engine::general_purpose::STANDARD.encode(body),
        });
        HttpResponse::from_value(&self.process.call("http", &request).expect("an HTTP answer"))
    }

    /// `invoke_device_method`, waiting for the answer.
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn invoke(&self, device_id: &str, method: Method) -> Result<MethodResult, ServiceException> {
        self.begin_invoke(device_id, method).wait()
    }

    /// `invoke_device_method`, in the background.
    #[track_caller]
    pub fn begin_invoke(&self, device_id: &str, method: Method) -> PendingMethodResult {
        let mut arguments = method.0;
        arguments["device_id"] = device_id.into();
        PendingMethodResult(self.process.begin("invoke", &arguments))
    }

    /// One HTTP request of the test's own making; `path` starts with a slash.
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

    /// The same with any headers, a JSON object.
    #[must_use]
    #[track_caller]
    pub fn http_with(&self, verb: &str, path: &str, mut headers: Value, body: Option<&str>) -> HttpResponse {
        if body.is_some() && headers["Content-Type"].is_null() {
            headers["Content-Type"] = "application/json; charset=utf-8".into();
        }
        self.request(verb, path, &headers, body, None)
    }

    /// The same with a client certificate instead of a token.
    #[must_use]
    #[track_caller]
    pub fn http_with_certificate(
        &self,
        verb: &str,
        path: &str,
        certificate: &CertificateFiles,
        body: Option<&str>,
    ) -> HttpResponse {
        self.request(verb, path, &json!({}), body, Some(certificate))
    }

    #[track_caller]
    fn request(
        &self,
        verb: &str,
        path: &str,
        headers: &Value,
        body: Option<&str>,
        certificate: Option<&CertificateFiles>,
    ) -> HttpResponse {
        let request = json!({
            "method": verb,
            "url": format!("{}{path}", self.url),
            "headers": headers,
            "body": body,
            "certificate": certificate.map(|files| [&files.certificate, &files.key]),
        });
        let answer = self.process.call("http", &request).expect("an HTTP answer");
        HttpResponse::from_value(&answer)
    }
}
