//! Generates plans as the parser builds them.

use ferrohub_query::plan::{
    Aggregate, ArithmeticOperator, Collection, Column, Comparison, Condition, GroupValue, Literal, Literals,
    Member, Number, Operand, Output, Path, Root, StringTest, ValueType,
};
use ferrohub_query::{Filter, Query};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

/// Names of members: few, so that rows have them, and with all that needs quotes.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(vec!["a", "b", "c", "group", "$version", "fan-1"]).prop_map(str::to_owned),
        1 => "\\PC{1,6}",
    ]
}

fn members() -> impl Strategy<Value = Vec<Member>> {
    let index = prop_oneof![0..3_u32, any::<u32>()];
    vec(prop_oneof![4 => name().prop_map(Member::Name), 1 => index.prop_map(Member::Index)], 0..4)
}

pub(crate) fn path(collection: Collection) -> impl Strategy<Value = Path> {
    let known =
        (select(Root::of(collection)), members()).prop_map(|(root, members)| Path::new(root, members));
    let unknown = (select(vec!["other", "select", "devices", "a b"]), members());
    prop_oneof![
        9 => known,
        1 => unknown.prop_map(|(name, members)| Path::Unknown { name: name.to_owned(), members }),
    ]
}

pub(crate) fn number() -> impl Strategy<Value = Number> {
    let float = any::<f64>().prop_filter_map("finite", Number::from_f64);
    prop_oneof![
        (-3..4_i64).prop_map(Number::Integer),
        (-6..7_i32).prop_map(|halves| Number::Float(f64::from(halves) / 2.0)),
        any::<i64>().prop_map(Number::Integer),
        float,
    ]
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Bool),
        number().prop_map(Literal::Number),
        select(vec!["", "a", "ab", "it's", "\\", "\n"]).prop_map(|text| Literal::String(text.to_owned())),
        any::<String>().prop_map(Literal::String),
    ]
}

fn literals() -> impl Strategy<Value = Literals> {
    vec(literal(), 0..4).prop_map(Literals::new)
}

/// An operand and a condition of the same nesting.
fn expressions(collection: Collection) -> impl Strategy<Value = (Operand, Condition)> {
    let leaf = prop_oneof![
        6 => path(collection).prop_map(Operand::Path),
        4 => literal().prop_map(Operand::Literal),
        1 => literals().prop_map(Operand::List),
        1 => Just(Operand::Undefined),
    ]
    .prop_map(|operand| (operand.clone(), operand.into()))
    .boxed();
    leaf.prop_recursive(6, 48, 3, |inner| {
        let operand = inner.clone().prop_map(|(operand, _)| operand).boxed();
        let condition = inner.prop_map(|(_, condition)| condition).boxed();
        // A calculation is never a boolean, so the condition compares it.
        let compared = (calculation(operand.clone()), number()).prop_map(|(operand, number)| {
            let right = Operand::Literal(Literal::Number(number));
            (operand.clone(), Condition::Compare { operator: Comparison::Less, left: operand, right })
        });
        prop_oneof![
            1 => compared,
            1 => test(operand, condition).prop_map(|condition| (condition.clone().into(), condition)),
        ]
    })
}

fn calculation(operand: BoxedStrategy<Operand>) -> impl Strategy<Value = Operand> {
    let operators = select(vec![
        ArithmeticOperator::Add,
        ArithmeticOperator::Subtract,
        ArithmeticOperator::Multiply,
        ArithmeticOperator::Divide,
        ArithmeticOperator::Remainder,
    ]);
    prop_oneof![
        operand.clone().prop_map(Operand::negated),
        (operators, operand.clone(), operand).prop_map(|(operator, left, right)| Operand::Arithmetic {
            operator,
            left: Box::new(left),
            right: Box::new(right),
        }),
    ]
}

fn test(
    operand: BoxedStrategy<Operand>,
    condition: BoxedStrategy<Condition>,
) -> impl Strategy<Value = Condition> {
    let comparisons = select(vec![
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ]);
    let types = select(vec![
        ValueType::Null,
        ValueType::Bool,
        ValueType::Number,
        ValueType::String,
        ValueType::Object,
        ValueType::Array,
        ValueType::Primitive,
    ]);
    let tests = select(vec![StringTest::StartsWith, StringTest::EndsWith, StringTest::Contains]);
    let array =
        operand.clone().prop_filter("the parser writes IN", |array| !matches!(array, Operand::List(_)));
    prop_oneof![
        vec(condition.clone(), 2..4).prop_map(Condition::All),
        vec(condition.clone(), 2..4).prop_map(Condition::Any),
        condition.prop_map(|inner| Condition::Not(Box::new(inner))),
        (comparisons, operand.clone(), operand.clone())
            .prop_map(|(operator, left, right)| Condition::Compare { operator, left, right }),
        (operand.clone(), literals()).prop_map(|(value, list)| Condition::In { value, list }),
        operand.clone().prop_map(Condition::IsDefined),
        (types, operand.clone()).prop_map(|(value_type, operand)| Condition::HasType(value_type, operand)),
        (tests, operand.clone(), operand.clone()).prop_map(|(test, text, part)| Condition::Text {
            test,
            text,
            part
        }),
        (array, operand).prop_map(|(array, value)| Condition::ArrayContains { array, value }),
    ]
}

pub(crate) fn condition(collection: Collection) -> impl Strategy<Value = Condition> {
    expressions(collection).prop_map(|(_, condition)| condition)
}

fn key_of(alias: Option<String>, default: Option<&str>, index: usize) -> String {
    alias.or_else(|| default.map(str::to_owned)).unwrap_or_else(|| format!("_{}", index + 1))
}

fn aggregate(collection: Collection) -> impl Strategy<Value = Aggregate> {
    let of = select(vec![Aggregate::Sum, Aggregate::Average, Aggregate::Minimum, Aggregate::Maximum]);
    prop_oneof![
        Just(Aggregate::Count),
        (of, path(collection)).prop_map(|(of, path): (fn(Path) -> Aggregate, Path)| of(path)),
    ]
}

fn output(collection: Collection) -> BoxedStrategy<Output> {
    if collection == Collection::Jobs {
        return Just(Output::Documents).boxed();
    }
    let alias = || option::of("[a-zA-Z_$][a-zA-Z0-9_$-]{0,3}");
    let columns = vec((path(collection), alias()), 1..4).prop_map(|columns| {
        let column = |(index, (value, alias)): (usize, (Path, Option<String>))| Column {
            key: key_of(alias, value.key(), index),
            value,
        };
        Output::Columns(columns.into_iter().enumerate().map(column).collect())
    });
    let totals = vec((aggregate(collection), alias()), 1..4).prop_map(|columns| {
        let column = |(index, (value, alias))| Column { key: key_of(alias, None, index), value };
        Output::Totals(columns.into_iter().enumerate().map(column).collect())
    });
    let columns_of_groups = vec((option::of(aggregate(collection)), alias()), 1..4);
    let groups = (path(collection), columns_of_groups).prop_map(|(by, columns)| {
        let column =
            |(index, (aggregate, alias)): (usize, (Option<Aggregate>, Option<String>))| match aggregate {
                None => Column { key: key_of(alias, by.key(), index), value: GroupValue::Key },
                Some(aggregate) => {
                    Column { key: key_of(alias, None, index), value: GroupValue::Aggregate(aggregate) }
                }
            };
        let columns = columns.into_iter().enumerate().map(column).collect();
        Output::Groups { by: by.clone(), columns }
    });
    prop_oneof![Just(Output::Documents), columns, totals, groups].boxed()
}

pub(crate) fn query() -> impl Strategy<Value = Query> {
    select(&Collection::ALL[..]).prop_flat_map(|collection| {
        let parts = (option::of(condition(collection)), output(collection), option::of(0..5_u64));
        parts.prop_map(move |(condition, output, top)| Query {
            filter: Filter { collection, condition },
            output,
            top,
        })
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number().prop_map(Number::to_json),
        select(vec!["", "a", "ab", "it's"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            btree_map(name(), inner, 0..4).prop_map(Value::from_iter),
        ]
    })
}

/// A row that has some of the members of the collection, of any type.
pub(crate) fn row(collection: Collection) -> impl Strategy<Value = Value> {
    let roots = Root::of(collection).iter().filter(|root| !root.as_str().contains('.'));
    let names: Vec<_> = roots.map(|root| root.as_str().to_owned()).collect();
    let sections = btree_map(select(vec!["desired".to_owned(), "reported".to_owned()]), value(), 0..3);
    (btree_map(select(names), value(), 0..20), sections).prop_map(|(mut members, sections)| {
        if members.contains_key("properties") {
            members.insert("properties".to_owned(), Value::from_iter(sections));
        }
        Value::from_iter(members)
    })
}

/// A query and rows of its collection.
pub(crate) fn query_and_rows() -> impl Strategy<Value = (Query, Vec<Value>)> {
    query().prop_flat_map(|query| {
        let rows = vec(row(query.filter.collection), 0..8);
        (Just(query), rows)
    })
}

/// A query with one condition on a path that rows often have, as people write them. Adapters have expressions of their own
/// for these.
pub(crate) fn simple_query() -> impl Strategy<Value = Query> {
    let roots = select(vec![
        Root::Tags,
        Root::Tags,
        Root::Desired,
        Root::Reported,
        Root::DeviceId,
        Root::Status,
        Root::StatusReason,
        Root::ConnectionState,
        Root::ModelId,
        Root::Version,
    ]);
    let members = vec(select(vec!["a", "b", "c"]).prop_map(|name| Member::Name(name.to_owned())), 0..3);
    let path = (roots, members).prop_map(|(root, members)| match root {
        Root::Tags | Root::Desired | Root::Reported => Path::new(root, members),
        _ => Path::new(root, Vec::new()),
    });
    let comparisons = select(vec![
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ]);
    let condition = (path, literal(), literals(), comparisons, 0..6_u8).prop_map(
        |(path, literal, list, operator, form)| {
            let (path, literal) = (Operand::Path(path), Operand::Literal(literal));
            match form {
                0 => Condition::Compare { operator, left: literal, right: path },
                1 => Condition::In { value: path, list },
                2 => Condition::Text { test: StringTest::StartsWith, text: path, part: literal },
                3 => Condition::Value(path),
                _ => Condition::Compare { operator, left: path, right: literal },
            }
        },
    );
    let parts = (select(vec![Collection::Devices, Collection::Modules]), vec(condition, 1..3), any::<bool>());
    parts.prop_map(|(collection, mut conditions, all)| {
        let condition = match (conditions.pop(), all) {
            (Some(only), _) if conditions.is_empty() => only,
            (Some(last), true) => Condition::All(conditions.into_iter().chain([last]).collect()),
            (Some(last), false) => Condition::Any(conditions.into_iter().chain([last]).collect()),
            (None, _) => Condition::Constant(None),
        };
        let filter = Filter { collection, condition: Some(condition) };
        Query { filter, output: Output::Documents, top: None }
    })
}
