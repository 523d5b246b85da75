//! Constants.

use super::Number;

/// A constant of the query.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Literal {
    /// JSON `null`, which is a value.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(String),
}

/// A list of constants, sorted and without duplicates: null, booleans, numbers, strings. `undefined` equals nothing, so
/// it is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Literals(Vec<Literal>);

impl Literals {
    /// Creates a list from its elements in any order.
    #[must_use]
    pub fn new(mut elements: Vec<Literal>) -> Self {
        elements.sort_unstable();
        elements.dedup();
        Self(elements)
    }

    /// Returns the elements in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Literal] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_sorted_by_type_and_value_and_has_each_element_once() {
        let number = |number| Literal::Number(number);
        let list = Literals::new(vec![
            Literal::String("b".to_owned()),
            number(Number::Float(1.0)),
            Literal::Bool(true),
            number(Number::Integer(1)),
            Literal::Null,
            Literal::String("B".to_owned()),
        ]);
        assert_eq!(
            list.as_slice(),
            [
                Literal::Null,
                Literal::Bool(true),
                number(Number::Integer(1)),
                Literal::String("B".to_owned()),
                Literal::String("b".to_owned()),
            ]
        );
    }
}
