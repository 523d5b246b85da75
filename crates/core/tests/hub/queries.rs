//! Queries: how many run at the same time.

use ferrohub_core::HubSettings;
use ferrohub_core::queries::{QueryItems, QueryRequest};
use ferrohub_model::ErrorCode;

use crate::test_hub::TestHub;

fn one_query(settings: &mut HubSettings) {
    settings.limits.queries.concurrent = 1;
    settings.limits.queries.waiting = 0;
}

#[tokio::test(start_paused = true)]
async fn a_query_counts_until_its_page_is_dropped() {
    let hub = TestHub::start_with(one_query).await;
    for id in ["d1", "d2"] {
        hub.create(id).await;
    }
    let _connected = hub.connect("d2").await;
    let service = hub.service().await;
    for text in ["SELECT * FROM devices", "SELECT connectionState FROM devices"] {
        let query = async || {
            service.query_twins(QueryRequest { text: text.to_owned(), ..QueryRequest::default() }).await
        };
        let page = query().await.unwrap();
        assert_eq!(query().await.unwrap_err().code, ErrorCode::ThrottlingException, "{text}");
        let rows = serde_json::to_value(&page.items).unwrap();
        let states = [0, 1].map(|row| rows[row]["connectionState"].as_str().unwrap().to_owned());
        assert_eq!(states, ["Disconnected", "Connected"]);
        drop(page);
        assert!(query().await.is_ok(), "{text}");
    }
    // A page without rows to read needs no slot.
    let none = QueryRequest { text: "SELECT TOP 0 * FROM devices".to_owned(), ..QueryRequest::default() };
    let (first, second) = (service.query_twins(none.clone()).await.unwrap(), service.query_twins(none).await);
    assert!(matches!(&first.items, QueryItems::Twins(twins) if twins.is_empty()));
    assert!(second.is_ok());
}
