//! The handle that applications hold.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::builder::Builder;
use crate::config::Config;
use crate::driver::{Command, Driver, Shared};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::feature::Feature;
use crate::https;
use crate::message::Messages;
use crate::method::{
    Answered, MethodCall, MethodRequest, MethodRequests, MethodResponse, MethodTarget, handler,
};
use crate::outbox::Outgoing;
use crate::status::{DisconnectReason, Status, StatusWatch};
use crate::twin::{Asker, DesiredUpdates, Twin, TwinAnswer, TwinAsk, TwinRequest};
use crate::upload::{FileUpload, UploadedFile};
use hyper::HeaderMap;

/// How many events `send_events` follows at once.
const MAX_UNDER_WAY: usize = 1024;

/// A device, or a module of one, at its hub. Cheap to clone; all clones are the same client.
///
/// [`connect`](Self::connect) starts one background task, which sends and receives, renews tokens and comes back after a
/// loss until [`disconnect`](Self::disconnect), or until the last clone is dropped – a handler that holds a clone
/// keeps it alive.
#[derive(Clone)]
pub struct DeviceClient {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    task: Mutex<Option<Task>>,
}

/// The background task, seen from outside. Its channel is closed when it has ended.
#[derive(Clone)]
struct Task {
    commands: mpsc::Sender<Command>,
    leaving: Arc<AtomicBool>,
}

impl DeviceClient {
    /// A client from `HostName=…;DeviceId=…;SharedAccessKey=…`, as portals and command lines hand it out; also with
    /// `ModuleId`, `GatewayHostName`, or `SharedAccessSignature` in place of the key.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn from_connection_string(text: &str) -> Result<Self, Error> {
        Self::builder_from_connection_string(text)?.build()
    }

    /// A builder that begins with a connection string; `x509=true` is understood, and the certificate comes with
    /// [`Builder::x509`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument), without repeating a secret.
    pub fn builder_from_connection_string(text: &str) -> Result<Builder, Error> {
        Builder::from_connection_string(text)
    }

    /// A builder for a device of the hub `host`, which may have a port.
    #[must_use]
    pub fn builder(host: &str, device_id: &str) -> Builder {
        Builder::new(host, device_id)
    }

    pub(crate) fn new(config: Config) -> Self {
        Self { inner: Arc::new(Inner { shared: Arc::new(Shared::new(config)), task: Mutex::new(None) }) }
    }

    /// Connects, and returns once the hub knows what the device listens to: with a handler registered, it can be called. Does nothing on a client that is connected; waits with one
    /// that is coming back.
    ///
    /// Dropping the future does not stop the attempt; [`disconnect`](Self::disconnect) does.
    ///
    /// # Errors
    /// What the first attempt met; it is not repeated. [`ErrorKind::Closed`](crate::ErrorKind::Closed) if it was
    /// stopped by `disconnect`.
    pub async fn connect(&self) -> Result<(), Error> {
        let (mut status, begun) = loop {
            match self.start() {
                Ok(started) => break started,
                Err(leaving) => leaving.closed().await,
            }
        };
        let settled = |status: &Status| match status {
            Status::Connected | Status::Disconnected { .. } => true,
            // The first attempt was not in vain, or it would be the end: the connection has been lost since.
            Status::Waiting { .. } => begun,
            Status::Connecting => false,
        };
        match status.wait_for(settled).await {
            Some(Status::Connected | Status::Waiting { .. }) => Ok(()),
            Some(Status::Disconnected { reason: DisconnectReason::Failed(error) }) => Err(error),
            _ => Err(Error::closed()),
        }
    }

    /// Makes sure that the task runs, and tells whether it did not before. Where one is about to end, gives the channel
    /// that closes when it has.
    fn start(&self) -> Result<(StatusWatch, bool), mpsc::Sender<Command>> {
        let mut slot = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(task) if task.commands.is_closed() => {}
            Some(task) if task.leaving.load(Ordering::Relaxed) => return Err(task.commands.clone()),
            Some(_) => return Ok((self.status(), false)),
            None => {}
        }
        let (commands, receiver) = mpsc::channel(1);
        // Before anybody can look: the last task left another status.
        self.inner.shared.status.send_replace(Status::Connecting);
        self.inner.shared.open();
        tokio::spawn(Driver::new(self.inner.shared.clone(), receiver).run());
        *slot = Some(Task { commands, leaving: Arc::default() });
        Ok((self.status(), true))
    }

    /// Disconnects in good order: takes no more calls, lets handlers finish and events and requests be acknowledged for the
    /// builder's [`grace`](Builder::grace), sends answers, says goodbye. Returns when all this is done. A handler that
    /// takes longer is not stopped, but its answer goes nowhere; who waits for an acknowledgement is told
    /// [`ErrorKind::Closed`].
    ///
    /// The client can be connected again.
    pub async fn disconnect(&self) {
        let task = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            if !task.leaving.swap(true, Ordering::Relaxed) {
                // It fails only when the task has ended by itself.
                let _ = task.commands.send(Command::Disconnect).await;
            }
            task.commands.closed().await;
        }
    }

    /// Answers calls of the method `name` with this function, in place of an earlier one. With the first handler the hub
    /// is told that the device takes calls; until then it tells callers that the device is not online.
    ///
    /// Each call runs in a task of its own, up to [`max_concurrent_methods`](Builder::max_concurrent_methods) at once; a
    /// handler that blocks belongs into [`spawn_blocking`](tokio::task::spawn_blocking). One that panics is answered
    /// with status 500, and harms nothing else.
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
        self.inner.shared.uses(Feature::Methods);
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
        self.inner.shared.uses(Feature::Methods);
    }

    /// The calls of methods without a handler of their own, as a stream. While there is one, the handler for unhandled
    /// methods is not called. A second stream ends the first.
    ///
    /// A call counts against [`max_concurrent_methods`](Builder::max_concurrent_methods) until its request is dropped.
    #[must_use]
    pub fn method_requests(&self) -> MethodRequests {
        let requests =
            self.inner.shared.handlers.open_stream(self.inner.shared.config.max_concurrent_methods);
        self.inner.shared.uses(Feature::Methods);
        requests
    }

    /// Answers a call from [`method_requests`](Self::method_requests), and returns once the hub has the answer.
    ///
    /// # Errors
    /// As [`MethodRequest::respond`].
    pub async fn respond(&self, request: MethodRequest, response: MethodResponse) -> Result<(), Error> {
        request.respond(response).await
    }

    /// Sends an event, and returns once the hub has it; one that is sent [at most once](Event::at_most_once), once it is
    /// on its way.
    ///
    /// Events are sent in the order in which this is called. What happens without a connection says
    /// [`Builder::offline`]; by default they wait. As soon as the future is polled, the event is in the queue: dropping
    /// the future gives up the wait and not the event.
    ///
    /// ```no_run
    /// # use ferrohub_device::{DeviceClient, Error, Event};
    /// # async fn example(client: DeviceClient) -> Result<(), Error> {
    /// client.send_event(Event::json(&serde_json::json!({ "temperature": 24.5 }))?).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPayload`] if it is too large, [`ErrorKind::InvalidArgument`] for a property that cannot be
    /// sent. [`ErrorKind::QueueFull`]. [`ErrorKind::Rejected`] if the hub closed the connection ten times in a row because
    /// of the event, as it seems: MQTT has no other way to say no. With [`OfflinePolicy::Fail`](crate::OfflinePolicy::Fail):
    /// [`ErrorKind::Offline`], or [`ErrorKind::Network`] if it is not known whether the hub has it. If the client ends
    /// first: why it ended, [`ErrorKind::Closed`] after [`disconnect`](Self::disconnect).
    pub async fn send_event(&self, event: Event) -> Result<(), Error> {
        delivery(self.queue(event)?).await
    }

    /// Sends events without waiting for each, and returns once the hub has all of them. When the queue is full of them,
    /// the next waits for room.
    ///
    /// # Errors
    /// As [`send_event`](Self::send_event), for the first that fails. Those before it were sent, those behind it may
    /// have been.
    pub async fn send_events(&self, events: impl IntoIterator<Item = Event>) -> Result<(), Error> {
        let mut under_way = VecDeque::new();
        for event in events {
            if under_way.len() >= MAX_UNDER_WAY
                && let Some(oldest) = under_way.pop_front()
            {
                delivery(oldest).await?;
            }
            loop {
                match self.queue(event.clone()) {
                    Ok(sent) => {
                        under_way.push_back(sent);
                        break;
                    }
                    Err(error) if error.kind() == ErrorKind::QueueFull => match under_way.pop_front() {
                        Some(oldest) => delivery(oldest).await?,
                        None => return Err(error),
                    },
                    Err(error) => return Err(error),
                }
            }
        }
        for sent in under_way {
            delivery(sent).await?;
        }
        Ok(())
    }

    fn queue(&self, event: Event) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let shared = &self.inner.shared;
        let (topic, qos, body) = event.into_publish(&shared.config.identity)?;
        let (delivered, sent) = oneshot::channel();
        shared.outbox.push(Outgoing { topic, qos, body, delivered })?;
        shared.wake.notify_one();
        Ok(sent)
    }

    /// Reads the device's twin.
    ///
    /// Waits for a connection that is coming back, up to the builder's
    /// [`request_timeout`](Builder::request_timeout) in all.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`]; [`ErrorKind::Unavailable`] if the hub is too busy; [`ErrorKind::Closed`] if the client is
    /// not connected; [`ErrorKind::QueueFull`] if too many requests wait.
    pub async fn twin(&self) -> Result<Twin, Error> {
        Twin::read(&self.ask_twin(TwinAsk::Get).await?.payload)
    }

    /// Changes what the device reports, by the rules of a JSON merge patch (RFC 7396): a `null` removes a property.
    /// Returns the new version of the reported section.
    ///
    /// Waits like [`twin`](Self::twin). When the connection is lost before the hub answered, the change is sent again;
    /// changes keep their order. A change that was sent is not taken back by dropping the future.
    ///
    /// ```no_run
    /// # use ferrohub_device::{DeviceClient, Error};
    /// # async fn example(client: DeviceClient) -> Result<(), Error> {
    /// let version = client.patch_reported(&serde_json::json!({ "firmware": "1.4", "fault": null })).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPayload`] if it is not a JSON object, or breaks the hub's rules; else as [`twin`](Self::twin).
    pub async fn patch_reported<T: Serialize + ?Sized>(&self, patch: &T) -> Result<u64, Error> {
        self.report(patch, None).await
    }

    /// Changes what the device reports, if its version is still the one that was read.
    ///
    /// # Errors
    /// [`ErrorKind::PreconditionFailed`] if it is another. [`ErrorKind::Network`] if the connection was lost before the
    /// hub answered: it may have made the change. Else as [`patch_reported`](Self::patch_reported).
    pub async fn patch_reported_if_version<T: Serialize + ?Sized>(
        &self,
        patch: &T,
        version: u64,
    ) -> Result<u64, Error> {
        self.report(patch, Some(version)).await
    }

    async fn report<T: Serialize + ?Sized>(&self, patch: &T, if_version: Option<u64>) -> Result<u64, Error> {
        let patch = serde_json::to_vec(patch).map_err(|error| {
            let message = format!("the patch cannot be written as JSON: {error}");
            Error::caused(ErrorKind::InvalidPayload, message, error)
        })?;
        if !patch.starts_with(b"{") {
            return Err(Error::new(ErrorKind::InvalidPayload, "the patch is not a JSON object"));
        }
        let answer = self.ask_twin(TwinAsk::Report { patch: Bytes::from(patch), if_version }).await?;
        answer.version.ok_or_else(|| Error::new(ErrorKind::Protocol, "the hub did not tell the new version"))
    }

    async fn ask_twin(&self, ask: TwinAsk) -> Result<TwinAnswer, Error> {
        let shared = &self.inner.shared;
        let (reply, answer) = oneshot::channel();
        shared.twin.push(TwinRequest { ask, asker: Asker::Application(reply) })?;
        shared.uses(Feature::TwinAnswers);
        match timeout(shared.config.request_timeout, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(Error::closed())),
            Err(_) => Err(Error::new(ErrorKind::Timeout, "the hub did not answer the twin request in time")),
        }
    }

    /// What the back end wants of the device, as it changes.
    ///
    /// The stream begins with the [whole](crate::DesiredUpdate::Whole) section; then come
    /// [patches](crate::DesiredUpdate::Patch), in order and each once. Changes that were missed – while there was no
    /// connection, or because the application did not read – are made good by the whole section again: the application
    /// always ends up with the truth, and never sees an older version after a newer one. So nothing needs to be read
    /// with [`twin`](Self::twin) before, or after a reconnect.
    ///
    /// A second stream ends the first. A device whose identity was deleted and made anew starts its versions over: it
    /// needs a new stream.
    ///
    /// ```no_run
    /// # use ferrohub_device::DeviceClient;
    /// # async fn example(client: DeviceClient) {
    /// let mut updates = client.desired_updates();
    /// while let Some(update) = updates.next().await {
    ///     println!("version {}: {:?}", update.version(), update.section().properties());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn desired_updates(&self) -> DesiredUpdates {
        let updates = DesiredUpdates::new(self.inner.shared.desired.open());
        self.inner.shared.wake.notify_one();
        updates
    }

    /// The messages from the cloud; for a module, those at its inputs.
    ///
    /// Each is the hub's until [`Message::complete`](crate::Message::complete): what the application could not finish
    /// comes again. So a message is seen at least once, and rarely more often; by its
    /// [id](crate::Message::message_id) it can be told. A second stream ends the first; it gets what nobody has read.
    ///
    /// ```no_run
    /// # use ferrohub_device::{DeviceClient, Error};
    /// # async fn example(client: DeviceClient) -> Result<(), Error> {
    /// let mut messages = client.messages();
    /// while let Some(message) = messages.next().await {
    ///     println!("{}", message.text()?);
    ///     message.complete()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn messages(&self) -> Messages {
        let messages = Messages::new(self.inner.shared.messages.open());
        self.inner.shared.wake.notify_one();
        messages
    }

    /// Uploads a file to the store that the hub names, and tells the hub. Goes over HTTPS: the client need not be
    /// connected.
    ///
    /// Parts that fail for a reason that passes are sent again. The hub is told how it went in any case, also when the
    /// future is dropped half-way.
    ///
    /// The store's certificate must be of an authority that the client trusts, as the hub's. It is never shown the
    /// device's own certificate or token.
    ///
    /// ```no_run
    /// # use ferrohub_device::{DeviceClient, Error, FileUpload};
    /// # async fn example(client: DeviceClient) -> Result<(), Error> {
    /// let file = client.upload_file(FileUpload::new("notes/today.txt", "all is well")).await?;
    /// println!("{} bytes are at {}", file.bytes, file.uri);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a bad name, a file that cannot be read, and for modules;
    /// [`ErrorKind::Unauthorized`], [`ErrorKind::Rejected`] and others for what hub or store refuse: see
    /// [`Error::status`] and [`Error::code`]; [`ErrorKind::Network`] and [`ErrorKind::Timeout`] when all attempts failed.
    pub async fn upload_file(&self, upload: FileUpload) -> Result<UploadedFile, Error> {
        crate::upload::run(self.inner.shared.clone(), upload).await
    }

    /// Calls a method of another device, or of a module, as modules on edge devices do. Goes over HTTPS: the client need
    /// not be connected.
    ///
    /// ```no_run
    /// # use ferrohub_device::{DeviceClient, Error, MethodCall};
    /// # async fn example(module: DeviceClient) -> Result<(), Error> {
    /// let call = MethodCall::new("close").payload(&serde_json::json!({ "valve": 3 }))?;
    /// let response = module.invoke_method(("pump-1", "valves"), &call).await?;
    /// println!("{}: {}", response.status(), response.payload_text());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the device is not online; [`ErrorKind::Timeout`] if it did not answer;
    /// [`ErrorKind::NotFound`] if there is no such device; [`ErrorKind::Unauthorized`] if this client may not call it.
    /// What the device answered is no error, whatever its status.
    pub async fn invoke_method<'a>(
        &self,
        target: impl Into<MethodTarget<'a>>,
        call: &MethodCall,
    ) -> Result<MethodResponse, Error> {
        let config = &self.inner.shared.config;
        let path = target.into().path()?;
        let mut headers = HeaderMap::new();
        if config.identity.module_str().is_some() {
            headers.insert(https::name("x-ms-edge-moduleid"), https::header(config.identity.as_str())?);
        }
        let patience = call.patience() + config.request_timeout;
        let answer = config.post(&path, call, headers, patience).await?;
        answer.success("the method was not called")?.json::<Answered>()?.into_response()
    }

    /// Follows the state of the connection.
    #[must_use]
    pub fn status(&self) -> StatusWatch {
        StatusWatch { receiver: self.inner.shared.status.subscribe() }
    }

    /// The device's id.
    #[must_use]
    pub fn device_id(&self) -> &str {
        self.inner.shared.config.identity.device_str()
    }

    /// The module's id, if the client is a module.
    #[must_use]
    pub fn module_id(&self) -> Option<&str> {
        self.inner.shared.config.identity.module_str()
    }
}

impl fmt::Debug for DeviceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceClient")
            .field("host", &self.inner.shared.config.host)
            .field("identity", &self.inner.shared.config.identity)
            .field("status", &self.status().current())
            .finish_non_exhaustive()
    }
}

async fn delivery(sent: oneshot::Receiver<Result<(), Error>>) -> Result<(), Error> {
    sent.await.unwrap_or_else(|_| Err(Error::closed()))
}
