//! The limits of a page.

use std::time::Duration;

use ferrohub_core::queries::{Page, PageItems, QueryFailure, QueryLimits, QueryStore as _};
use ferrohub_core::store::Store as _;
use ferrohub_core::twins::TwinStore as _;
use serde_json::json;

use crate::fixture::{Fleet, parse, stored};

async fn fleet(count: usize) -> Fleet {
    let tags = |index| json!({ "n": index, "text": "x".repeat(100), "kind": "lamp" });
    Fleet::new((0..count).map(|index| stored(&format!("d{index:05}"), tags(index))).collect()).await
}

fn count(page: &Page) -> usize {
    match &page.items {
        PageItems::Twins(twins) => twins.len(),
        PageItems::Rows(rows) => rows.len(),
    }
}

#[tokio::test]
async fn a_page_has_at_most_its_bytes_and_at_least_one_row() {
    let fleet = fleet(30).await;
    for (query, bytes, rows) in [
        ("SELECT * FROM devices", 1, 1),
        ("SELECT * FROM devices", 5000, 4),
        ("SELECT tags.text FROM devices", 1, 1),
        ("SELECT tags.text FROM devices", 1060, 10),
        // The path has an index.
        ("SELECT * FROM devices WHERE tags.kind = 'lamp'", 5000, 4),
        ("SELECT tags.text FROM devices WHERE tags.kind = 'lamp'", 1060, 10),
        ("SELECT tags.n, COUNT() FROM devices GROUP BY tags.n", 1, 1),
    ] {
        let query = parse(query);
        let mut request = fleet.request(&query, 100);
        request.limits.page_bytes = bytes;
        let (mut total, mut pages) = (0, 0);
        loop {
            let page = fleet.store.run_query(request.clone()).await.unwrap();
            assert!((1..=rows + 1).contains(&count(&page)), "{query}: {}", count(&page));
            total += count(&page);
            pages += 1;
            match page.next {
                None => break,
                next => request.position = next,
            }
        }
        assert_eq!(total, 30, "{query}");
        assert!(pages >= 30 / (rows + 1), "{query}: {pages}");
    }
}

#[tokio::test]
async fn a_query_with_too_many_groups_is_stopped() {
    let fleet = fleet(30).await;
    let run = async |query: &str, groups, group_bytes| {
        let query = parse(query);
        let mut request = fleet.request(&query, 100);
        request.limits = QueryLimits { groups, group_bytes, ..request.limits };
        fleet.store.run_query(request).await
    };
    let by_number = "SELECT COUNT() FROM devices GROUP BY tags.n";
    const MANY: usize = 1_000_000;
    assert_eq!(count(&run(by_number, 30, MANY).await.unwrap()), 30);
    assert!(matches!(run(by_number, 29, MANY).await, Err(QueryFailure::TooManyGroups)));
    assert!(matches!(run(by_number, 30, 1000).await, Err(QueryFailure::TooManyGroups)));
    assert_eq!(count(&run("SELECT COUNT() FROM devices GROUP BY tags.text", 1, 1000).await.unwrap()), 1);
    // The totals of a group count, and the strings in them.
    let minima: Vec<_> = (0..100).map(|number| format!("MIN(tags.text) AS c{number}")).collect();
    let many_minima = format!("SELECT {} FROM devices GROUP BY tags.text", minima.join(", "));
    assert!(matches!(run(&many_minima, 1, 10_000).await, Err(QueryFailure::TooManyGroups)));
    assert_eq!(count(&run(&many_minima, 1, 100_000).await.unwrap()), 1);
}

/// A condition that takes long on each twin.
fn slow_condition() -> String {
    let part = "CONTAINS(tags.text, tags.n + 1 = 2)";
    vec![part; 200].join(" OR ")
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_stopped_and_others_are_not() {
    let fleet = fleet(3000).await;
    let query = parse(&format!("SELECT COUNT() FROM devices WHERE {}", slow_condition()));
    let mut request = fleet.request(&query, 100);
    request.limits.duration = Duration::from_millis(50);
    let started = tokio::time::Instant::now();
    assert!(matches!(fleet.store.run_query(request.clone()).await, Err(QueryFailure::TimedOut)));
    assert!(started.elapsed() < Duration::from_secs(5));
    // The connection is usable, and has no time limit left over.
    for _ in 0..4 {
        let rows = fleet.rows("SELECT COUNT() AS n FROM devices WHERE tags.n >= 0").await;
        assert_eq!(rows[0]["n"], 3000);
    }
    // A page that has rows when its time is over is short, and the next page continues.
    let query = parse(&format!("SELECT * FROM devices WHERE tags.n = 0 OR {}", slow_condition()));
    let mut request = fleet.request(&query, 100);
    request.limits.duration = Duration::from_millis(200);
    let page = fleet.store.run_query(request).await.unwrap();
    assert_eq!(count(&page), 1);
    assert!(page.next.is_some());
}

#[tokio::test]
async fn a_cancelled_query_ends_and_reads_never_wait_for_queries() {
    let fleet = fleet(3000).await;
    let query = parse(&format!("SELECT COUNT() FROM devices WHERE {}", slow_condition()));
    let mut request = fleet.request(&query, 100);
    request.limits.duration = Duration::from_secs(600);
    let running: Vec<_> = (0..8)
        .map(|_| tokio::time::timeout(Duration::from_millis(100), fleet.store.run_query(request.clone())))
        .collect();
    let id = "d00001".parse().unwrap();
    let (cancelled, read) = tokio::join!(futures_util::future::join_all(running), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        tokio::time::timeout(Duration::from_secs(5), fleet.store.twin(&id)).await
    });
    assert!(cancelled.iter().all(Result::is_err));
    assert!(read.unwrap().unwrap().is_some());
    // The queries have ended: the store closes without waiting for them.
    tokio::time::timeout(Duration::from_secs(10), fleet.store.close()).await.unwrap();
}
