use super::*;
use crate::plan::{ArithmeticOperator, Comparison, Condition, Literal, Member, Number, Operand, Path, Root};

fn tag(name: &str) -> Operand {
    Operand::Path(Path::new(Root::Tags, vec![Member::Name(name.to_owned())]))
}

fn number(number: i64) -> Operand {
    Operand::Literal(Literal::Number(Number::Integer(number)))
}

#[test]
fn or_binds_weaker_than_and_and_and_weaker_than_not_and_not_weaker_than_comparisons() {
    let is =
        |name: &str| Condition::Compare { operator: Comparison::Equal, left: tag(name), right: number(1) };
    let parsed = parse_filter("tags.a = 1 OR NOT tags.b = 1 AND tags.c = 1 OR tags.d = 1").unwrap();
    let not_b = Condition::Not(Box::new(is("b")));
    let expected = Condition::Any(vec![is("a"), Condition::All(vec![not_b, is("c")]), is("d")]);
    assert_eq!(parsed.condition, Some(expected));
}

#[test]
fn products_bind_tighter_than_sums_and_operators_group_from_the_left() {
    let calculate = |operator, left, right| Operand::Arithmetic {
        operator,
        left: Box::new(left),
        right: Box::new(right),
    };
    let parsed = parse_filter("1 - 2 - 3 * -tags.a > 0").unwrap();
    let negated = Operand::Negate(Box::new(tag("a")));
    let difference = calculate(ArithmeticOperator::Subtract, number(1), number(2));
    let product = calculate(ArithmeticOperator::Multiply, number(3), negated);
    let left = calculate(ArithmeticOperator::Subtract, difference, product);
    let expected = Condition::Compare { operator: Comparison::Greater, left, right: number(0) };
    assert_eq!(parsed.condition, Some(expected));
}

#[test]
fn operators_have_several_spellings() {
    assert_conditions(&[
        ("tags.a<>1", "tags.a != 1"),
        ("tags.a nin [1]", "NOT tags.a IN [1]"),
        ("tags.a NOT IN [1] and true", "NOT tags.a IN [1] AND true"),
        ("NOT tags.a NOT IN [1]", "NOT NOT tags.a IN [1]"),
        ("array_contains(['b', 'a'], status)", "status IN ['a', 'b']"),
    ]);
}

#[test]
fn parentheses_stay_where_they_matter() {
    assert_conditions(&[
        ("((tags.a = (1)))", "tags.a = 1"),
        ("(tags.a = 1) = true", "(tags.a = 1) = true"),
        ("tags.a = (NOT tags.b)", "tags.a = (NOT tags.b)"),
        ("NOT (tags.a = 1 AND tags.b = 1)", "NOT (tags.a = 1 AND tags.b = 1)"),
        ("(true OR false) AND true", "(true OR false) AND true"),
        ("(true AND false) OR true", "true AND false OR true"),
        ("1 - (2 - 3) = (1 - 2) - 3", "1 - (2 - 3) = 1 - 2 - 3"),
        ("-(tags.a + 1) = - - 2", "-(tags.a + 1) = 2"),
    ]);
}

#[test]
fn a_minus_before_a_number_belongs_to_the_number() {
    assert_conditions(&[
        ("tags.a = -5", "tags.a = -5"),
        ("tags.a = -(5)", "tags.a = -5"),
        ("tags.a -5 = 3-1", "tags.a - 5 = 3 - 1"),
        ("tags.a = -9223372036854775808", "tags.a = -9223372036854775808"),
        ("tags.a = 9223372036854775808", "tags.a = 9.223372036854776e18"),
        ("tags.a IN [-1, -0x10, -1.5, 2]", "tags.a IN [-16, -1.5, -1, 2]"),
    ]);
}

#[test]
fn a_value_is_a_condition_and_a_condition_is_a_value() {
    assert_conditions(&[
        ("tags.flag", "tags.flag"),
        ("NOT tags.flag AND undefined", "NOT tags.flag AND undefined"),
        // Only booleans can be true.
        ("3", "undefined"),
        ("'a' OR null", "undefined OR undefined"),
        ("1 + 2", "undefined"),
        ("IS_BOOL(tags.a = 1)", "IS_BOOL(tags.a = 1)"),
        ("is_defined(tags.a AND true)", "IS_DEFINED(tags.a AND true)"),
    ]);
}

#[test]
fn names_after_a_dot_may_be_keywords_and_other_names_are_quoted() {
    assert_conditions(&[
        ("tags.group.select = 1", "tags.group.select = 1"),
        ("tags.[[group]].[[a b]] = 1", "tags.group['a b'] = 1"),
        ("[[tags]]['it\\'s'] = 1", "tags['it\\'s'] = 1"),
        ("tags.list[0][ 1 ].x = 1", "tags.list[0][1].x = 1"),
        (
            "properties.desired.$metadata.a.$lastUpdated = 1",
            "properties.desired.$metadata.a.$lastUpdated = 1",
        ),
        ("tags.__type__ = tags.größe", "tags.__type__ = tags.größe"),
        ("tags.fan-1 = 1", "tags.fan-1 = 1"),
        ("configurations.[[a-b]].STATUS = 'Applied'", "configurations.a-b.status = 'Applied'"),
    ]);
}

#[test]
fn undefined_is_left_out_of_lists() {
    assert_conditions(&[
        ("tags.a IN [undefined, null, 1]", "tags.a IN [null, 1]"),
        ("tags.a IN [undefined]", "tags.a IN [undefined]"),
    ]);
}
