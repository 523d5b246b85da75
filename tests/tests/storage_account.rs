//! Files in a configured Azure Storage account, with Microsoft's emulator.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use ferrohub_acceptance::{Azurite, Device, Hub, Service, Storage, sas};
use serde_json::{Value, json};

fn hub(connection_string: &str) -> Hub {
    let files = format!("[files]\nstorage_connection_string = \"{connection_string}\"\nnotifications = true");
    Hub::builder().config(&files).start()
}

/// Returns the URL without TLS, because the emulator has none.
fn plain(url: &str) -> String {
    url.replace("https://", "http://")
}

#[test]
fn files_go_to_a_configured_storage_account() {
    let azurite = Azurite::start();
    let hub = hub(&azurite.connection_string());
    let service = Service::owner(&hub);
    let storage = Storage::start(&hub);
    let container = json!({ "connection_string": azurite.connection_string(), "name": "uploads" });
    storage.call("create_container", &container).unwrap();
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    let info = device.storage_info("folder/a b.bin").unwrap();
    assert_eq!((info.container_name.as_str(), info.blob_name.as_str()), ("uploads", "dev1/folder/a b.bin"));
    let missing = device.notify_upload(&info.correlation_id, true).unwrap_err();
    assert!(missing.cause.contains("400"), "{missing:?}");

    let url = plain(&info.url());
    let upload = json!({
        "url": url, "bytes": 3 * 1024 * 1024, "seed": 5, "single_put": 65536, "block": 1024 * 1024,
    });
    let sent = storage.call("upload", &upload).unwrap();
    device.notify_upload(&info.correlation_id, true).unwrap();
    assert_eq!(storage.download(&url).unwrap(), sent["sha256"]);
    for (from, to) in [("sp=rcw", "sp=rcwd"), ("a%20b.bin", "other"), ("a b.bin", "other")] {
        let changed = url.replace(from, to);
        assert!(changed == url || storage.upload(&changed, 1, 1).is_err(), "{to}");
    }
    let token = sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"));
    let notification = service.http("GET", "/messages/serviceBound/filenotifications", Some(&token), None);
    assert_eq!(notification.status, 200);
    let notification: Value = notification.json();
    assert_eq!(notification["blobSizeInBytes"], 3 * 1024 * 1024);
    assert_eq!(notification["blobUri"], url.split('?').next().unwrap().replace(' ', "%20"));
    // The hub stores no files itself.
    let refusal = service.http("GET", "/ferrohub/files", Some(&token), None);
    assert_eq!((refusal.status, refusal.error_code()), (400, "DefaultStorageEndpointNotConfigured"));
    assert!(!hub.folder().join("data/blobs").exists());
}

#[test]
fn the_error_for_a_storage_account_that_refuses_the_hub_is_distinct() {
    let azurite = Azurite::start();
    let wrong = "//ECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw==";
    let hub = hub(&azurite.connection_string_with(wrong));
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let device = Device::with_identity(&identity).start(&hub);
    let info = device.storage_info("f").unwrap();
    let token = sas::Token {
        resource: &identity.resource(),
        key: &identity.primary_key,
        expiry: sas::now() + 600,
        policy: None,
    };
    let body = json!({ "correlationId": info.correlation_id, "isSuccess": true }).to_string();
    let path = "/devices/dev1/files/notifications?api-version=2019-10-01";
    let refusal = service.http("POST", path, Some(&token.sign()), Some(&body));
    assert_eq!((refusal.status, refusal.error_code()), (400, "InvalidStorageEndpointOrBlob"));
    let log = hub.log();
    assert!(log.contains("the request to the storage account failed") && log.contains("403"), "{log}");
    assert!(!log.contains("sig="), "the log contains no signature");
    assert!(!hub.command(["config"]).success().contains("AccountKey"), "the key is masked");
}
