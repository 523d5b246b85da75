//! The SQL functions of queries: the rules of the evaluator on JSON texts. `NULL` is undefined.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrohub_core::queries::LiveState;
use ferrohub_model::{IdentityId, Timestamp};
use ferrohub_query::Item;
use ferrohub_query::plan::{
    ArithmeticOperator, Comparison, Literal, Literals, Number, StringTest, ValueType,
};
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, Error, Result};
use serde_json::Value;

/// Functions of their arguments alone.
const PURE: FunctionFlags = FunctionFlags::SQLITE_UTF8.union(FunctionFlags::SQLITE_DETERMINISTIC);
/// Functions whose result changes with time.
const LIVE: FunctionFlags = FunctionFlags::SQLITE_UTF8;

/// An argument: a JSON value, or `None` for undefined.
struct Argument(Option<Value>);

impl FromSql for Argument {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Null => Ok(Self(None)),
            _ => match serde_json::from_str(value.as_str()?) {
                Ok(value) => Ok(Self(Some(value))),
                Err(error) => Err(FromSqlError::Other(Box::new(error))),
            },
        }
    }
}

impl Argument {
    fn item(&self) -> Item<'_> {
        self.0.as_ref().into()
    }
}

/// Returns an argument that names one of several choices.
fn choice<T: Copy>(context: &Context<'_>, choices: &[(&str, T)]) -> Result<T> {
    let name = context.get_raw(0).as_str().unwrap_or_default();
    let found = choices.iter().find(|(known, _)| *known == name);
    found.map(|(_, choice)| *choice).ok_or_else(|| Error::UserFunctionError("unknown operator".into()))
}

/// Registers the functions that every query may use.
pub(crate) fn register(db: &Connection) -> Result<()> {
    db.create_scalar_function("ferrohub_compare", 3, PURE, |context| {
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        let operators = [Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual]
            .map(|operator| (operator.as_str(), operator));
        let (left, right): (Argument, Argument) = (context.get(1)?, context.get(2)?);
        Ok(choice(context, &operators)?.apply(left.item(), right.item()))
    })?;
    db.create_scalar_function("ferrohub_text", 3, PURE, |context| {
        let tests = [
            ("starts", StringTest::StartsWith),
            ("ends", StringTest::EndsWith),
            ("contains", StringTest::Contains),
        ];
        let (text, part): (Argument, Argument) = (context.get(1)?, context.get(2)?);
        Ok(choice(context, &tests)?.apply(text.item(), part.item()))
    })?;
    db.create_scalar_function("ferrohub_in", 2, PURE, |context| {
        let value: Argument = context.get(0)?;
        let list: Arc<Literals> = context.get_or_create_aux(1, literals)?;
        Ok(value.item().is_defined().then(|| list.contains(value.item())))
    })?;
    db.create_scalar_function("ferrohub_array_contains", 2, PURE, |context| {
        let (array, value): (Argument, Argument) = (context.get(0)?, context.get(1)?);
        Ok(array.item().array_contains(value.item()))
    })?;
    db.create_scalar_function("ferrohub_calculate", 3, PURE, |context| {
        use ArithmeticOperator::{Add, Divide, Multiply, Remainder, Subtract};
        let operators =
            [Add, Subtract, Multiply, Divide, Remainder].map(|operator| (operator.as_str(), operator));
        let (left, right): (Argument, Argument) = (context.get(1)?, context.get(2)?);
        Ok(text_of(choice(context, &operators)?.apply(left.item(), right.item())))
    })?;
    db.create_scalar_function("ferrohub_has_type", 2, PURE, |context| {
        let value_type = choice(context, &VALUE_TYPES.map(|value_type| (type_name(value_type), value_type)))?;
        let json = context.get_raw(1).as_str_or_null()?;
        Ok(json.is_some_and(|json| has_type(value_type, json)))
    })?;
    db.create_scalar_function("ferrohub_negate", 1, PURE, |context| {
        Ok(text_of(context.get::<Argument>(0)?.item().negated()))
    })?;
    db.create_scalar_function("ferrohub_json", 1, PURE, |context| {
        let text: Option<String> = context.get(0)?;
        Ok(text.map(|text| Value::from(text).to_string()))
    })?;
    db.create_scalar_function("ferrohub_time", 1, PURE, |context| {
        Ok(Timestamp::from_unix_millis(context.get(0)?).to_fixed_width())
    })?;
    db.create_scalar_function("ferrohub_etag", 1, PURE, |context| {
        Ok(STANDARD.encode(context.get::<i64>(0)?.unsigned_abs().to_be_bytes()))
    })
}

/// Registers the functions that read the live state, until the next query does.
pub(super) fn register_live(db: &Connection, live: &Arc<dyn LiveState>) -> Result<()> {
    let state = live.clone();
    db.create_scalar_function("ferrohub_connected", 3, LIVE, move |context| {
        let (id, generation) = generation(context)?;
        Ok(state.is_connected(&id, &generation))
    })?;
    let state = live.clone();
    db.create_scalar_function("ferrohub_last_activity", 4, LIVE, move |context| {
        let (id, generation) = generation(context)?;
        let stored = Timestamp::from_unix_millis(context.get(3)?);
        Ok(state.last_activity(&id, &generation, stored).unix_millis())
    })
}

/// Removes the functions that read the live state.
pub(super) fn remove_live(db: &Connection) -> Result<()> {
    db.remove_function("ferrohub_connected", 3)?;
    db.remove_function("ferrohub_last_activity", 4)
}

/// Returns the identity of the first three arguments, and its generation.
fn generation(context: &Context<'_>) -> Result<(IdentityId, String)> {
    let (device, module, generation): (String, String, String) =
        (context.get(0)?, context.get(1)?, context.get(2)?);
    let id = if module.is_empty() { device } else { format!("{device}/{module}") };
    let id = IdentityId::parse(&id).map_err(|error| Error::UserFunctionError(Box::new(error)))?;
    Ok((id, generation))
}

/// All types that a condition can test.
const VALUE_TYPES: [ValueType; 7] = [
    ValueType::Null,
    ValueType::Bool,
    ValueType::Number,
    ValueType::String,
    ValueType::Object,
    ValueType::Array,
    ValueType::Primitive,
];

/// Returns the name of a type in the arguments of `ferrohub_has_type`.
pub(super) fn type_name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Null => "null",
        ValueType::Bool => "bool",
        ValueType::Number => "number",
        ValueType::String => "string",
        ValueType::Object => "object",
        ValueType::Array => "array",
        ValueType::Primitive => "primitive",
    }
}

/// The type of a value is known from the first character of its JSON text.
fn has_type(value_type: ValueType, json: &str) -> bool {
    let first = json.as_bytes().first().copied().unwrap_or_default();
    match value_type {
        ValueType::Null => first == b'n',
        ValueType::Bool => matches!(first, b't' | b'f'),
        ValueType::Number => matches!(first, b'-' | b'0'..=b'9'),
        ValueType::String => first == b'"',
        ValueType::Object => first == b'{',
        ValueType::Array => first == b'[',
        ValueType::Primitive => !matches!(first, b'{' | b'['),
    }
}

fn text_of(item: Item<'_>) -> Option<String> {
    item.to_json().map(|value| value.to_string())
}

/// Reads a list of constants from its JSON text.
fn literals(value: ValueRef<'_>) -> std::result::Result<Literals, Box<dyn std::error::Error + Send + Sync>> {
    let elements: Vec<Value> = serde_json::from_str(value.as_str()?)?;
    let literal = |element| {
        Some(match element {
            Value::Null => Literal::Null,
            Value::Bool(value) => Literal::Bool(value),
            Value::Number(number) => Literal::Number(Number::from_json(&number)?),
            Value::String(text) => Literal::String(text),
            Value::Array(_) | Value::Object(_) => return None,
        })
    };
    Ok(Literals::new(elements.into_iter().filter_map(literal).collect()))
}
