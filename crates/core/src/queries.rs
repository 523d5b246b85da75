//! Queries on the twins of devices and modules.
//!
//! The language is that of the crate `ferrohub-query`, and `docs/query-language.md` describes it. A query is answered page
//! by page. The hub keeps nothing between the pages of a query: the continuation token that the caller
//! sends back says where the next page begins, so that any node can answer it. Each page is read from one snapshot of the
//! store; two pages may be of different snapshots.
//!
//! * [`QueryStore`] is the port: an adapter runs the plan of a query on its database.
//! * [`in_memory`](run_in_memory) is what an adapter must be equal to.
//! * [`QueryLimits`] bounds each query, and how many run at the same time.

mod continuation;
mod in_memory;
mod limits;
mod live_state;
mod run_query;
mod slots;
mod store;

pub use in_memory::run_in_memory;
pub use limits::{DEFAULT_PAGE_ROWS, QueryLimits};
pub use live_state::LiveState;
pub(crate) use run_query::parse_query;
pub use run_query::{QueryItems, QueryPage, QueryRequest};
pub(crate) use slots::QuerySlots;
pub use store::{Page, PageItems, PageRequest, Position, QueryFailure, QueryStore};
