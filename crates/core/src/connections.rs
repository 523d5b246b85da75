//! Connections of devices and modules: connect, session, disconnect, and the times of their activity.
//!
//! The connections that this process has are in the connection table of [`node`](crate::node).

mod activity;
mod connect;
mod live_state;
mod renew;
mod store;

pub(crate) use activity::{ActivityWriter, RecentActivity};
pub use connect::{AuthenticatedConnect, ConnectRefusal, ConnectRequest, Connected};
pub use renew::RenewalError;
pub use store::{Activity, ConnectionStore, Presence, SaveSessionOutcome};
