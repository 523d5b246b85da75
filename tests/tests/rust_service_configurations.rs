//! Configurations with our own service SDK.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::time::Duration;

use ferrohub_acceptance::Hub;
use ferrohub_service::{
    Capabilities, Configuration, ConfigurationContent, ConfigurationQueries, ConfigurationStatus, Device,
    ErrorKind, ServiceClient, Settings,
};
use serde_json::{Value, json};

fn owner(hub: &Hub) -> ServiceClient {
    ServiceClient::builder_from_connection_string(hub.variable("IOTHUB_CONNECTION_STRING"))
        .unwrap()
        .additional_root_certificates(fs::read(hub.variable("SSL_CERT_FILE")).unwrap())
        .build()
        .unwrap()
}

fn settings(value: Value) -> Settings {
    value.as_object().cloned().expect("an object")
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_are_created_read_changed_tested_and_deleted() {
    let hub = Hub::start();
    let client = owner(&hub);
    client.create_device(&Device::new("d")).await.unwrap();
    let content = ConfigurationContent::for_devices(settings(json!({ "properties.desired.rate": 5 })));
    let configuration = Configuration::new("rates", content)
        .with_target_condition("deviceId = 'd'")
        .with_priority(3)
        .with_label("team", "a")
        .with_metric("fast", "SELECT deviceId FROM devices WHERE properties.reported.rate > 4");
    let created = client.create_configuration(&configuration).await.unwrap();
    assert_eq!((created.id.as_str(), created.priority), ("rates", Some(3)));
    let again = client.create_configuration(&configuration).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let twin = client.get_twin("d").await.unwrap();
        if let Some(found) = twin.configurations.get("rates") {
            assert_eq!(found.status, ConfigurationStatus::Applied);
            assert_eq!(twin.properties.unwrap().desired.unwrap()["rate"], 5);
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{twin:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let read = client.get_configuration("rates").await.unwrap();
    assert_eq!((read.system_metrics.results["appliedCount"], read.metrics.results["fast"]), (1, 0));
    let changed = client.update_configuration(&read.clone().with_priority(4)).await.unwrap();
    assert_eq!(changed.priority, Some(4));
    let late = client.update_configuration(&read).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::PreconditionFailed);
    assert_eq!(client.list_configurations(100).await.unwrap().len(), 1);
    let queries = ConfigurationQueries {
        target_condition: Some("tags.a =".to_owned()),
        custom_metric_queries: [("bad".to_owned(), "select *".to_owned())].into(),
    };
    let errors = client.test_configuration_queries(&queries).await.unwrap();
    assert!(errors.target_condition_error.is_some() && errors.custom_metric_query_errors.contains_key("bad"));
    let late = client.delete_configuration("rates", read.etag.as_deref()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::PreconditionFailed);
    client.delete_configuration("rates", changed.etag.as_deref()).await.unwrap();
    assert_eq!(client.get_configuration("rates").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(client.get_configuration("").await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_applied_to_an_edge_device() {
    let hub = Hub::start();
    let client = owner(&hub);
    let mut gate = Device::new("gate");
    gate.capabilities = Some(Capabilities { iot_edge: true });
    client.create_device(&gate).await.unwrap();
    client.create_device(&Device::new("leaf")).await.unwrap();
    let modules = [("m".to_owned(), settings(json!({ "properties.desired": { "interval": 5 } })))];
    let content = ConfigurationContent::for_edge_devices(modules.into());
    client.apply_configuration_content("gate", &content).await.unwrap();
    let twin = client.get_twin("gate/m").await.unwrap();
    assert_eq!(twin.properties.unwrap().desired.unwrap()["interval"], 5);
    let leaf = client.apply_configuration_content("leaf", &content).await.unwrap_err();
    assert_eq!(leaf.kind(), ErrorKind::BadRequest);
    let nobody = client.apply_configuration_content("nobody", &content).await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::NotFound);
    assert_eq!(
        client.apply_configuration_content("", &content).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}
