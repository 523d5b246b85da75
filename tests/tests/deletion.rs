//! The deletion of a device removes all its rows and ends its connection and calls. A new device with the same id
//! inherits nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{Device, Hub, Method, Service, eventually};
use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
/// An id that is not part of any other value in the database.
const NAME: &str = "deleted-device";

/// Returns table and column of every cell in the hub's database that contains `text`.
fn cells_with(hub: &Hub, text: &str) -> Vec<String> {
    let file = hub.folder().join("data/hub.db");
    let database = Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut cells = Vec::new();
    for table in tables {
        let mut all = database.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns: Vec<String> = all.column_names().into_iter().map(str::to_owned).collect();
        let mut rows = all.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for (number, column) in columns.iter().enumerate() {
                let found = match row.get::<_, Cell>(number).unwrap() {
                    Cell::Text(cell) => cell.contains(text),
                    Cell::Blob(cell) => cell.windows(text.len()).any(|part| part == text.as_bytes()),
                    _ => false,
                };
                if found {
                    cells.push(format!("{table}.{column}"));
                }
            }
        }
    }
    cells
}

#[test]
fn a_deleted_device_leaves_no_data_behind() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let edge = service.call("create_edge_device", &json!({ "device_id": NAME })).unwrap();
    let identity = ferrohub_acceptance::Identity::from_document(hub.name(), edge.clone());
    let of_module = service.create_module(NAME, "m1");
    let device = Device::with_identity(&identity).option("connection_retry", false).listen(&hub);
    let module = Device::with_identity(&of_module).option("connection_retry", false).listen(&hub);
    for ids in [json!({ "device_id": NAME }), json!({ "device_id": NAME, "module_id": "m1" })] {
        let mut change = ids;
        change["tags"] = json!({ "a": 1 });
        change["desired"] = json!({ "b": 2 });
        service.call("change_twin", &change).unwrap();
    }
    device.report(&json!({ "c": 3 })).unwrap();
    module.report(&json!({ "c": 3 })).unwrap();
    let _upload = device.storage_info("a-file").unwrap();
    service.send(NAME, json!({ "iothub-ack": "full" }), b"hello");
    let tables = cells_with(&hub, NAME);
    for table in ["identity.device_id", "twin.device_id", "message.device_id", "upload.device_id"] {
        assert!(tables.iter().any(|cell| cell == table), "{tables:?}");
    }

    let open = service.begin_invoke(NAME, Method::new("silence").response_timeout(60));
    let _ = device.next_request();
    service.call("delete_device", &json!({ "device_id": NAME })).unwrap();
    let cells = cells_with(&hub, NAME);
    assert!(cells.is_empty(), "directly after the deletion: {cells:?}");
    let refusal = open.wait().unwrap_err();
    assert_eq!((refusal.http.status, refusal.http.error_code()), (404, "DeviceNotOnline"));
    device.wait_until_connected(false, SOON);
    module.wait_until_connected(false, SOON);
    assert_eq!(device.connect().unwrap_err().exception, "CredentialError");
    let refusal = service.invoke(NAME, Method::new("echo")).unwrap_err();
    assert_eq!((refusal.http.status, refusal.http.error_code()), (404, "DeviceNotFound"));

    let keys = json!({
        "device_id": NAME, "primary_key": identity.primary_key, "secondary_key": identity.secondary_key,
    });
    let again = service.call("create_device_with_sas", &keys).unwrap();
    assert_ne!(again["generationId"], edge["generationId"]);
    assert_eq!(again["lastActivityTime"], "0001-01-01T00:00:00.000Z");
    assert_eq!(again["connectionStateUpdatedTime"], "0001-01-01T00:00:00.000Z");
    assert_eq!(again.get("deviceScope"), None);
    assert_eq!(again["cloudToDeviceMessageCount"], 0);
    let twin = service.call("get_twin", &json!({ "device_id": NAME })).unwrap();
    assert_eq!((&twin["version"], &twin["tags"]), (&json!(2), &json!({})));
    assert_eq!(service.call("get_modules", &json!({ "device_id": NAME })).unwrap(), json!([]));
    // Microsoft's client connects with the same keys and does not subscribe again: the new device has no subscriptions.
    device.connect().unwrap();
    let refusal = eventually("the device is connected", SOON, || {
        let seen: Value = service.call("get_device", &json!({ "device_id": NAME })).unwrap();
        (seen["connectionState"] == "Connected")
            .then(|| service.invoke(NAME, Method::new("echo")).unwrap_err())
    });
    assert_eq!(refusal.http.error_code(), "DeviceNotOnline");
}
