//! The results of a query agree with each other.

use ferrohub_query::plan::{Aggregate, Column, Comparison, Condition, GroupValue, Operand, Output};
use ferrohub_query::{Filter, Query};
use proptest::prelude::*;
use serde_json::Value;

use crate::generate;

/// The number of rows that the filter keeps, according to a count.
fn count(filter: &Filter, rows: &[Value]) -> Option<u64> {
    let column = Column { key: "n".to_owned(), value: Aggregate::Count };
    let query = Query { filter: filter.clone(), output: Output::Totals(vec![column]), top: None };
    query.run(rows).first()?.get("n")?.as_u64()
}

fn not(condition: &Condition) -> Condition {
    Condition::Not(Box::new(condition.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_query_has_as_many_rows_as_it_keeps_up_to_its_limit((query, rows) in generate::query_and_rows()) {
        let kept = rows.iter().filter(|row| query.filter.keeps(row)).count();
        let limit = query.top.map_or(usize::MAX, |top| usize::try_from(top).unwrap());
        prop_assert_eq!(count(&query.filter, &rows), Some(u64::try_from(kept).unwrap()));
        let result = query.run(&rows);
        match query.output {
            Output::Documents | Output::Columns(_) => prop_assert_eq!(result.len(), kept.min(limit)),
            Output::Totals(_) => prop_assert_eq!(result.len(), limit.min(1)),
            Output::Groups { .. } => prop_assert!(result.len() <= kept.min(limit)),
        }
    }

    #[test]
    fn the_order_of_the_rows_does_not_matter((query, mut rows) in generate::query_and_rows()) {
        // The ids make the order of the result unique.
        for (index, row) in rows.iter_mut().enumerate() {
            row["deviceId"] = format!("d{index}").into();
        }
        let reversed: Vec<_> = rows.iter().rev().cloned().collect();
        prop_assert_eq!(query.run(&rows), query.run(&reversed));
    }

    #[test]
    fn the_counts_of_groups_add_up((query, rows) in generate::query_and_rows()) {
        if let Output::Groups { by, .. } = query.output {
            let column = Column { key: "n".to_owned(), value: GroupValue::Aggregate(Aggregate::Count) };
            let groups = Query {
                filter: query.filter.clone(),
                output: Output::Groups { by, columns: vec![column] },
                top: None,
            };
            let sum: u64 = groups.run(&rows).iter().filter_map(|row| row["n"].as_u64()).sum();
            prop_assert_eq!(Some(sum), count(&query.filter, &rows));
        }
    }

    #[test]
    fn the_laws_of_three_valued_logic_hold((query, rows) in generate::query_and_rows()) {
        let Some(condition) = query.filter.condition else { return Ok(()) };
        for row in &rows {
            let truth = condition.evaluate(row);
            prop_assert_eq!(not(&not(&condition)).evaluate(row), truth);
            let parts = vec![condition.clone(), Condition::Constant(None)];
            prop_assert_eq!(Condition::All(parts.clone()).evaluate(row), truth.filter(|truth| !truth));
            prop_assert_eq!(Condition::Any(parts).evaluate(row), truth.filter(|truth| *truth));
            // De Morgan.
            if let Condition::All(parts) = &condition {
                let negated = Condition::Any(parts.iter().map(not).collect());
                prop_assert_eq!(negated.evaluate(row), not(&condition).evaluate(row));
            }
            // The opposite operator gives the opposite result, and turned operands the same.
            if let Condition::Compare { operator, left, right } = &condition {
                let (opposite, turned) = match operator {
                    Comparison::Equal => (Comparison::NotEqual, Comparison::Equal),
                    Comparison::NotEqual => (Comparison::Equal, Comparison::NotEqual),
                    Comparison::Less => (Comparison::GreaterOrEqual, Comparison::Greater),
                    Comparison::LessOrEqual => (Comparison::Greater, Comparison::GreaterOrEqual),
                    Comparison::Greater => (Comparison::LessOrEqual, Comparison::Less),
                    Comparison::GreaterOrEqual => (Comparison::Less, Comparison::LessOrEqual),
                };
                let (left, right) = (left.clone(), right.clone());
                let opposite = Condition::Compare { operator: opposite, left: left.clone(), right: right.clone() };
                prop_assert_eq!(opposite.evaluate(row), truth.map(|truth| !truth));
                let turned = Condition::Compare { operator: turned, left: right, right: left };
                prop_assert_eq!(turned.evaluate(row), truth);
            }
            // IN is a chain of comparisons in which other types are unequal.
            if let Condition::In { value, list } = &condition {
                let equals = |element| Condition::Compare {
                    operator: Comparison::Equal,
                    left: value.clone(),
                    right: Operand::Literal(element),
                };
                let mut elements = list.as_slice().iter().cloned();
                let found = elements.any(|element| equals(element).evaluate(row) == Some(true));
                prop_assert_eq!(truth, value.evaluate(row).is_defined().then_some(found));
            }
        }
    }
}
