use super::*;

/// Text and the message, in which the position is only a column.
fn assert_messages(parse: impl Fn(&str) -> Option<QueryError>, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let error = parse(text).unwrap_or_else(|| panic!("{text} is valid"));
        let message = error.to_string();
        assert_eq!(message.strip_prefix("Line 1, column ").unwrap(), *expected, "{text}");
    }
}

#[test]
fn an_error_in_a_query_names_position_reason_and_remedy() {
    assert_messages(
        |text| parse(text).err(),
        &[
            ("", "1: the text is empty."),
            (" /* */ ", "8: the text is empty."),
            ("tags.a = 1", r#"1: expected SELECT, but found "tags"."#),
            ("SELCT *", r#"1: expected SELECT, but found "SELCT". Did you mean SELECT?"#),
            ("SELECT *", "9: expected FROM, but found the end of the text."),
            ("SELECT * FORM devices", r#"10: expected FROM, but found "FORM". Did you mean FROM?"#),
            ("SELECT FROM devices", r#"8: expected *, a path or an aggregate, but found "FROM"."#),
            (
                "SELECT * FROM device",
                r#"15: expected devices, devices.modules or devices.jobs, but found "device". Did you mean devices?"#,
            ),
            ("SELECT * FROM c", r#"15: expected devices, devices.modules or devices.jobs, but found "c"."#),
            (
                "SELECT * FROM devices.twins",
                r#"23: expected devices, devices.modules or devices.jobs, but found "twins"."#,
            ),
            ("SELECT * FROM (SELECT * FROM devices)", "15: a sub-select is not part of the query language."),
            (
                "SELECT * FROM devices d",
                r#"23: expected WHERE, GROUP BY or the end of the query, but found "d". A collection has no alias: write paths from their first member, such as tags.building."#,
            ),
            (
                "SELECT * FROM devices WERE status = 'enabled'",
                r#"23: expected WHERE, GROUP BY or the end of the query, but found "WERE". Did you mean WHERE?"#,
            ),
            (
                "SELECT * FROM devices ORDER BY deviceId",
                "23: ORDER BY is not part of the query language. Rows are ordered by their ids.",
            ),
            ("SELECT * FROM devices JOIN x", "23: JOIN is not part of the query language."),
            (
                "SELECT * FROM devices LIMIT 3",
                "23: LIMIT is not part of the query language. Use SELECT TOP n.",
            ),
            (
                "SELECT DISTINCT tags.a FROM devices",
                "8: DISTINCT is not part of the query language. Use GROUP BY.",
            ),
            (
                "SELECT * FROM devices; SELECT * FROM devices",
                r#"24: expected the end of the query, but found "SELECT". Send one query at a time."#,
            ),
            (
                "SELECT status, COUNT() FROM devices GROUP BY status HAVING COUNT() > 1",
                "53: HAVING is not part of the query language. Filter the groups in the application.",
            ),
            (
                "SELECT COUNT() FROM devices GROUP BY status, tags.a",
                r#"44: expected the end of the query, but found ",". GROUP BY takes one path."#,
            ),
            (
                "SELECT tags.a, COUNT() FROM devices",
                "8: the column tags.a is neither an aggregate nor the path after GROUP BY.",
            ),
            (
                "SELECT status, tags.a, COUNT() FROM devices GROUP BY status",
                "16: the column tags.a is neither an aggregate nor the path after GROUP BY.",
            ),
            ("SELECT * FROM devices GROUP BY status", "8: SELECT * cannot be combined with GROUP BY."),
            (
                "SELECT COUNT(tags.a) FROM devices",
                "14: expected ), but found \"tags\". COUNT() counts rows; combine it with IS_DEFINED(path) after WHERE.",
            ),
            (
                "SELECT IS_DEFINED(tags.a) FROM devices",
                "8: expected *, a path or an aggregate, but found \"IS_DEFINED\". The aggregates are COUNT, SUM, AVG, MIN and \
             MAX; other functions are allowed after WHERE.",
            ),
            ("SELECT kind floor FROM devices", r#"13: expected FROM, but found "floor"."#),
            ("SELECT TOP -1 * FROM devices", r#"12: expected FROM, but found "-"."#),
            ("SELECT SUM(1) FROM devices", r#"12: expected a path, but found "1"."#),
            ("SELECT tags.a AS 'x' FROM devices", r#"18: expected a name, but found "'x'"."#),
            (
                "SELECT deviceId FROM devices.jobs",
                "8: queries on devices.jobs return whole rows. Use SELECT * FROM devices.jobs, without GROUP BY.",
            ),
        ],
    );
}

#[test]
fn an_error_in_a_condition_names_position_reason_and_remedy() {
    assert_messages(
        |text| parse_filter(text).err(),
        &[
            ("\t", "2: the text is empty."),
            (
                "SELECT * FROM devices",
                "1: expected a condition, but found \"SELECT\". A condition is what follows WHERE; only FROM devices.modules \
             WHERE may precede it.",
            ),
            (
                "WHERE tags.a = 1",
                "1: expected a condition, but found \"WHERE\". A condition is what follows WHERE; only FROM devices.modules \
             WHERE may precede it.",
            ),
            ("* AND true", r#"3: expected the end of the condition, but found "AND"."#),
            ("tags.a = 1;", r#"11: expected AND, OR or the end of the condition, but found ";"."#),
            ("tags.a =", "9: expected a value, but found the end of the text."),
            ("tags.a = AND", r#"10: expected a value, but found "AND"."#),
            ("(tags.a = 1", "12: expected an operator or ), but found the end of the text."),
            ("tags.a == 1", "9: the character '=' is not allowed here. Equality is written with one =."),
            (
                "tags.a = north hall",
                "16: expected AND, OR or the end of the condition, but found \"hall\". String literals need quotes: 'north \
             hall'.",
            ),
            (
                "tags.a = \u{201c}north\u{201d}",
                "10: the character '\u{201c}' is not allowed here. String literals need straight quotes: 'text'.",
            ),
            ("tags.a = 'north", "10: the string has no closing quote."),
            (
                "1 < tags.a < 9",
                "12: expected AND, OR or the end of the condition, but found \"<\". Comparisons cannot be chained: combine two \
             of them with AND.",
            ),
            (
                "NOT tags.a = 1 = true",
                "16: expected AND, OR or the end of the condition, but found \"=\". Comparisons cannot be chained: combine \
                 two of them with AND.",
            ),
            (
                "true = NOT tags.a",
                "8: expected a value, but found \"NOT\". NOT binds weaker than this operator: put NOT and its condition in \
             parentheses.",
            ),
            (
                "tags.a- 1 = 2",
                "9: expected AND, OR or the end of the condition, but found \"1\". A hyphen belongs to the name before it: put \
             a blank before a minus sign.",
            ),
            (
                "tags.a IN ('x')",
                "11: a list in parentheses is not part of the query language. IN takes a list in square brackets: IN ['a', \
             'b'].",
            ),
            (
                "tags.a IN []",
                "12: expected a constant, but found \"]\". A list contains only constants: strings, numbers, \
          true, false, null.",
            ),
            (
                "tags.a IN [tags.b]",
                "12: expected a constant, but found \"tags\". A list contains only constants: strings, \
          numbers, true, false, null.",
            ),
            ("tags.a IN ['x' 'y']", r#"16: expected , or ], but found "'y'"."#),
            (
                "tags.a LIKE 'x'",
                "8: LIKE is not part of the query language. Use STARTSWITH, ENDSWITH or CONTAINS.",
            ),
            (
                "tags.a BETWEEN 1 AND 2",
                "8: BETWEEN is not part of the query language. Use >= and <= with AND.",
            ),
            (
                "tags.a IS NULL",
                "8: IS is not part of the query language. Use IS_NULL(path), IS_DEFINED(path) or = null.",
            ),
            (
                "tags.2nd = 1",
                "6: \"2nd\" is not a number. Other names are written in double brackets after a dot: \
          .[[2nd]], and elements of arrays as [0].",
            ),
            (
                "tags.list.0 = 1",
                "11: expected the name of a member, but found \"0\". Other names are written in double \
          brackets after a dot: .[[0]], and elements of arrays as [0].",
            ),
            ("tags. = 1", r#"7: expected the name of a member, but found "="."#),
            ("tags.list[] = 1", r#"11: expected an index or a name in quotes, but found "]"."#),
            ("tags.list[1:2] = 1", "12: the character ':' is not allowed here."),
            ("tags.list[-1] = 1", r#"11: expected an index or a name in quotes, but found "-"."#),
            (
                "tags.list[4294967296] = 1",
                r#"11: expected an index or a name in quotes, but found "4294967296"."#,
            ),
            ("tags[''] = 1", "6: a name must not be empty."),
        ],
    );
}

#[test]
fn an_unknown_function_is_refused_with_the_name_that_was_meant() {
    assert_messages(
        |text| parse_filter(text).err(),
        &[
            (
                "STARTS_WITH(deviceId, 'a')",
                "1: the function STARTS_WITH is not available in queries on twins and jobs. Did you mean STARTSWITH?",
            ),
            (
                "ends_with(deviceId, 'a')",
                "1: the function ENDS_WITH is not available in queries on twins and jobs. Did you mean ENDSWITH?",
            ),
            ("lower(tags.a) = 'x'", "1: the function LOWER is not available in queries on twins and jobs."),
            ("isdefined(tags.a)", "1: there is no function isdefined. Did you mean IS_DEFINED?"),
            ("frobnicate(tags.a)", "1: there is no function frobnicate."),
            ("COUNT() > 3", "1: the aggregate COUNT is only allowed after SELECT."),
            ("IS_DEFINED()", "1: IS_DEFINED takes 1 argument."),
            ("IS_DEFINED(tags.a, 1)", "1: IS_DEFINED takes 1 argument."),
            ("CONTAINS(tags.a)", "1: CONTAINS takes 2 arguments."),
            ("CONTAINS(tags.a, 'x', true)", "1: CONTAINS takes 2 arguments."),
            ("CONTAINS(tags.a 'x')", r#"17: expected an operator, a comma or ), but found "'x'"."#),
        ],
    );
}

#[test]
fn the_first_error_is_reported() {
    let error = parse("SELECT * FORM devices WHERE a = `b`").unwrap_err();
    assert_eq!(error.hint, Some(Hint::DidYouMean("FROM")));
    assert_eq!(
        parse("SELECT *\nFROM devices\nWHERE é = $ 1").unwrap_err().position.to_string(),
        "Line 3, column 13"
    );
}

#[test]
fn a_long_token_is_shortened_in_errors() {
    let error = parse_filter(&format!("tags.a '{}'", "x".repeat(1000))).unwrap_err();
    assert!(error.to_string().contains("found \"'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\""), "{error}");
}
