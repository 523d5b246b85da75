//! Direct methods: calls to this device and their handlers, and calls from this client to others.

mod handlers;
mod invocation;
mod request;
mod requests;
mod responder;
mod response;

pub(crate) use handlers::{Handlers, MethodRoute, handler};
pub use invocation::MethodInvocation;
pub(crate) use invocation::{MethodResponseBody, path};
pub use request::MethodRequest;
pub use requests::MethodRequestStream;
pub(crate) use responder::{PendingResponse, Responder};
pub use response::MethodResponse;
