//! Method calls, both ways.

use std::future::Future;

use hyper::HeaderMap;

use super::DeviceClient;
use crate::error::Error;
use crate::feature::Feature;
use crate::https;
use crate::method::{
    MethodInvocation, MethodRequest, MethodRequestStream, MethodResponse, MethodResponseBody, MethodTarget,
    handler,
};

impl DeviceClient {
    /// Answers calls of the method `name` with this function, in place of an earlier one. With the first handler the
    /// hub is told that the device takes calls; until then it tells callers that the device is not online.
    ///
    /// Each call runs in a task of its own, up to [`max_concurrent_methods`](crate::Builder::max_concurrent_methods) at
    /// once; a handler that blocks belongs into [`spawn_blocking`](tokio::task::spawn_blocking). One that panics is
    /// answered with status 500, and harms nothing else.
    ///
    /// ```no_run
    /// # use ferrohub_device::{DeviceClient, Error, MethodRequest, MethodResponse};
    /// # fn example(client: DeviceClient) {
    /// client.on_method("add", |request: MethodRequest| async move {
    ///     let (a, b): (i64, i64) = request.payload_as()?; // Otherwise: status 400.
    ///     Ok::<_, Error>(MethodResponse::new(200).payload(&(a + b)))
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

    /// Forgets the handler of a method; false if there was none.
    pub fn remove_method(&self, name: &str) -> bool {
        self.inner.shared.handlers.remove(name)
    }

    /// Answers calls of all other methods with this function. Without it they are answered with status 404 and
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

    /// The calls of methods without a handler of their own, as a stream. While there is one, the handler for unhandled
    /// methods is not called. A second stream ends the first.
    ///
    /// A call counts against [`max_concurrent_methods`](crate::Builder::max_concurrent_methods) until its request is
    /// dropped.
    #[must_use]
    pub fn method_requests(&self) -> MethodRequestStream {
        let requests =
            self.inner.shared.handlers.open_stream(self.inner.shared.config.max_concurrent_methods);
        self.inner.shared.use_feature(Feature::Methods);
        requests
    }

    /// Answers a call from [`method_requests`](Self::method_requests), and returns once the hub has the answer.
    ///
    /// # Errors
    /// As [`MethodRequest::respond`].
    pub async fn respond(&self, request: MethodRequest, response: MethodResponse) -> Result<(), Error> {
        request.respond(response).await
    }

    /// Calls a method of another device, or of a module, as modules on edge devices do. Goes over HTTPS: the client
    /// need not be connected.
    ///
    /// ```no_run
    /// # use ferrohub_device::{DeviceClient, Error, MethodInvocation};
    /// # async fn example(module: DeviceClient) -> Result<(), Error> {
    /// let call = MethodInvocation::new("close").payload(&serde_json::json!({ "valve": 3 }))?;
    /// let response = module.invoke_method(("pump-1", "valves"), &call).await?;
    /// println!("{}: {}", response.status(), response.payload_text());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the device is not online;
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if it did not answer;
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is no such device;
    /// [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized) if this client may not call it. What the device
    /// answered is no error, whatever its status.
    pub async fn invoke_method<'a>(
        &self,
        target: impl Into<MethodTarget<'a>>,
        call: &MethodInvocation,
    ) -> Result<MethodResponse, Error> {
        let config = &self.inner.shared.config;
        let path = target.into().path()?;
        let mut headers = HeaderMap::new();
        if config.identity.module_str().is_some() {
            headers.insert(
                https::header_name("x-ms-edge-moduleid"),
                https::header_value(config.identity.as_str())?,
            );
        }
        let timeout = call.total_timeout() + config.request_timeout;
        let answer = config.post(&path, call, headers, timeout).await?;
        answer.success("the method was not called")?.json::<MethodResponseBody>()?.into_response()
    }
}
