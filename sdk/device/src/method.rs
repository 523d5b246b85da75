//! Direct methods: what the hub asks, what the device answers, and who in the application does it.

mod call;
mod handlers;
mod reply;
mod request;
mod requests;
mod response;

pub(crate) use call::Answered;
pub use call::{MethodCall, MethodTarget};
pub(crate) use handlers::{Handlers, Taker, handler};
pub(crate) use reply::{Answer, Reply};
pub use request::MethodRequest;
pub use requests::MethodRequests;
pub use response::MethodResponse;
