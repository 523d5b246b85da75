//! Direct methods: what the hub asks, what the device answers, and who in the application does it.

mod handlers;
mod invocation;
mod request;
mod requests;
mod responder;
mod response;

pub(crate) use handlers::{Handlers, MethodRoute, handler};
pub(crate) use invocation::MethodResponseBody;
pub use invocation::{MethodInvocation, MethodTarget};
pub use request::MethodRequest;
pub use requests::MethodRequestStream;
pub(crate) use responder::{PendingResponse, Responder};
pub use response::MethodResponse;
