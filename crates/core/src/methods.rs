//! Direct methods: a service calls a method of a connected device or module and waits for the response.

mod answer_method;
mod invoke_method;

pub use invoke_method::MethodCall;
pub(crate) use invoke_method::NotAnswered;
