//! Who asks: the proven senders of requests, and what they may do.
//!
//! A protocol head proves once who asks, for a request, a connection or a link, and gets a caller. The operations of the
//! hub are methods of callers. Each begins with `permit`, which checks the right in the
//! [table of operations](crate::operations) and is the only way to the hub: an operation without a row in the table
//! does not compile, and an operation without a check cannot do anything.
//!
//! | caller | proven by | lives as long as |
//! |---|---|---|
//! | [`ServiceCaller`] | a token of a shared access policy or of Entra | a request, an event stream |
//! | [`DeviceCaller`] | a token or certificate of a device or module | a request |
//! | [`ConnectedDevice`] | the same | a connection in the connection table |
//! | [`BlobCaller`] | a signed URL of the hub's own folder | a request |

mod authenticate;
mod blob;
mod connected;
mod device;
mod service;

pub use authenticate::{Caller, Credentials};
pub use blob::{BlobCaller, BlobDenied};
pub use connected::ConnectedDevice;
pub use device::DeviceCaller;
pub use service::ServiceCaller;

pub(crate) use authenticate::CALLER_NOT_ALLOWED;
