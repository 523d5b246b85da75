//! The connection table: the connections of this node and the method calls in flight on each.
//!
//! The table is authoritative. An identity has at most one connection: a newer one replaces the older one atomically
//! and closes it (takeover). A call always goes to the connection that is in the table when the call is sent.

mod connection;
mod desired;
mod desired_gaps;
mod in_flight;
mod inbox;
mod invalidations;
mod selector;
mod table;

pub use connection::{Connection, Outgoing};
pub use desired::DesiredNotice;
pub use in_flight::{Answer, CallEnd, MethodReply, OutgoingCall, OutgoingMethod, RequestId};
pub use inbox::{BusMessage, BusReply, Inbox};
pub use invalidations::{Invalidations, Reload, What};
pub use selector::Selector;
pub use table::Connections;
