//! Evaluates conditions on rows in memory. This is the definition of the language: what adapters compute in a database
//! must be equal to it.

mod arithmetic;
mod condition;
mod item;
mod operand;
mod row;

pub use self::item::Item;
pub use self::row::Row;

#[cfg(test)]
mod tests;
