//! The SQL expression of a condition: 1, 0, or `NULL` for undefined.

use ferrohub_query::plan::{
    Comparison, Condition, Literal, Literals, Number, Operand, StringTest, ValueType,
};
use serde_json::Value;

use super::functions::type_name;
use super::paths::{Expression, Scope};
use super::sql::join;

/// 2^53: smaller integers have at most two texts in JSON, that of an integer and that of a double.
const EXACT_INTEGERS_END: f64 = 9_007_199_254_740_992.0;

impl Scope<'_> {
    /// Returns an expression that is 1 if the condition is true, and 0 or `NULL` if it is false or undefined. SQLite can use
    /// indexes for its comparisons.
    pub(super) fn is_true(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::All(parts) => self.joined("AND", parts, Self::is_true),
            Condition::Any(parts) => self.joined("OR", parts, Self::is_true),
            Condition::Compare { operator, left, right } => match (left, right) {
                (Operand::Path(_), Operand::Literal(literal)) => {
                    self.compare_is_true(condition, *operator, left, literal)
                }
                (Operand::Literal(literal), Operand::Path(_)) => {
                    self.compare_is_true(condition, turned(*operator), right, literal)
                }
                _ => self.exactly(condition),
            },
            Condition::In { value, list } => self.in_is_true(condition, value, list),
            Condition::Text {
                test: StringTest::StartsWith,
                text,
                part: Operand::Literal(Literal::String(part)),
            } => self.starts_with_is_true(condition, text, part),
            Condition::Value(operand) => format!("({} = 'true')", self.json(operand)),
            _ => self.exactly(condition),
        }
    }

    /// Returns an expression that is 1, 0 or `NULL` as the condition is true, false or undefined.
    fn exactly(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::Constant(truth) => match truth {
                Some(true) => "1".to_owned(),
                Some(false) => "0".to_owned(),
                None => "NULL".to_owned(),
            },
            Condition::All(parts) => self.joined("AND", parts, Self::exactly),
            Condition::Any(parts) => self.joined("OR", parts, Self::exactly),
            Condition::Not(inner) => format!("(NOT {})", self.exactly(inner)),
            Condition::Compare { operator, left, right } => {
                let (left, right) = (self.json(left), self.json(right));
                format!("ferrohub_compare('{}', {left}, {right})", operator.as_str())
            }
            Condition::In { value, list } => {
                let value = self.json(value);
                let list = self.json_list(list);
                format!("ferrohub_in({value}, {list})")
            }
            Condition::IsDefined(operand) => format!("({} IS NOT NULL)", self.json(operand)),
            Condition::HasType(value_type, operand) => has_type(*value_type, &self.json(operand)),
            Condition::Text { test, text, part } => {
                let (text, part) = (self.json(text), self.json(part));
                let name = match test {
                    StringTest::StartsWith => "starts",
                    StringTest::EndsWith => "ends",
                    StringTest::Contains => "contains",
                };
                format!("ferrohub_text('{name}', {text}, {part})")
            }
            Condition::ArrayContains { array, value } => {
                let (array, value) = (self.json(array), self.json(value));
                format!("ferrohub_array_contains({array}, {value})")
            }
            Condition::Value(operand) => {
                format!("(CASE {} WHEN 'true' THEN 1 WHEN 'false' THEN 0 END)", self.json(operand))
            }
        }
    }

    fn joined(
        &mut self,
        operator: &str,
        parts: &[Condition],
        mut expression: impl FnMut(&mut Self, &Condition) -> String,
    ) -> String {
        let parts: Vec<_> = parts.iter().map(|part| expression(self, part)).collect();
        join(operator, &parts)
    }

    /// Returns the JSON text of an operand.
    pub(super) fn json(&mut self, operand: &Operand) -> String {
        match operand {
            Operand::Undefined => "NULL".to_owned(),
            Operand::Literal(literal) => self.parameters.bind(json_text(literal)),
            Operand::List(list) => self.json_list(list),
            Operand::Path(path) => self.path(path).into_json(),
            Operand::Negate(inner) => format!("ferrohub_negate({})", self.json(inner)),
            Operand::Arithmetic { operator, left, right } => {
                let (left, right) = (self.json(left), self.json(right));
                format!("ferrohub_calculate('{}', {left}, {right})", operator.as_str())
            }
            Operand::Condition(condition) => {
                format!("(CASE {} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)", self.exactly(condition))
            }
        }
    }

    fn json_list(&mut self, list: &Literals) -> String {
        let elements: Vec<_> = list.as_slice().iter().map(json_text).collect();
        self.parameters.bind(format!("[{}]", elements.join(",")))
    }

    fn compare_is_true(
        &mut self,
        condition: &Condition,
        operator: Comparison,
        path: &Operand,
        literal: &Literal,
    ) -> String {
        let Operand::Path(path) = path else { return self.exactly(condition) };
        match (self.path(path), literal) {
            (Expression::Text(column), Literal::String(text)) => {
                let text = self.parameters.bind(text);
                format!("({column} {} {text})", operator.as_str())
            }
            (expression, _) if operator == Comparison::Equal => match texts(literal) {
                Some(texts) => {
                    let texts: Vec<_> = texts.into_iter().map(|text| self.parameters.bind(text)).collect();
                    format!("({} IN ({}))", expression.into_json(), texts.join(", "))
                }
                None => self.exactly(condition),
            },
            _ => self.exactly(condition),
        }
    }

    fn in_is_true(&mut self, condition: &Condition, value: &Operand, list: &Literals) -> String {
        let Operand::Path(path) = value else { return self.exactly(condition) };
        let (expression, elements) = match self.path(path) {
            Expression::Text(column) if list.as_slice().iter().all(is_plain_string) => {
                let strings = list.as_slice().iter().filter_map(|element| match element {
                    Literal::String(text) => Some(vec![text.clone()]),
                    _ => None,
                });
                (column, Some(strings.collect::<Vec<_>>()))
            }
            expression => (expression.into_json(), list.as_slice().iter().map(texts).collect()),
        };
        let Some(elements) = elements else { return self.exactly(condition) };
        // One parameter, because SQLite limits their number.
        let array = Value::from(elements.concat()).to_string();
        format!("({expression} IN (SELECT value FROM json_each({})))", self.parameters.bind(array))
    }

    /// A string begins with a part if it is in the range from the part up to the next text of the same length. This also
    /// holds for the JSON texts, because no escape is the beginning of another one.
    fn starts_with_is_true(&mut self, condition: &Condition, text: &Operand, part: &str) -> String {
        let Operand::Path(path) = text else { return self.exactly(condition) };
        let (expression, start) = match self.path(path) {
            Expression::Text(column) if !part.is_empty() => (column, part.to_owned()),
            Expression::Json(json) => {
                let mut start = json_text(&Literal::String(part.to_owned()));
                start.pop();
                (json, start)
            }
            Expression::Text(_) => return self.exactly(condition),
        };
        let Some(end) = successor(&start) else { return self.exactly(condition) };
        let (start, end) = (self.parameters.bind(start), self.parameters.bind(end));
        format!("({expression} >= {start} AND {expression} < {end})")
    }
}

/// Returns the first text after all texts that begin with this one.
fn successor(text: &str) -> Option<String> {
    let mut text = text.to_owned();
    let last = text.pop()?;
    let next = char::from_u32(u32::from(last) + 1)?;
    text.push(next);
    Some(text)
}

/// Returns the operator for turned operands.
fn turned(operator: Comparison) -> Comparison {
    match operator {
        Comparison::Equal => Comparison::Equal,
        Comparison::NotEqual => Comparison::NotEqual,
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
    }
}

fn to_json(literal: &Literal) -> Value {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => (*value).into(),
        Literal::Number(number) => number.to_json(),
        Literal::String(text) => text.as_str().into(),
    }
}

fn json_text(literal: &Literal) -> String {
    to_json(literal).to_string()
}

/// Whether SQLite's `json_each` gives a string back as it is: it ends at a NUL.
fn is_plain_string(literal: &Literal) -> bool {
    !matches!(literal, Literal::String(text) if text.contains('\0'))
}

/// Returns all JSON texts that a value equal to the literal may have; `None` if they are too many.
fn texts(literal: &Literal) -> Option<Vec<String>> {
    let Literal::Number(number) = literal else { return Some(vec![json_text(literal)]) };
    let float = number.to_f64();
    if float.abs() >= EXACT_INTEGERS_END {
        return None;
    }
    let float_text = |float: f64| Value::from(float).to_string();
    Some(match number.normalized() {
        Number::Integer(0) => vec!["0".to_owned(), float_text(0.0), float_text(-0.0)],
        Number::Integer(integer) => vec![integer.to_string(), float_text(float)],
        Number::Float(float) => vec![float_text(float)],
    })
}

/// Tests the type of a value. The operand may itself be a long expression, so it is written only once: conditions that
/// contain each other would else double the statement at each level.
fn has_type(value_type: ValueType, json: &str) -> String {
    format!("ferrohub_has_type('{}', {json})", type_name(value_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_all_its_texts() {
        let texts_of = |number| texts(&Literal::Number(number)).map(|texts| texts.join(" "));
        assert_eq!(texts_of(Number::Integer(7)).as_deref(), Some("7 7.0"));
        assert_eq!(texts_of(Number::Float(7.0)).as_deref(), Some("7 7.0"));
        assert_eq!(texts_of(Number::Float(-0.0)).as_deref(), Some("0 0.0 -0.0"));
        assert_eq!(texts_of(Number::Float(0.1)).as_deref(), Some("0.1"));
        assert_eq!(texts_of(Number::Integer(1 << 53)), None);
        assert_eq!(texts_of(Number::Float(1e300)), None);
    }
}
