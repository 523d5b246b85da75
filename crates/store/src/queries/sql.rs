//! The bind parameters of a statement.

use std::collections::HashMap;

/// The bind parameters of a statement. All are texts.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    values: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl Parameters {
    /// Returns the SQL of a parameter with this value: `?1`, `?2` and so on. Equal values share a parameter.
    pub(super) fn bind(&mut self, value: impl Into<String>) -> String {
        let value = value.into();
        let next = self.values.len() + 1;
        let number = *self.numbers.entry(value.clone()).or_insert(next);
        if number == next {
            self.values.push(value);
        }
        format!("?{number}")
    }

    /// Returns the SQL of a parameter of its own, whose value is given later. [`values`](Self::values) has an empty text.
    pub(super) fn reserve(&mut self) -> String {
        self.values.push(String::new());
        format!("?{}", self.values.len())
    }

    /// Returns the values in the order of their numbers.
    pub(super) fn values(&self) -> &[String] {
        &self.values
    }
}

/// Joins parts with an operator, as a balanced tree: SQLite limits the depth of an expression to 1000.
pub(super) fn join(operator: &str, parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [part] => part.clone(),
        _ => {
            let (left, right) = parts.split_at(parts.len() / 2);
            format!("({} {operator} {})", join(operator, left), join(operator, right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_a_parameter() {
        let mut parameters = Parameters::default();
        assert_eq!(["a", "b", "a", "c"].map(|value| parameters.bind(value)), ["?1", "?2", "?1", "?3"]);
        assert_eq!(parameters.values(), ["a", "b", "c"]);
        assert_eq!([parameters.reserve(), parameters.bind("")], ["?4", "?5"]);
    }

    #[test]
    fn a_chain_is_a_balanced_tree() {
        let parts: Vec<_> = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
        assert_eq!(join("OR", &parts), "((a OR b) OR (c OR (d OR e)))");
        assert_eq!(join("OR", &parts[..1]), "a");
    }
}
