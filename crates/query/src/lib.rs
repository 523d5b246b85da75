//! The query language of Azure IoT Hub for twins and jobs.
//!
//! The crate turns text into a typed plan, and runs plans on rows in memory. It has no I/O and no clock, and knows
//! nothing about databases: an adapter turns the plan into SQL, with results equal to those of this crate.
//!
//! # Where to start reading
//!
//! * [`Query::parse`] and [`Filter::parse`]: the two entry points, for whole queries and for conditions.
//! * [`plan`]: the result. [`plan::Condition`] documents the three-valued logic.
//! * [`Condition::evaluate`](plan::Condition::evaluate) on a [`Row`], [`Filter::keeps`], and [`Query::run`].
//! * [`QueryError`]: reason, position and advice. [`Limits`]: what bounds a text.
//!
//! The language for its users is described in `docs/query-language.md`.
//!
//! ```
//! use ferrohub_query::{Dialect, Limits, Query};
//! use serde_json::json;
//!
//! let parse = |text| Query::parse(text, Dialect::Twins, &Limits::QUERY);
//! let query = parse("select deviceid from devices where tags.floor in [3, 2]").unwrap();
//! assert_eq!(query.to_string(), "SELECT deviceId FROM devices WHERE tags.floor IN [2, 3]");
//!
//! let twins = [json!({ "deviceId": "a", "tags": { "floor": 3 } }), json!({ "deviceId": "b" })];
//! let rows = query.run(&twins);
//! assert_eq!(*rows[0], json!({ "deviceId": "a" }));
//! assert_eq!(rows.len(), 1);
//!
//! let error = parse("SELECT * FORM devices").unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     r#"Line 1, column 10: expected FROM, but found "FORM". Did you mean FROM?"#
//! );
//! ```

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod dialect;
mod error;
mod evaluate;
mod function;
mod lexer;
mod limits;
mod parser;
pub mod plan;
mod precedence;
mod result;
mod token;

pub use dialect::Dialect;
pub use error::{Hint, Position, QueryError, Reason};
pub use evaluate::{Item, Row};
pub use limits::{LimitName, Limits};
pub use plan::{Filter, Query};
pub use result::{Aggregation, project};
