//! File notifications for services, and access to the files that the hub stores.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{Device, HttpResponse, Hub, Service, Storage, eventually, sas};
use ferrohub_service::{ErrorKind, FileQuery, ServiceClient};
use serde_json::{Value, json};

const PATH: &str = "/messages/serviceBound/filenotifications";

#[track_caller]
fn upload(device: &Device, storage: &Storage, name: &str, seed: u32) -> String {
    let info = device.storage_info(name).unwrap();
    let sent = storage.upload(&info.url(), 100, seed).unwrap();
    device.notify_upload(&info.correlation_id, true).unwrap();
    sent
}

fn token(hub: &Hub) -> String {
    sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"))
}

fn next(hub: &Hub, service: &Service) -> HttpResponse {
    service.http("GET", PATH, Some(&token(hub)), None)
}

/// Settles a received notification with this HTTP method at its lock token.
fn settle(hub: &Hub, service: &Service, verb: &str, received: &HttpResponse, tail: &str) -> HttpResponse {
    let path = format!("{PATH}/{}{tail}?api-version=2021-04-12", received.header("etag").trim_matches('"'));
    service.http(verb, &path, Some(&token(hub)), None)
}

#[test]
fn a_service_receives_and_settles_file_notifications() {
    let settings = "[files]\nnotifications = true\nnotification_lock_seconds = 5";
    let mut hub = Hub::builder().config(settings).start();
    let service = Service::owner(&hub);
    let storage = Storage::start(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    assert_eq!(next(&hub, &service).status, 204);
    let first = upload(&device, &storage, "a b", 1);
    upload(&device, &storage, "c", 2);

    let received = next(&hub, &service);
    assert_eq!(received.status, 200);
    let notification: Value = received.json();
    assert_eq!((&notification["deviceId"], &notification["blobName"]), (&json!("dev1"), &json!("dev1/a b")));
    assert_eq!(notification["blobUri"], format!("https://{}/ferrohub-uploads/dev1/a%20b", hub.name()));
    assert_eq!(notification["blobSizeInBytes"], 100);
    assert!(notification["lastUpdatedTime"].is_string() && notification["enqueuedTimeUtc"].is_string());
    let second = next(&hub, &service);
    assert_eq!(second.json()["blobName"], "dev1/c");
    assert_eq!(next(&hub, &service).status, 204, "both are locked");
    assert_eq!(settle(&hub, &service, "POST", &received, "/abandon").status, 204);
    let again = next(&hub, &service);
    assert_eq!(again.json()["blobName"], "dev1/a b");
    let late = settle(&hub, &service, "DELETE", &received, "");
    assert_eq!(
        (late.status, late.error_code()),
        (412, "DeviceMessageLockLost"),
        "the lock token has changed"
    );
    assert_eq!(settle(&hub, &service, "DELETE", &second, "").status, 204);
    assert_eq!(settle(&hub, &service, "DELETE", &second, "").status, 412);

    // A notification that was not settled, and the file itself, survive a crash.
    hub.kill();
    hub.start_again();
    let again = eventually("the lock expires", Duration::from_secs(20), || {
        Some(next(&hub, &service)).filter(|answer| answer.status == 200)
    });
    assert_eq!(again.json()["blobName"], "dev1/a b");
    assert_eq!(settle(&hub, &service, "DELETE", &again, "").status, 204);
    let owner = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let file = service.http("GET", "/ferrohub/files/dev1/a%20b", Some(&owner), None);
    assert_eq!((file.status, file.header("content-length")), (200, "100"));
    let info = device.storage_info("a b").unwrap();
    assert_eq!(storage.download(&info.url()).unwrap(), first);
    assert_eq!(next(&hub, &service).status, 204);
    for (policy, status) in [("registryRead", 401), ("device", 401)] {
        let shown = hub.command(["policy", "show", policy, "--output", "json"]).success();
        let key = serde_json::from_str::<Value>(&shown).unwrap()["primaryKey"].as_str().unwrap().to_owned();
        let login = format!("HostName={};SharedAccessKeyName={policy};SharedAccessKey={key}", hub.name());
        let token = sas::policy_token(&login);
        for path in [PATH, "/ferrohub/files", "/ferrohub/files/dev1/c"] {
            assert_eq!(service.http("GET", path, Some(&token), None).status, status, "{policy} {path}");
        }
    }
}

#[test]
fn there_are_no_notifications_if_they_are_disabled() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let storage = Storage::start(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    upload(&device, &storage, "f", 1);
    assert_eq!(next(&hub, &service).status, 204);
}

#[tokio::test]
async fn the_rust_client_and_the_command_line_receive_notifications_and_read_files() {
    let hub = Hub::builder().config("[files]\nnotifications = true").start();
    let service = Service::owner(&hub);
    let storage = Storage::start(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    let other = Device::with_identity(&service.create_device("dev2")).start(&hub);
    upload(&device, &storage, "a b", 1);
    upload(&device, &storage, "x/y", 2);
    upload(&other, &storage, "f", 3);
    let ca = std::fs::read(hub.variable("SSL_CERT_FILE")).unwrap();
    let client = ServiceClient::builder_from_connection_string(hub.variable("IOTHUB_CONNECTION_STRING"))
        .unwrap()
        .additional_root_certificates(ca)
        .build()
        .unwrap();
    let first = client.receive_file_notification().await.unwrap().unwrap();
    assert_eq!((first.notification.device_id.as_str(), first.notification.blob_size_in_bytes), ("dev1", 100));
    first.abandon().await.unwrap();
    for name in ["dev1/a b", "dev1/x/y", "dev2/f"] {
        let received = client.receive_file_notification().await.unwrap().unwrap();
        assert_eq!(received.notification.blob_name, name);
        received.clone().complete().await.unwrap();
        let late = received.complete().await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::LockLost);
    }
    assert!(client.receive_file_notification().await.unwrap().is_none());

    upload(&other, &storage, "g", 4);
    let printed = hub.command(["monitor", "files", "--count", "1", "--output", "json"]).success();
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&printed["blobName"], &printed["blobSizeInBytes"]), (&json!("dev2/g"), &json!(100)));
    assert!(client.receive_file_notification().await.unwrap().is_none());
    client.delete_file("dev2/g").await.unwrap();

    let names = async |query: FileQuery| {
        let files = client.list_files(&query).await.unwrap();
        files.into_iter().map(|file| file.blob_name).collect::<Vec<_>>()
    };
    let of_first = FileQuery::new().device_id("dev1");
    assert_eq!(names(of_first).await, ["dev1/a b", "dev1/x/y"]);
    let behind = FileQuery::new().after("dev1/a b").top(1);
    assert_eq!(names(behind).await, ["dev1/x/y"]);
    let mut content = client.open_file("dev1/a b").await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = content.next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(bytes.len(), 100);
    let missing = client.open_file("dev1/none").await.unwrap_err();
    assert_eq!((missing.kind(), missing.code_name()), (ErrorKind::NotFound, Some("GenericNotFound")));

    let listed = hub.command(["files", "list"]).success();
    assert!(listed.contains("dev1/x/y") && listed.contains("application/octet-stream"), "{listed}");
    let to = hub.folder().join("fetched");
    let fetched = hub.command(["files", "get", "dev1/a b", "--to", to.to_str().unwrap()]);
    assert_eq!((fetched.code, std::fs::read(&to).unwrap()), (0, bytes));
    hub.command(["files", "delete", "dev1/a b"]).success();
    assert_eq!(hub.command(["files", "get", "dev1/a b"]).code, 1);
    // The files of a deleted device stay: they belong to the owner.
    service.call("delete_device", &json!({ "device_id": "dev1" })).unwrap();
    let left: Value =
        serde_json::from_str(&hub.command(["files", "list", "--output", "json"]).success()).unwrap();
    assert_eq!((&left[0]["blobName"], &left[1]["blobName"]), (&json!("dev1/x/y"), &json!("dev2/f")));
    client.delete_file("dev1/x/y").await.unwrap();
    assert_eq!(client.delete_file("dev1/x/y").await.unwrap_err().kind(), ErrorKind::NotFound);
}
