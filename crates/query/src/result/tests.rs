use serde_json::{Value, json};

use crate::{Dialect, Limits, Query};

/// Twins of devices `a`, `b`, … with these tags, last first.
fn twins(tags: &[Value]) -> Vec<Value> {
    let ids = 'a'..='z';
    let mut twins: Vec<_> =
        ids.zip(tags).map(|(id, tags)| json!({ "deviceId": id.to_string(), "tags": tags })).collect();
    twins.reverse();
    twins
}

fn run(text: &str, rows: &[Value]) -> Vec<Value> {
    let query =
        Query::parse(text, Dialect::Twins, &Limits::QUERY).unwrap_or_else(|error| panic!("{text}: {error}"));
    query.run(rows).into_iter().map(std::borrow::Cow::into_owned).collect()
}

#[test]
fn documents_are_returned_unchanged_in_the_order_of_their_ids() {
    let rows = twins(&[json!({ "x": 1.0 }), json!({ "x": 2 }), json!({ "x": [] })]);
    let sorted: Vec<_> = rows.iter().rev().cloned().collect();
    assert_eq!(run("SELECT * FROM devices", &rows), sorted);
    assert_eq!(run("SELECT TOP 2 * FROM devices", &rows), sorted[..2]);
    assert_eq!(run("SELECT TOP 0 * FROM devices", &rows), Vec::<Value>::new());
}

#[test]
fn modules_are_ordered_by_device_and_jobs_by_creation() {
    let module = |device: &str, module: &str| json!({ "deviceId": device, "moduleId": module });
    let rows = [module("b", "a"), module("a", "z"), module("a", "B")];
    let expected = [module("a", "B"), module("a", "z"), module("b", "a")];
    assert_eq!(run("SELECT * FROM devices.modules", &rows), expected);
    let job = |created: &str, job: &str, device: &str| json!({ "createdDateTimeUtc": created, "jobId": job, "deviceId": device });
    let rows = [job("2", "a", "a"), job("1", "b", "a"), job("1", "a", "b"), job("1", "a", "a")];
    let expected = [job("1", "a", "a"), job("1", "a", "b"), job("1", "b", "a"), job("2", "a", "a")];
    assert_eq!(run("SELECT * FROM devices.jobs", &rows), expected);
}

#[test]
fn a_column_without_value_is_left_out_and_the_row_stays() {
    let rows = twins(&[json!({ "x": null, "y": { "z": 1.0 } }), json!({})]);
    assert_eq!(
        run("SELECT tags.x, tags.y.z AS depth, tags.y FROM devices", &rows),
        [json!({ "x": null, "depth": 1.0, "y": { "z": 1.0 } }), json!({})]
    );
    assert_eq!(run("SELECT unknown FROM devices", &rows), [json!({}), json!({})]);
}

#[test]
fn of_two_columns_with_one_key_the_later_value_counts() {
    let rows = twins(&[json!({ "x": 1, "in": { "x": 2 } }), json!({ "x": 1 })]);
    assert_eq!(run("SELECT tags.x, tags.in.x FROM devices", &rows), [json!({ "x": 2 }), json!({ "x": 1 })]);
}

#[test]
fn totals_are_one_row_also_without_rows() {
    let text = "SELECT COUNT(), SUM(tags.n) AS sum, AVG(tags.n) AS mean, MIN(tags.n) AS low, MAX(tags.n) AS high \
                FROM devices";
    assert_eq!(run(text, &[]), [json!({ "_1": 0 })]);
    let rows = twins(&[
        json!({ "n": 3 }),
        json!({ "n": "9" }),
        json!({ "n": null }),
        json!({ "n": -0.5 }),
        json!({}),
    ]);
    assert_eq!(run(text, &rows), [json!({ "_1": 5, "sum": 2.5, "mean": 1.25, "low": -0.5, "high": 3 })]);
    assert_eq!(run("SELECT TOP 0 COUNT() FROM devices", &rows), Vec::<Value>::new());
}

#[test]
fn a_sum_is_an_integer_where_it_can_be() {
    let total = |numbers: [Value; 2]| {
        let rows = twins(&numbers.map(|number| json!({ "n": number })));
        run("SELECT SUM(tags.n) AS n FROM devices", &rows).remove(0)["n"].to_string()
    };
    assert_eq!(total([json!(1.5), json!(2.5)]), "4");
    assert_eq!(total([json!(9_007_199_254_740_993_i64), json!(2)]), "9007199254740995");
    assert_eq!(total([json!(i64::MAX), json!(1)]), "9.223372036854776e+18");
    assert_eq!(total([json!(1e308), json!(1e308)]), "null", "beyond doubles");
    assert_eq!(total([json!("1"), json!(true)]), "null");
}

#[test]
fn the_least_and_greatest_strings_count_without_numbers() {
    let text = "SELECT MIN(tags.v) AS low, MAX(tags.v) AS high FROM devices";
    let rows = twins(&[json!({ "v": "b" }), json!({ "v": "B" }), json!({ "v": false }), json!({ "v": [0] })]);
    assert_eq!(run(text, &rows), [json!({ "low": "B", "high": "b" })]);
    let rows = twins(&[json!({ "v": "b" }), json!({ "v": 2 }), json!({ "v": 3.0 })]);
    assert_eq!(run(text, &rows), [json!({ "low": 2, "high": 3 })]);
}

#[test]
fn groups_are_ordered_by_type_and_value() {
    let values = [
        json!("b"),
        json!([2, 1]),
        json!(10),
        json!({ "b": 1 }),
        json!(true),
        json!("B"),
        json!(null),
        json!(9.5),
        json!(false),
        json!([10]),
    ];
    let mut tags: Vec<_> = values.iter().map(|value| json!({ "v": value })).collect();
    tags.push(json!({}));
    let rows = run("SELECT tags.v FROM devices GROUP BY tags.v", &twins(&tags));
    let expected = [
        json!({}),
        json!({ "v": null }),
        json!({ "v": false }),
        json!({ "v": true }),
        json!({ "v": 9.5 }),
        json!({ "v": 10 }),
        json!({ "v": "B" }),
        json!({ "v": "b" }),
        json!({ "v": [10] }),
        json!({ "v": [2, 1] }),
        json!({ "v": { "b": 1 } }),
    ];
    assert_eq!(rows, expected);
    assert_eq!(run("SELECT TOP 3 tags.v FROM devices GROUP BY tags.v", &twins(&tags)), expected[..3]);
}

#[test]
fn equal_values_form_a_group_and_each_has_its_aggregates() {
    let rows = twins(&[
        json!({ "v": 2.0, "n": 1 }),
        json!({ "v": 2, "n": 5 }),
        json!({ "v": { "a": 1, "b": [] }, "n": 7 }),
        json!({ "v": { "b": [], "a": 1 } }),
        json!({ "n": 3 }),
    ]);
    assert_eq!(
        run(
            "SELECT MAX(tags.n), tags.v AS key, COUNT() AS count, tags.v FROM devices GROUP BY tags.v",
            &rows
        ),
        [
            json!({ "_1": 3, "count": 1 }),
            json!({ "_1": 5, "key": 2, "count": 2, "v": 2 }),
            json!({ "_1": 7, "key": { "a": 1, "b": [] }, "count": 2, "v": { "a": 1, "b": [] } }),
        ]
    );
    assert_eq!(run("SELECT COUNT() FROM devices WHERE false GROUP BY tags.v", &rows), Vec::<Value>::new());
}
