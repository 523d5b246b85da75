use super::*;

fn refusal(text: &str, limits: &Limits) -> Option<(LimitName, usize)> {
    match Filter::parse(text, Dialect::Twins, limits) {
        Ok(_) => None,
        Err(error) => match error.reason {
            Reason::Limit { name, limit } => Some((name, limit)),
            other => panic!("{other}"),
        },
    }
}

#[test]
fn a_text_has_at_most_8192_characters() {
    // Four bytes each.
    let text = |characters: usize| format!("tags.a = '{}'", "\u{1f600}".repeat(characters - 11));
    assert_eq!(refusal(&text(8192), &Limits::QUERY), None);
    assert_eq!(refusal(&text(8193), &Limits::QUERY), Some((LimitName::Characters, 8192)));
    assert_eq!(refusal(&text(8193), &Limits::JOB_CONDITION), None);
}

#[test]
fn expressions_are_nested_at_most_64_levels_deep() {
    type Nest = fn(usize) -> String;
    let nests: [(&str, Nest); 7] = [
        ("parentheses", |depth| format!("{}true{}", "(".repeat(depth), ")".repeat(depth))),
        ("calls", |depth| format!("{}tags.a{}", "is_defined(".repeat(depth), ")".repeat(depth))),
        ("negations", |depth| format!("{}true", "NOT ".repeat(depth))),
        ("signs", |depth| format!("{}tags.a = 1", "- ".repeat(depth))),
        ("sums", |depth| format!("tags.a{} = 1", " + 1".repeat(depth))),
        ("nested sums", |depth| {
            format!("({}1{}){} = 1", "(".repeat(20), ")".repeat(20), " * 2".repeat(depth - 21))
        }),
        ("sums with calls", |depth| {
            format!("is_defined({}1{}){} = 1", "(".repeat(20), ")".repeat(20), " * 2".repeat(depth - 21))
        }),
    ];
    for (name, nest) in nests {
        assert_eq!(refusal(&nest(64), &Limits::QUERY), None, "{name}");
        assert_eq!(refusal(&nest(65), &Limits::QUERY), Some((LimitName::Depth, 64)), "{name}");
    }
}

#[test]
fn and_or_and_neighbouring_parentheses_do_not_nest() {
    let many = vec!["(tags.a = 1 OR tags.b = 2)"; 250].join(" AND ");
    assert_eq!(refusal(&many, &Limits::QUERY), None);
}

#[test]
fn a_list_has_at_most_1000_elements() {
    let text = |elements| format!("tags.a IN [{}]", vec!["1"; elements].join(","));
    assert_eq!(refusal(&text(1000), &Limits::QUERY), None);
    assert_eq!(refusal(&text(1001), &Limits::QUERY), Some((LimitName::ListElements, 1000)));
    assert_eq!(refusal(&text(20_000), &Limits::JOB_CONDITION), None);
    assert_eq!(refusal(&text(20_001), &Limits::JOB_CONDITION), Some((LimitName::ListElements, 20_000)));
}

#[test]
fn a_query_has_at_most_100_columns() {
    let text = |columns| format!("SELECT {} FROM devices", vec!["etag"; columns].join(","));
    assert!(parse(&text(100)).is_ok());
    let reason = Reason::Limit { name: LimitName::Columns, limit: 100 };
    assert_eq!(parse(&text(101)).unwrap_err().reason, reason);
}

#[test]
fn a_path_has_at_most_32_members() {
    let text = |members| format!("tags{} = 1", ".a".repeat(members));
    assert_eq!(refusal(&text(32), &Limits::QUERY), None);
    assert_eq!(refusal(&text(33), &Limits::QUERY), Some((LimitName::PathMembers, 32)));
}

#[test]
fn the_refusal_names_the_limit() {
    let error = parse_filter(&"NOT ".repeat(65)).unwrap_err();
    assert_eq!(error.to_string(), "Line 1, column 261: a query has at most 64 nested levels.");
}
