//! The typed plan of a query: what to read, what to keep and what to return.
//!
//! Every evaluator works on this tree: the one in memory, and adapters that turn it into SQL. Nothing in it is text of
//! the query: paths are resolved to a [`Root`] and members, literals have types, and each node documents its result.
//! Identifiers and literals come from the author of the query, so an adapter passes them as bind parameters.
//!
//! `Display` writes a plan in the query language; parsing that text gives the same plan.

mod condition;
mod group;
mod literal;
mod number;
mod operand;
mod path;
mod paths;
mod print;
mod query;
mod root;

pub use self::condition::{Comparison, Condition, StringTest, ValueType};
pub use self::group::{Aggregate, GroupValue};
pub use self::literal::{Literal, Literals};
pub use self::number::Number;
pub use self::operand::{ArithmeticOperator, Operand};
pub use self::path::{Member, Path};
pub use self::query::{Column, Filter, ItemType, Output, Query};
pub use self::root::{Collection, Root};

pub(crate) use self::path::PathBuilder;
pub(crate) use self::query::unnamed_key;
