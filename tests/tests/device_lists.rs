//! Lists of devices: pages, filters, and the clients that read them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::time::Duration;

use ferrohub_acceptance::{Device, HttpResponse, Hub, Service, eventually, sas};
use ferrohub_service::{DeviceQuery, ServiceClient};
use serde_json::{Value, json};

/// Requests `GET /devices` with a query and headers.
fn list(hub: &Hub, service: &Service, query: &str, headers: Value) -> HttpResponse {
    let mut headers = headers;
    headers["Authorization"] = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING")).into();
    service.http_with("GET", &format!("/devices?{query}"), headers, None)
}

fn ids(response: &HttpResponse) -> Vec<String> {
    assert_eq!(response.status, 200, "{}", response.body);
    let devices = response.json();
    let id = |device: &Value| device["deviceId"].as_str().unwrap().to_owned();
    devices.as_array().unwrap().iter().map(id).collect()
}

#[test]
fn devices_are_listed_in_pages_and_filtered() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    for id in ["a-1", "a-2", "a-3", "a-4", "a-5", "b_1", "b%2"] {
        let _ = service.create_device(id);
    }
    let get = |query: &str, headers: Value| list(&hub, &service, query, headers);

    let first = get("", json!({ "x-ms-max-item-count": "3" }));
    assert_eq!(ids(&first), ["a-1", "a-2", "a-3"]);
    assert_eq!(first.header("ferrohub-total-count"), "7");
    let token = first.header("x-ms-continuation");
    service.call("delete_device", &json!({ "device_id": "a-3" })).unwrap();
    let second = get("", json!({ "x-ms-max-item-count": "3", "x-ms-continuation": token }));
    assert_eq!(ids(&second), ["a-4", "a-5", "b%2"], "the page starts after a device that was deleted");
    let token = second.header("x-ms-continuation");
    let last = get("", json!({ "x-ms-max-item-count": "3", "x-ms-continuation": token }));
    assert_eq!((ids(&last), last.header("x-ms-continuation")), (vec!["b_1".to_owned()], ""));
    let exact = get("", json!({ "x-ms-max-item-count": "6" }));
    assert_eq!((ids(&exact).len(), exact.header("x-ms-continuation")), (6, ""));
    let plain = get("top=2", json!({}));
    assert_eq!((ids(&plain).len(), plain.header("x-ms-continuation")), (2, ""), "as Azure without paging");

    assert_eq!(ids(&get("prefix=b%25", json!({}))), ["b%2"]);
    let pumps = get("prefix=a-", json!({ "x-ms-max-item-count": "2" }));
    assert_eq!(ids(&pumps), ["a-1", "a-2"]);
    let token = pumps.header("x-ms-continuation");
    assert_eq!(ids(&get("prefix=a-", json!({ "x-ms-continuation": token }))), ["a-4", "a-5"]);
    assert_eq!(ids(&get("prefix=", json!({}))).len(), 6);
    assert_eq!(ids(&get("connected=true", json!({}))).len(), 0);

    for (query, headers) in [
        ("", json!({ "x-ms-max-item-count": "0" })),
        ("", json!({ "x-ms-max-item-count": "many" })),
        ("", json!({ "x-ms-continuation": "YQ" , "x-ms-max-item-count": "-1" })),
        ("", json!({ "x-ms-continuation": "not base64!" })),
        ("", json!({ "x-ms-continuation": "YSBi" })),
        ("connected=yes", json!({})),
        ("prefix=%ff", json!({})),
    ] {
        let refused = get(query, headers.clone());
        assert_eq!((refused.status, refused.error_code()), (400, "ArgumentInvalid"), "{query} {headers}");
    }
}

#[test]
fn a_device_that_has_just_connected_is_in_the_list_of_connected_devices() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("on")).start(&hub);
    device.connect().unwrap();
    let _ = service.create_device("off");
    let get = |query: &str| ids(&list(&hub, &service, query, json!({})));
    assert_eq!((get("connected=true"), get("connected=false")), (vec!["on".into()], vec!["off".into()]));
    let listed = hub.command(["device", "list", "--connected", "--output", "json"]).success();
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap()[0]["deviceId"], "on");
    device.disconnect();
    eventually("the device is disconnected", Duration::from_secs(10), || {
        get("connected=true").is_empty().then_some(())
    });
    assert_eq!(get("connected=false"), ["off", "on"]);
}

#[tokio::test]
async fn the_rust_sdk_and_the_command_line_list_more_devices_than_a_page_has() {
    let hub = Hub::start();
    let client = ServiceClient::builder_from_connection_string(hub.variable("IOTHUB_CONNECTION_STRING"))
        .unwrap()
        .additional_root_certificates(fs::read(hub.variable("SSL_CERT_FILE")).unwrap())
        .build()
        .unwrap();
    for number in 0..7 {
        client.create_device(&ferrohub_service::Device::new(format!("d{number}"))).await.unwrap();
    }
    let mut stream = client.devices(&DeviceQuery::new().page_size(3));
    assert_eq!(stream.total(), None);
    let mut seen = Vec::new();
    while let Some(device) = stream.next().await {
        seen.push(device.unwrap().device_id);
    }
    assert_eq!(seen, ["d0", "d1", "d2", "d3", "d4", "d5", "d6"]);
    assert_eq!(stream.total(), Some(7));
    assert!(stream.next().await.is_none());
    let mut refused = client.devices(&DeviceQuery::new().page_size(0));
    assert_eq!(refused.next().await.unwrap().unwrap_err().kind(), ferrohub_service::ErrorKind::BadRequest);
    assert!(refused.next().await.is_none(), "a stream ends after an error");

    let cut = hub.command(["device", "list", "--prefix", "d", "--top", "2"]);
    assert_eq!(cut.stderr, "showing the first 2 devices; list more with --top or --all\n");
    let all =
        hub.command(["device", "list", "--all", "--prefix", "d", "--connected=false", "--output", "json"]);
    assert_eq!(all.stderr, "");
    assert_eq!(serde_json::from_str::<Value>(&all.success()).unwrap().as_array().unwrap().len(), 7);
}
