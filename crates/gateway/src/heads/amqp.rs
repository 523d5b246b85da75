//! The AMQP 1.0 endpoint: services send messages to devices, receive feedback and file notifications, and read events as
//! from an event hub of Azure.
//!
//! One task per connection drives the socket and the sans-I/O protocol state machine. A client proves who it is with SASL
//! PLAIN or with a token that it sends to the node `$cbs` (claims-based security); each link that it attaches is then
//! allowed or refused by its address. An idle connection holds no buffer, as in the MQTT endpoint.
//!
//! The hub never sends `close`, and detaches at most one link to end a connection: Microsoft's Node clients hang for ever
//! after anything else. It ends the transport instead.

mod address;
mod callers;
mod cbs;
mod connection_handler;
mod driver;
mod errors;
mod event_link;
mod event_message;
mod faults;
mod feed;
mod limits;
mod management;
mod message;
mod readers;
mod receivers;
mod sasl;
mod selector;
mod server;
mod violation;
mod work;

pub use limits::AmqpLimits;
pub(crate) use server::Server;
