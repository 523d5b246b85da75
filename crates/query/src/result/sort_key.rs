//! The order of rows and groups.

use crate::evaluate::Item;
use crate::plan::Number;

/// A value as part of an order: by type first, then by value. Arrays and objects are ordered by their JSON text.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SortKey {
    Undefined,
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Json(String),
}

impl SortKey {
    /// Returns the memory that the key has allocated beside itself, in bytes.
    pub(super) fn allocated(&self) -> usize {
        match self {
            Self::String(text) | Self::Json(text) => text.capacity(),
            Self::Undefined | Self::Null | Self::Bool(_) | Self::Number(_) => 0,
        }
    }

    pub(super) fn new(item: Item<'_>) -> Self {
        match item {
            Item::Undefined => Self::Undefined,
            Item::Null => Self::Null,
            Item::Bool(value) => Self::Bool(value),
            Item::Number(number) => Self::Number(number),
            Item::String(text) => Self::String(text.to_owned()),
            Item::Array(_) | Item::Object(_) | Item::List(_) => {
                Self::Json(item.to_json().map(|value| value.to_string()).unwrap_or_default())
            }
        }
    }
}
