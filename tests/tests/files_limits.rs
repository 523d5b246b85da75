//! Uploads that are too large, too slow, too late, interrupted or refused by a condition.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::path::Path;
use std::time::{Duration, Instant};

use ferrohub_acceptance::raw_tls::RawTls;
use ferrohub_acceptance::{Device, Failure, Hub, Service, Storage, UploadInfo, eventually, sas};
use serde_json::{Value, json};

/// Returns the exception and the error code of the storage.
#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Failure>) -> (String, String) {
    let failure = answer.expect_err("an error");
    let code = failure.message.split("ErrorCode:").nth(1).unwrap_or_default();
    (failure.exception, code.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Returns the number of files of uploads in the hub's folder.
fn files(hub: &Hub) -> usize {
    fn count(path: &Path) -> usize {
        let Ok(entries) = std::fs::read_dir(path) else { return usize::from(path.is_file()) };
        entries.map(|entry| count(&entry.unwrap().path())).sum()
    }
    let blobs = hub.folder().join("data/blobs");
    ["data", "parts", "blocks"].iter().map(|folder| count(&blobs.join(folder))).sum()
}

fn start(settings: &str) -> (Hub, Service, Storage, Device) {
    let hub = Hub::builder().config(&format!("[files]\n{settings}")).start();
    let service = Service::owner(&hub);
    let storage = Storage::start(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    (hub, service, storage, device)
}

#[test]
fn an_upload_expires_with_its_url() {
    let (hub, service, storage, device) = start("url_lifetime_seconds = 2");
    let info = device.storage_info("f").unwrap();
    let late =
        eventually("the URL expires", Duration::from_secs(10), || storage.upload(&info.url(), 10, 1).err());
    assert_eq!(refused::<()>(Err(late)).1, "AuthenticationFailed");
    let failure = device.notify_upload(&info.correlation_id, true).unwrap_err();
    assert!(failure.cause.contains("400"), "{failure:?}");
    drop(service);
    let log = hub.log();
    assert!(log.contains("reason=\"expired\""), "{log}");
}

#[test]
fn one_device_cannot_fill_the_file_store() {
    let (hub, service, storage, device) = start("bytes_per_device = 150000");
    let url = device.storage_info("f").unwrap().url();
    storage.upload(&url, 100_000, 1).unwrap();
    let more = device.storage_info("g").unwrap();
    assert_eq!(refused(storage.upload(&more.url(), 100_000, 1)).1, "InsufficientStorage");
    device.notify_upload(&more.correlation_id, false).unwrap();
    storage.upload(&device.storage_info("h").unwrap().url(), 50_000, 1).unwrap();
    let failure = device.storage_info("i").unwrap_err();
    assert!(failure.cause.contains("403"), "{failure:?}");
    let other = Device::with_identity(&service.create_device("dev2")).start(&hub);
    storage.upload(&other.storage_info("f").unwrap().url(), 100_000, 1).unwrap();
}

#[test]
fn uploads_beyond_the_size_limits_are_refused() {
    let (hub, _service, storage, device) = start("blob_bytes = 100000\ntotal_bytes = 150000");
    let url = device.storage_info("f").unwrap().url();
    assert_eq!(refused(storage.upload(&url, 100_001, 1)).1, "RequestBodyTooLarge");
    let blocks = json!({ "url": url, "bytes": 100_001, "seed": 1, "single_put": 1000, "block": 50_000 });
    assert_eq!(refused(storage.call("upload", &blocks)).1, "RequestBodyTooLarge");
    assert_eq!(storage.call("exists", &json!({ "url": url })).unwrap(), false);
    // The blocks were not committed. The completion with failure removes them.
    let info = device.storage_info("f").unwrap();
    device.notify_upload(&info.correlation_id, false).unwrap();
    assert_eq!(files(&hub), 0);
    storage.upload(&url, 100_000, 1).unwrap();
    let other = device.storage_info("g").unwrap().url();
    assert_eq!(refused(storage.upload(&other, 60_000, 1)).1, "InsufficientStorage");
    storage.upload(&other, 50_000, 1).unwrap();
    assert_eq!(files(&hub), 2);
    let full = device.storage_info("h").unwrap_err();
    assert!(full.cause.contains("403"), "{full:?}");
}

#[test]
fn a_file_is_replaced_only_if_the_conditions_permit_it() {
    let (_hub, service, storage, device) = start("");
    let info = device.storage_info("f").unwrap();
    let url = info.url();
    let upload = |overwrite: bool, seed: u32, block: Option<usize>| {
        let single_put = block.map(|_| 10);
        storage.call(
            "upload",
            &json!({
                "url": url, "bytes": 3000, "seed": seed, "overwrite": overwrite, "single_put": single_put,
                "block": block, "validate_content": true,
            }),
        )
    };
    let first = upload(false, 1, None).unwrap();
    let exists = ("ResourceExistsError".to_owned(), "BlobAlreadyExists".to_owned());
    assert_eq!(refused(upload(false, 2, None)), exists);
    assert_eq!(refused(upload(false, 2, Some(1000))), exists);
    assert_eq!(storage.download(&url).unwrap(), first["sha256"]);
    let second = upload(true, 2, Some(1000)).unwrap();
    assert_eq!(storage.download(&url).unwrap(), second["sha256"]);
    let part = json!({ "url": url, "offset": 1000, "length": 500 });
    let part = storage.call("download", &part).unwrap();
    let expected = json!({ "bytes": 3000, "seed": 2, "offset": 1000, "length": 500 });
    assert_eq!((&part["sha256"], &part["bytes"]), (&storage.call("digest", &expected).unwrap(), &json!(500)));
    // Requests that Microsoft's client cannot send.
    let path = url.strip_prefix(&format!("https://{}", info.host_name)).unwrap();
    let put = |headers: Value| {
        let mut all = json!({ "x-ms-blob-type": "BlockBlob" });
        for (name, value) in headers.as_object().unwrap() {
            all[name] = value.clone();
        }
        let answer = service.http_with("PUT", path, all, Some("changed"));
        (answer.status, answer.header("x-ms-error-code").to_owned())
    };
    for (headers, status, code) in [
        (json!({ "Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA==" }), 400, "Md5Mismatch"),
        (json!({ "x-ms-blob-content-md5": "AAAAAAAAAAAAAAAAAAAAAA==" }), 400, "Md5Mismatch"),
        (json!({ "Content-MD5": "?" }), 400, "InvalidMd5"),
        (json!({ "x-ms-blob-type": "PageBlob" }), 400, "InvalidHeaderValue"),
        (json!({ "x-ms-lease-id": "x" }), 400, "UnsupportedHeader"),
        (json!({ "If-Match": "\"0x0\"" }), 412, "ConditionNotMet"),
        (json!({ "If-None-Match": second["etag"] }), 412, "ConditionNotMet"),
        (json!({ "If-Unmodified-Since": "Sun, 06 Nov 1994 08:49:37 GMT" }), 412, "ConditionNotMet"),
        (json!({ "If-Modified-Since": "yesterday" }), 400, "InvalidHeaderValue"),
    ] {
        assert_eq!(put(headers.clone()), (status, code.to_owned()), "{headers}");
    }
    assert_eq!(storage.download(&url).unwrap(), second["sha256"]);
    let get = |headers: Value| service.http_with("GET", path, headers, None);
    assert_eq!(get(json!({ "If-None-Match": second["etag"] })).status, 304);
    let after_end = get(json!({ "Range": "bytes=3000-" }));
    assert_eq!((after_end.status, after_end.header("content-range")), (416, "bytes */3000"));
    let response = get(json!({}));
    assert_eq!(
        (response.header("content-security-policy"), response.header("x-content-type-options")),
        ("sandbox", "nosniff")
    );
    assert_eq!(put(json!({ "If-Match": second["etag"] })).0, 201);
    for (verb, query, status) in
        [("PUT", "comp=metadata", 400), ("POST", "a=b", 405), ("GET", "comp=blocklist", 400)]
    {
        let answer = service.http(verb, &format!("{path}&{query}"), None, None);
        assert_eq!(answer.status, status, "{verb} {query}");
    }
}

/// Returns the head of a `Put Blob` request with `bytes` bytes.
fn head(hub: &Hub, info: &UploadInfo, bytes: usize) -> String {
    let path = format!("/{}/{}{}", info.container_name, info.blob_name, info.sas_token);
    format!(
        "PUT {path} HTTP/1.1\r\nHost: {}\r\nx-ms-blob-type: BlockBlob\r\nContent-Length: {bytes}\r\n\r\n",
        hub.name()
    )
}

#[test]
fn an_interrupted_or_stalled_upload_leaves_no_file() {
    let (hub, _service, storage, device) = start("idle_timeout_seconds = 1");
    let info = device.storage_info("f").unwrap();
    let mut connection = RawTls::https(&hub);
    connection.send(head(&hub, &info, 1000).as_bytes());
    connection.send(&[b'x'; 500]);
    eventually("the upload has started", Duration::from_secs(10), || (files(&hub) == 1).then_some(()));
    drop(connection);
    eventually("its file is removed", Duration::from_secs(10), || (files(&hub) == 0).then_some(()));

    let mut connection = RawTls::https(&hub);
    connection.send(head(&hub, &info, 1000).as_bytes());
    connection.send(&[b'x'; 500]);
    let answer = String::from_utf8(connection.read_to_end()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("RequestTimeout"), "{answer}");
    assert_eq!(files(&hub), 0);

    // An upload that makes progress may take longer than the idle time-out.
    let mut connection = RawTls::https(&hub);
    connection.send(head(&hub, &info, 5).as_bytes());
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(500));
        connection.send(b"x");
    }
    let answer = String::from_utf8(connection.read(20)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(storage.call("properties", &json!({ "url": info.url() })).unwrap()["bytes"], 5);
}

/// Starts an upload that makes no progress.
fn slow(hub: &Hub, info: &UploadInfo) -> RawTls {
    let mut connection = RawTls::https(hub);
    connection.send(head(hub, info, 1000).as_bytes());
    connection.send(b"x");
    connection
}

#[test]
fn a_slow_device_blocks_neither_other_devices_nor_services() {
    let (hub, service, storage, device) = start("max_transfers = 3\nmax_transfers_per_device = 2");
    let other = Device::with_identity(&service.create_device("dev2")).start(&hub);
    let info = device.storage_info("f").unwrap();
    storage.upload(&info.url(), 10, 1).unwrap();
    let path = info.url().strip_prefix(&format!("https://{}", info.host_name)).unwrap().to_owned();
    let mut uploads = vec![slow(&hub, &info), slow(&hub, &info)];
    eventually("two uploads have started", Duration::from_secs(10), || (files(&hub) == 3).then_some(()));
    let get = |path: &str| service.http("GET", path, None, None);
    let answer = get(&path);
    assert_eq!(
        (answer.status, answer.header("x-ms-error-code"), answer.header("retry-after")),
        (503, "ServerBusy", "5")
    );
    assert!(answer.body.contains("files.max_transfers_per_device"), "{}", answer.body);
    let of_other = other.storage_info("g").unwrap();
    storage.upload(&of_other.url(), 10, 2).unwrap();
    uploads.push(slow(&hub, &of_other));
    eventually("three uploads are in progress", Duration::from_secs(10), || (files(&hub) == 5).then_some(()));
    let path_of_other =
        of_other.url().strip_prefix(&format!("https://{}", info.host_name)).unwrap().to_owned();
    let answer = get(&path_of_other);
    assert_eq!(
        (answer.status, answer.body.contains("(files.max_transfers)")),
        (503, true),
        "{}",
        answer.body
    );
    let token = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    for path in ["/ferrohub/files", "/ferrohub/files/dev1/f"] {
        assert_eq!(service.http("GET", path, Some(&token), None).status, 200, "{path}");
    }
    drop(uploads);
    eventually("transfer permits are released", Duration::from_secs(10), || {
        (get(&path).status == 200).then_some(())
    });
}

#[test]
fn an_upload_is_aborted_when_its_url_expires_even_if_it_makes_progress() {
    let (hub, _service, _storage, device) = start("url_lifetime_seconds = 3\nidle_timeout_seconds = 2");
    let begun = Instant::now();
    let info = device.storage_info("f").unwrap();
    let mut connection = RawTls::https(&hub);
    connection.send(head(&hub, &info, 1000).as_bytes());
    // The URL is valid for 2 to 3 seconds. The last byte is sent so late that the idle time-out has not elapsed yet
    // when the upload is aborted.
    while begun.elapsed() < Duration::from_millis(3800) {
        connection.send(b"x");
        std::thread::sleep(Duration::from_millis(100));
    }
    let answer = String::from_utf8(connection.read_to_end()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("the URL expired"), "{answer}");
    assert_eq!(files(&hub), 0);
}

#[test]
fn a_shutdown_does_not_wait_for_ever_for_a_slow_upload() {
    let mut hub = Hub::builder().config("[limits]\nshutdown_timeout_seconds = 1").start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    let info = device.storage_info("f").unwrap();
    let mut connection = RawTls::https(&hub);
    connection.send(head(&hub, &info, 1000).as_bytes());
    connection.send(&[b'x'; 500]);
    eventually("the upload has started", Duration::from_secs(10), || (files(&hub) == 1).then_some(()));
    let begun = Instant::now();
    assert!(hub.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    hub.start_again();
    assert_eq!(files(&hub), 0);
}

#[test]
fn a_crash_leaves_complete_files_only() {
    const BYTES: usize = 4 * 1024 * 1024;
    let (mut hub, _service, storage, device) = start("");
    let url = device.storage_info("f").unwrap().url();
    let mut known = storage.upload(&url, BYTES, 0).unwrap();
    for crash in 1..=6 {
        let block = (crash % 2 == 0).then_some(512 * 1024);
        let upload = json!({
            "url": url, "bytes": BYTES, "seed": crash, "single_put": block.map(|_| 1000), "block": block,
        });
        let pending = storage.begin("upload", &upload);
        std::thread::sleep(Duration::from_millis(40 * crash));
        hub.kill();
        let acknowledged = pending.wait().ok();
        hub.start_again();
        let content = storage.download(&url).unwrap();
        let new = storage.call("digest", &json!({ "bytes": BYTES, "seed": crash })).unwrap();
        assert!(content == known || content == new.as_str().unwrap(), "crash {crash}: an incomplete file");
        if let Some(done) = acknowledged {
            assert_eq!(
                content,
                done["sha256"].as_str().unwrap(),
                "crash {crash}: an acknowledged file is lost"
            );
        }
        known = content;
        let parts = hub.folder().join("data/blobs/parts");
        assert_eq!(std::fs::read_dir(parts).unwrap().count(), 0, "no partly written file is left");
    }
}
