//! Values that are borrowed from rows and plans.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::plan::{Literal, Literals, Member, Number, ValueType};

/// A value during evaluation: a JSON value or undefined. It borrows from the row or from the plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Item<'a> {
    /// There is no value.
    Undefined,
    /// JSON `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(&'a str),
    /// An array.
    Array(&'a [Value]),
    /// An object.
    Object(&'a Map<String, Value>),
    /// A list of constants of the query: an array.
    List(&'a Literals),
}

impl<'a> From<&'a Value> for Item<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Number::from_json(number).map_or(Self::Undefined, Self::Number),
            Value::String(text) => Self::String(text),
            Value::Array(elements) => Self::Array(elements),
            Value::Object(members) => Self::Object(members),
        }
    }
}

impl<'a> From<Option<&'a Value>> for Item<'a> {
    fn from(value: Option<&'a Value>) -> Self {
        value.map_or(Self::Undefined, Self::from)
    }
}

impl<'a> From<&'a Literal> for Item<'a> {
    fn from(literal: &'a Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Bool(value) => Self::Bool(*value),
            Literal::Number(number) => Self::Number(*number),
            Literal::String(text) => Self::String(text),
        }
    }
}

/// `None` is undefined.
impl From<Option<bool>> for Item<'_> {
    fn from(truth: Option<bool>) -> Self {
        truth.map_or(Self::Undefined, Self::Bool)
    }
}

impl<'a> Item<'a> {
    /// Returns the value at the end of a path that begins at this value.
    #[must_use]
    pub fn at(self, members: &[Member]) -> Self {
        members.iter().fold(self, |item, member| match (item, member) {
            (Self::Object(members), Member::Name(name)) => members.get(name).into(),
            (Self::Array(elements), Member::Index(index)) => {
                usize::try_from(*index).ok().and_then(|index| elements.get(index)).into()
            }
            _ => Self::Undefined,
        })
    }

    /// Returns whether there is a value.
    #[must_use]
    pub fn is_defined(self) -> bool {
        self != Self::Undefined
    }

    /// Returns whether the value has a type; false if it is undefined.
    #[must_use]
    pub fn has_type(self, value_type: ValueType) -> bool {
        match self {
            Self::Undefined => false,
            Self::Null => matches!(value_type, ValueType::Null | ValueType::Primitive),
            Self::Bool(_) => matches!(value_type, ValueType::Bool | ValueType::Primitive),
            Self::Number(_) => matches!(value_type, ValueType::Number | ValueType::Primitive),
            Self::String(_) => matches!(value_type, ValueType::String | ValueType::Primitive),
            Self::Array(_) | Self::List(_) => value_type == ValueType::Array,
            Self::Object(_) => value_type == ValueType::Object,
        }
    }

    /// Compares two booleans, numbers or strings; `None` for other and for different types.
    #[must_use]
    pub fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => Some(left.cmp(&right)),
            (Self::Number(left), Self::Number(right)) => Some(left.cmp(&right)),
            (Self::String(left), Self::String(right)) => Some(left.cmp(right)),
            _ => None,
        }
    }

    /// Returns whether both are the same null, boolean, number or string.
    #[must_use]
    pub fn equals(self, other: Self) -> bool {
        matches!((self, other), (Self::Null, Self::Null)) || self.compare(other) == Some(Ordering::Equal)
    }

    /// Returns the negative of a number; undefined for another type.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Number(number) => Self::Number(number.negated()),
            _ => Self::Undefined,
        }
    }

    /// Returns whether an array has an element that equals a value; `None` if this is not an array or the value is
    /// undefined. Objects and arrays equal nothing.
    #[must_use]
    pub fn array_contains(self, value: Self) -> Option<bool> {
        if !value.is_defined() {
            return None;
        }
        match self {
            Self::Array(elements) => Some(elements.iter().any(|element| Item::from(element).equals(value))),
            Self::List(list) => Some(list.contains(value)),
            _ => None,
        }
    }

    /// Returns the same value, a number in its [normal form](Number::normalized).
    #[must_use]
    pub fn normalized(self) -> Self {
        match self {
            Self::Number(number) => Self::Number(number.normalized()),
            other => other,
        }
    }

    /// Returns the value as JSON; `None` if it is undefined.
    #[must_use]
    pub fn to_json(self) -> Option<Value> {
        Some(match self {
            Self::Undefined => return None,
            Self::Null => Value::Null,
            Self::Bool(value) => value.into(),
            Self::Number(number) => number.to_json(),
            Self::String(text) => text.into(),
            Self::Array(elements) => elements.into(),
            Self::Object(members) => members.clone().into(),
            Self::List(list) => {
                list.as_slice().iter().filter_map(|element| Item::from(element).to_json()).collect()
            }
        })
    }
}

impl Literals {
    /// Returns whether one element equals the value.
    #[must_use]
    pub fn contains(&self, value: Item<'_>) -> bool {
        let type_of = |item: Item<'_>| match item {
            Item::Null => 0,
            Item::Bool(_) => 1,
            Item::Number(_) => 2,
            Item::String(_) => 3,
            Item::Undefined | Item::Array(_) | Item::Object(_) | Item::List(_) => 4,
        };
        // The elements are sorted by type and value.
        let found = self.as_slice().binary_search_by(|element| {
            let element = Item::from(element);
            let order = || element.compare(value).unwrap_or(Ordering::Equal);
            type_of(element).cmp(&type_of(value)).then_with(order)
        });
        found.is_ok()
    }
}
