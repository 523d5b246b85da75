//! `ferrohub backup` and `ferrohub restore` with a hub that works meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ferrohub_acceptance::{
    CommandOutput, Device, Event, EventReaderClient, Events, Hub, Identity, Message, Service, SmallDisk,
    Storage, eventually, program,
};
use ferrohub_service::{ErrorKind, EventPosition, EventStart, ServiceClient};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

fn path(hub: &Hub, name: &str) -> PathBuf {
    hub.folder().join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Moves the data folder aside and restores a backup in its place. Returns the report.
fn restore(hub: &Hub, archive: &Path) -> Value {
    let old = path(hub, "data.old");
    fs::rename(path(hub, "data"), &old).unwrap();
    let output = hub.command(["restore", text(archive), "--compare-with", text(&old), "--output", "json"]);
    serde_json::from_str(&output.success()).unwrap()
}

/// The files in a folder, by their paths in it.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn generation(service: &Service, hub: &Hub, identity: &Identity) -> Value {
    let token = ferrohub_acceptance::sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let path = format!("/devices/{}?api-version=2021-04-12", identity.device_id);
    service.http("GET", &path, Some(&token), None).json()["generationId"].clone()
}

/// The last event of a partition that has several.
fn last_of(events: &[Event], partition: u64) -> &Event {
    events.iter().rfind(|event| event.partition() == partition).expect("an event")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_a_backup_survives_and_readers_beyond_it_are_refused() {
    let mut hub = Hub::builder().with_development_issuer().start();
    let service = Service::owner(&hub);
    let storage = Storage::start(&hub);
    let known: Vec<Identity> = (0..3).map(|number| service.create_device(&format!("dev{number}"))).collect();
    let generations: Vec<Value> = known.iter().map(|device| generation(&service, &hub, device)).collect();
    let device = Device::with_identity(&known[0]).option("connection_retry", false).start(&hub);
    device.connect().unwrap();
    device.send(&[Message::text("before 0"), Message::text("before 1")]).unwrap();
    let uploaded = storage.upload(&device.storage_info("before.bin").unwrap().url(), 300_000, 1).unwrap();
    let before = Events::new(&hub, &service).all();
    let partition = before[0].partition();
    let last_before = last_of(&before, partition).clone();

    // Load: devices are created, telemetry is sent, and a file is replaced again and again.
    let headers = json!({
        "Authorization": ferrohub_acceptance::sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING")),
    });
    let creations = service
        .begin("create_until_failure", &json!({ "url": hub.url(), "prefix": "load", "headers": headers }));
    let telemetry = device.begin_sending_until_failure("load-");
    let uploader = Device::with_identity(&known[1]).start(&hub);
    let replaced = uploader.storage_info("replaced.bin").unwrap().url();
    storage.upload(&replaced, 100_000, 2).unwrap();
    let uploads = storage.begin("upload", &json!({ "url": replaced, "bytes": 8_000_000, "seed": 3 }));
    let archive = path(&hub, "b.tar");
    let report: Value =
        serde_json::from_str(&hub.command(["backup", text(&archive), "--output", "json"]).success()).unwrap();
    assert_eq!(fs::metadata(&archive).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!((&report["files"], &report["damagedFiles"]), (&json!(2), &json!(0)), "{report}");
    let _ = uploads.wait();

    // After the backup: a device is deleted, and readers go on.
    let client =
        ServiceClient::builder_from_connection_string(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"))
            .unwrap()
            .additional_root_certificates(fs::read(hub.variable("SSL_CERT_FILE")).unwrap())
            .build()
            .unwrap();
    let sent = before.len() + 20;
    let later = eventually("events after the backup", LIMIT, || {
        let all = Events::new(&hub, &service).all();
        (all.iter().filter(|event| event.partition() == partition).count() >= sent).then_some(all)
    });
    let stale = last_of(&later, partition).clone();
    let stale_position: EventPosition = stale.position().parse().unwrap();
    let mut stream = client
        .events()
        .partition(partition as u16)
        .start(EventStart::After(stale_position.clone()))
        .open()
        .await
        .unwrap();
    stream.next().await.unwrap().unwrap();
    service.call("delete_device", &json!({ "device_id": "dev2" })).unwrap();
    hub.kill();
    let _ = (creations.wait(), telemetry.wait());
    drop((device, uploader));

    let restored = restore(&hub, &archive);
    assert_eq!(restored["comparison"]["deletedIdentities"], json!({ "count": 1, "names": ["dev2"] }));
    assert!(restored["comparison"]["lostEvents"].as_u64().unwrap() > 0, "{restored}");
    // Everything in a data folder is in a backup, or is made again.
    let made_again = |file: &str| {
        ["endpoints.json", "hub.lock", "hub.log"].contains(&file)
            || file.ends_with("-wal")
            || file.ends_with("-shm")
            || ["blobs/parts/", "blobs/blocks/", "blobs/data/"].iter().any(|folder| file.starts_with(folder))
    };
    let in_backup = files(&path(&hub, "data"));
    let missing: Vec<String> = files(&path(&hub, "data.old"))
        .into_iter()
        .filter(|file| !in_backup.contains(file) && !made_again(file))
        .collect();
    assert_eq!(missing, [""; 0]);
    hub.start_again();

    for (device, generation_before) in known.iter().zip(&generations) {
        assert_eq!(generation(&service, &hub, device), *generation_before, "{}", device.device_id);
    }
    for device in &known {
        Device::with_identity(device).start(&hub).connect().unwrap();
    }
    let events = Events::new(&hub, &service);
    let all = events.all();
    for event in &before {
        assert!(all.contains(event), "{event:?}");
    }
    let list = hub.command(["files", "list", "--output", "json"]).success();
    assert!(list.contains("dev0/before.bin") && list.contains("dev1/replaced.bin"), "{list}");
    let download = path(&hub, "download");
    hub.command(["files", "get", "dev0/before.bin", "--to", text(&download)]).success();
    let sum = Command::new("sha256sum").arg(&download).output().unwrap();
    assert_eq!(String::from_utf8(sum.stdout).unwrap().split(' ').next().unwrap(), uploaded);

    // A reader that has read no lost event goes on; the others are refused, also when the log has grown.
    let on = events.get(&format!("position={}&partition={partition}&wait=0", last_before.position()));
    assert!(on.iter().all(|event| event.sequence() > last_before.sequence()));
    let device = Device::with_identity(&known[0]).start(&hub);
    device
        .send(&(0..30).map(|number| Message::text(&format!("after {number}"))).collect::<Vec<_>>())
        .unwrap();
    let response = events.request(&format!("position={}&wait=0", stale.position()));
    assert_eq!((response.status, response.error_code()), (400, "ArgumentInvalid"), "{}", response.body);
    assert!(response.body.contains("from a backup of"), "{}", response.body);
    // The stream of before first returns what it had received.
    let error_of_stream = loop {
        match stream.next().await.unwrap() {
            Ok(event) => assert!(event.body.to_text().starts_with("load-"), "{event:?}"),
            Err(error) => break error,
        }
    };
    for error in
        [error_of_stream, client.events().start(EventStart::After(stale_position)).open().await.unwrap_err()]
    {
        assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}");
        assert!(error.to_string().contains("from a backup of"), "{error}");
    }
    // With retries, this client reconnects for ever instead of reporting an error of this kind.
    let reader = EventReaderClient::python(&hub, json!({ "retry_total": 0 }));
    for position in [json!(stale.sequence().to_string()), json!(stale.sequence())] {
        let arguments = json!({ "count": 1, "partition_id": partition.to_string(), "position": position });
        let error = reader.receive_error(&arguments);
        assert!(error["message"].as_str().unwrap().contains("from a backup of"), "{error}");
    }
    let after = events.all().into_iter().find(|event| event.body() == "after 0").unwrap();
    let arguments = json!({
        "count": 2, "partition_id": partition.to_string(), "position": after.sequence().to_string(),
    });
    let next = reader.receive(&arguments);
    assert_eq!((&next[0]["body"], &next[1]["body"]), (&json!("after 1"), &json!("after 2")));
}

/// Starts a backup with the configuration of a hub.
fn begin_backup(hub: &Hub, file: &str) -> Child {
    let mut command = program();
    command.arg("--config").arg(path(hub, "hub.toml")).args(["backup", file]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Adds a large file to the data folder of a stopped hub.
fn add_large_file(hub: &Hub, bytes: u64) {
    let name = "0123456789abcdef".repeat(2);
    let data = path(hub, "data");
    File::create(data.join("blobs/data").join(&name)).unwrap().set_len(bytes).unwrap();
    let store = rusqlite::Connection::open(data.join("hub.db")).unwrap();
    let insert = "INSERT INTO blob (name, file, bytes, etag, modified, properties) \
                  VALUES ('dev1/large', ?, ?, '0x1', 0, '{}')";
    store.execute(insert, (name, bytes as i64)).unwrap();
}

#[test]
fn a_backup_that_is_killed_leaves_no_file_that_looks_whole() {
    const LARGE: u64 = 128 << 20;
    let mut hub = Hub::start();
    let _ = Service::owner(&hub).create_device("dev1");
    hub.stop();
    add_large_file(&hub, LARGE);
    hub.start_again();
    let archive = path(&hub, "b.tar");
    let partial = path(&hub, "b.tar.partial/archive");
    let written = || fs::metadata(&partial).map_or(0, |file| file.len());
    let target = path(&hub, "restored");
    let restored = |file: &Path| hub.command(["restore", text(file), "--data-dir", text(&target)]);
    let mut killed = 0;
    for bytes in [1, LARGE / 8, LARGE / 2] {
        let mut backup = begin_backup(&hub, text(&archive));
        while written() < bytes && backup.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        backup.kill().unwrap();
        backup.wait().unwrap();
        if archive.exists() {
            // The signal came too late.
            restored(&archive).success();
            fs::remove_dir_all(&target).unwrap();
            fs::remove_file(&archive).unwrap();
            continue;
        }
        killed += 1;
        let output = restored(&partial);
        assert_eq!(output.code, 1, "{}", output.stderr);
        let refusals = ["is not complete", "not a backup of Ferrohub"];
        assert!(refusals.iter().any(|refusal| output.stderr.contains(refusal)), "{}", output.stderr);
        assert_eq!(files(&target), ["hub.lock"]);
    }
    assert!(killed > 0, "every backup ended before it was killed");
    // To the standard output: the reader has the first megabyte.
    let mut backup = begin_backup(&hub, "-");
    let mut begin = vec![0; 1 << 20];
    backup.stdout.as_mut().unwrap().read_exact(&mut begin).unwrap();
    backup.kill().unwrap();
    backup.wait().unwrap();
    let cut = path(&hub, "cut.tar");
    fs::write(&cut, begin).unwrap();
    let output = restored(&cut);
    assert!(output.code == 1 && output.stderr.contains("is not complete"), "{}", output.stderr);

    hub.command(["backup", text(&archive)]).success();
    assert!(!path(&hub, "b.tar.partial").exists());
    // A restore that is killed begins anew, and until then no hub starts there.
    for attempt in 1.. {
        let mut restore = program();
        restore.arg("--config").arg(path(&hub, "hub.toml")).args(["restore", text(&archive), "--data-dir"]);
        let mut restore = restore.arg(&target).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !target.join("restoring/blobs/data").exists() && restore.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        restore.kill().unwrap();
        restore.wait().unwrap();
        if !target.join("hub.db").exists() {
            break;
        }
        assert!(attempt < 5, "every restore ended before it was killed");
        fs::remove_dir_all(&target).unwrap();
    }
    let output = hub.command(["serve", "--data-dir", text(&target)]);
    assert!(output.code == 1 && output.stderr.contains("unfinished restore"), "{}", output.stderr);
    hub.command(["restore", text(&archive), "--data-dir", text(&target)]).success();
    assert_eq!(
        fs::metadata(target.join("blobs/data").join("0123456789abcdef".repeat(2))).unwrap().len(),
        LARGE
    );
}

#[test]
fn a_backup_of_a_stopped_hub_is_the_same_and_its_errors_name_the_remedy() {
    let mut hub = Hub::start();
    let _ = Service::owner(&hub).create_device("dev1");
    hub.stop();
    let archive = path(&hub, "b.tar");
    hub.command(["backup", text(&archive)]).success();
    let refused = |arguments: &[&str], expected: &str| {
        let output = hub.command(arguments.iter().copied());
        assert_eq!(output.code, 1, "{arguments:?}: {}", output.stderr);
        assert!(output.stderr.contains(expected), "{arguments:?}: {}", output.stderr);
    };
    refused(&["backup", text(&archive)], "overwrites nothing");
    refused(&["backup", text(&path(&hub, "data/b.tar"))], "is in the data folder");
    refused(&["backup", text(&path(&hub, "missing/b.tar"))], "cannot write to the folder");
    refused(&["backup", text(&path(&hub, "c.tar")), "--data-dir", "/nonexistent"], "there is no hub in");
    refused(&["restore", text(&archive)], "is not empty");
    refused(
        &["restore", text(&path(&hub, "hub.toml")), "--data-dir", text(&path(&hub, "new"))],
        "not a backup",
    );
    refused(&["restore", "/nonexistent.tar"], "cannot read /nonexistent.tar");
    assert!(!path(&hub, "c.tar").exists() && !path(&hub, "c.tar.partial").exists());
    // Through a pipe.
    let (bare, config, new) = (program(), path(&hub, "hub.toml"), path(&hub, "piped"));
    let binary = Path::new(bare.get_program());
    let pipe = format!(
        "'{0}' --config '{1}' backup - | '{0}' --config '{1}' restore - --data-dir '{2}'",
        binary.display(),
        config.display(),
        new.display()
    );
    CommandOutput::run(Command::new("sh").args(["-c", &pipe])).success();
    assert!(new.join("hub.db").exists());
    // No room for the copies of the databases, and for the archive.
    add_large_file(&hub, 2 << 20);
    let large = path(&hub, "large.tar");
    hub.command(["backup", text(&large)]).success();
    for kibibytes in [128, 1024] {
        let Some(disk) = SmallDisk::mount(kibibytes) else { return };
        refused(&["backup", text(&disk.path().join("b.tar"))], "free space");
        assert!(files(disk.path()).is_empty());
        let target = disk.path().join("data");
        refused(&["restore", text(&large), "--data-dir", text(&target)], "free space");
        assert_eq!(files(&target), ["hub.lock"]);
    }
}

#[test]
fn a_folder_or_a_backup_of_a_newer_version_is_refused_by_this_one() {
    let mut hub = Hub::start();
    hub.stop();
    for (database, known) in [("hub.db", "hub"), ("events.db", "events")] {
        let file = path(&hub, "data").join(database);
        let db = rusqlite::Connection::open(&file).unwrap();
        let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        db.pragma_update(None, "user_version", version + 1).unwrap();
        drop(db);
        for arguments in [&["serve"][..], &["backup", text(&path(&hub, "b.tar"))]] {
            let output = hub.command(arguments.iter().copied());
            assert_eq!(output.code, 1, "{known}: {}", output.stderr);
            let expected =
                format!("was written by a newer version of Ferrohub (schema version {}", version + 1);
            assert!(output.stderr.contains(&expected), "{known}: {}", output.stderr);
        }
        rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", version).unwrap();
    }
    hub.start_again();
}
