//! Routes method calls to the handlers of the application.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::mpsc;

use super::{MethodRequest, MethodRequestStream, MethodResponse};

type HandlerFuture = Pin<Box<dyn Future<Output = MethodResponse> + Send>>;
pub(crate) type Handler = Arc<dyn Fn(MethodRequest) -> HandlerFuture + Send + Sync>;

/// Where a call goes.
pub(crate) enum MethodRoute {
    Handler(Handler),
    Stream(mpsc::Sender<MethodRequest>),
    Unhandled,
}

/// The handlers. Order: the handler for the name, the stream if one is open, the handler for unhandled methods.
#[derive(Default)]
pub(crate) struct Handlers {
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    named: HashMap<String, Handler>,
    stream: Option<mpsc::Sender<MethodRequest>>,
    unhandled: Option<Handler>,
}

impl Handlers {
    pub(crate) fn insert(&self, name: String, handler: Handler) {
        self.write(|table| table.named.insert(name, handler));
    }

    pub(crate) fn remove(&self, name: &str) -> bool {
        self.write(|table| table.named.remove(name)).is_some()
    }

    pub(crate) fn set_unhandled(&self, handler: Handler) {
        self.write(|table| table.unhandled = Some(handler));
    }

    /// `capacity` is the limit of concurrent calls, so the stream is never full before that limit is reached.
    pub(crate) fn open_stream(&self, capacity: usize) -> MethodRequestStream {
        let (sender, receiver) = mpsc::channel(capacity);
        self.write(|table| table.stream = Some(sender));
        MethodRequestStream::new(receiver)
    }

    pub(crate) fn route(&self, name: &str) -> MethodRoute {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(handler) = table.named.get(name) {
            return MethodRoute::Handler(handler.clone());
        }
        match (&table.stream, &table.unhandled) {
            (Some(stream), _) if !stream.is_closed() => MethodRoute::Stream(stream.clone()),
            (_, Some(handler)) => MethodRoute::Handler(handler.clone()),
            (_, None) => MethodRoute::Unhandled,
        }
    }

    fn write<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        change(&mut self.table.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Wraps a function of the application: from a request to a future of anything that converts into a response.
pub(crate) fn handler<F, Fut>(function: F) -> Handler
where
    F: Fn(MethodRequest) -> Fut + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Into<MethodResponse>,
{
    Arc::new(move |request| {
        let future = function(request);
        Box::pin(async move { future.await.into() })
    })
}
