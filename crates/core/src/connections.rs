//! The connection table: who is connected here, and the calls each connection carries.
//!
//! The table is the truth. An identity has at most one connection; a newer one takes over in one step
//! and closes the older. A call always goes to the connection that is in the table when it is sent.

mod connection;
mod desired;
mod in_flight;
mod table;

pub use connection::{CloseReason, Connection, Credential, Outgoing};
pub use desired::DesiredNotice;
pub use in_flight::{Answer, CallEnd, MethodReply, OutgoingCall, OutgoingMethod, RequestId};
pub use table::Connections;
