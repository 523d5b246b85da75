//! A data folder after an accident of its operator: no file and no event is lost at a start.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::fs;
use std::process::Stdio;

use ferrohub_acceptance::{CommandOutput, Device, Hub, Message, Service, Storage, program};

/// Starts a hub that must refuse its data folder, and returns its message.
fn refused(hub: &Hub) -> String {
    let mut command = program();
    command.arg("--config").arg(hub.folder().join("hub.toml")).arg("serve").stdin(Stdio::null());
    let output = CommandOutput::run(&mut command);
    assert_eq!(output.code, 1, "{}", output.stderr);
    output.stderr
}

fn stored_files(hub: &Hub, folder: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(hub.folder().join("data/blobs").join(folder)) else { return Vec::new() };
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn uploaded_files_outlive_a_store_that_is_lost_or_restored_from_an_older_backup() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    hub.stop();
    let store = hub.folder().join("data/hub.db");
    let backup = fs::read(&store).unwrap();
    hub.start_again();
    let storage = Storage::start(&hub);
    let device = Device::with_identity(&identity).start(&hub);
    device.connect().unwrap();
    device.send(&[Message::text("hello")]).unwrap();
    storage.upload(&device.storage_info("f").unwrap().url(), 1000, 1).unwrap();
    let files = stored_files(&hub, "data");
    assert_eq!(files.len(), 1);
    hub.stop();

    fs::remove_file(&store).unwrap();
    let text = refused(&hub);
    assert!(text.contains("hub.db") && text.contains("Restore"), "{text}");
    fs::write(&store, "").unwrap();
    refused(&hub);
    assert_eq!(stored_files(&hub, "data"), files);

    fs::write(&store, backup).unwrap();
    hub.start_again();
    assert_eq!(stored_files(&hub, "set-aside"), files);
    assert!(hub.log().contains("moved files without an entry"), "{}", hub.log());
}

#[test]
fn a_clock_that_had_jumped_ahead_is_named() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    device.connect().unwrap();
    device.send(&[Message::text("hello")]).unwrap();
    hub.stop();
    let events = rusqlite::Connection::open(hub.folder().join("data/events.db")).unwrap();
    let ahead = "UPDATE partition SET last_enqueued = last_enqueued + 86400000 WHERE next > 0";
    assert_eq!(events.execute(ahead, []).unwrap(), 1);
    drop(events);
    hub.start_again();
    let warnings = || hub.log().matches("the clock is behind the newest event").count();
    assert_eq!(warnings(), 1, "{}", hub.log());
    device.send(&[Message::text("again")]).unwrap();
    assert_eq!(warnings(), 1, "{}", hub.log());
}
