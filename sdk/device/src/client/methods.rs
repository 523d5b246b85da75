//! Method calls to and from the device.

use std::future::Future;

use ferrohub_model::IdentityId;
use hyper::HeaderMap;

use super::DeviceClient;
use crate::error::Error;
use crate::feature::Feature;
use crate::https;
use crate::methods::{
    self, MethodInvocation, MethodRequest, MethodRequestStream, MethodResponse, MethodResponseBody, handler,
};

impl DeviceClient {
    /// Sets the handler for calls of the method `name`, and replaces an earlier one. The first handler subscribes the
    /// device to method calls; until then the hub reports to callers that the device is not online.
    ///
    /// Each call runs in its own task, up to [`max_concurrent_methods`](crate::Builder::max_concurrent_methods) at
    /// once. Use [`spawn_blocking`](tokio::task::spawn_blocking) in a handler that blocks. If a handler panics, the
    /// call gets a response with status 500.
    ///
    /// ```no_run
    /// # use ferrohub_device::{DeviceClient, Error, MethodRequest, MethodResponse};
    /// # fn example(client: DeviceClient) {
    /// client.on_method("add", |request: MethodRequest| async move {
    ///     let (a, b): (i64, i64) = request.payload_as()?; // Otherwise: status 400.
    ///     MethodResponse::new(200).payload(&(a + b))
    /// });
    /// # }
    /// ```
    pub fn on_method<F, Fut>(&self, name: impl Into<String>, function: F)
    where
        F: Fn(MethodRequest) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<MethodResponse>,
    {
        self.inner.shared.handlers.insert(name.into(), handler(function));
        self.inner.shared.use_feature(Feature::Methods);
    }

    /// Removes the handler of a method. Returns false if there was none.
    pub fn remove_method(&self, name: &str) -> bool {
        self.inner.shared.handlers.remove(name)
    }

    /// Sets the handler for calls of all other methods. Without it they get a response with status 404 and
    /// `{"error":"MethodNotFound","message":…}`.
    pub fn on_unhandled_method<F, Fut>(&self, function: F)
    where
        F: Fn(MethodRequest) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<MethodResponse>,
    {
        self.inner.shared.handlers.set_unhandled(handler(function));
        self.inner.shared.use_feature(Feature::Methods);
    }

    /// Returns a stream of the calls of methods without a handler. While it is open, the handler for unhandled methods
    /// is not called. A second stream ends the first.
    ///
    /// A call counts towards [`max_concurrent_methods`](crate::Builder::max_concurrent_methods) until its request is
    /// dropped.
    #[must_use]
    pub fn method_requests(&self) -> MethodRequestStream {
        let requests =
            self.inner.shared.handlers.open_stream(self.inner.shared.config.max_concurrent_methods);
        self.inner.shared.use_feature(Feature::Methods);
        requests
    }

    /// Responds to a call from [`method_requests`](Self::method_requests), and returns when the hub has acknowledged
    /// the response.
    ///
    /// # Errors
    /// As [`MethodRequest::respond`].
    pub async fn respond(
        &self,
        request: MethodRequest,
        response: impl Into<MethodResponse>,
    ) -> Result<(), Error> {
        request.respond(response).await
    }

    /// Calls a method of another device or module, as modules on edge devices do. Uses HTTPS: the client does not have
    /// to be connected.
    ///
    /// ```no_run
    /// # use ferrohub_device::{DeviceClient, Error, MethodInvocation};
    /// # async fn example(module: DeviceClient) -> Result<(), Error> {
    /// let invocation = MethodInvocation::new("close").payload(&serde_json::json!({ "valve": 3 }))?;
    /// let response = module.invoke_method(("pump-1", "valves"), &invocation).await?;
    /// println!("{}: {}", response.status(), response.payload_text());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::DeviceNotOnline`](crate::ErrorKind::DeviceNotOnline);
    /// [`ErrorKind::DeviceTimeout`](crate::ErrorKind::DeviceTimeout) if the device did not respond in time;
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the device is not registered;
    /// [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized) if this client may not call it; and those of any
    /// request. A response of the device is never an error, even with an error status.
    pub async fn invoke_method(
        &self,
        identity: impl TryInto<IdentityId, Error: Into<Error>>,
        invocation: &MethodInvocation,
    ) -> Result<MethodResponse, Error> {
        let config = &self.inner.shared.config;
        let path = methods::path(&identity.try_into().map_err(Into::into)?);
        let mut headers = HeaderMap::new();
        if config.identity.module_str().is_some() {
            let id = https::header_value(config.identity.as_str())?;
            headers.insert(https::header_name("x-ms-edge-moduleid"), id);
        }
        let timeout = invocation.body().total_timeout().saturating_add(config.request_timeout);
        let response = config.post(&path, invocation.body(), headers, timeout).await?;
        response.success("the method was not called")?.json::<MethodResponseBody>()?.into_response()
    }
}
