//! File upload: Microsoft's device client requests the URL, Microsoft's storage client uploads.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use ferrohub_acceptance::certificate::{Validity, self_signed};
use ferrohub_acceptance::{Client, Device, Hub, Service, Storage};
use serde_json::{Value, json};

/// Runs the three steps of an upload, with a file of `bytes` bytes in blocks of `block`.
#[track_caller]
fn upload(hub: &Hub, device: &Device, storage: &Storage, bytes: usize, block: Option<usize>) {
    let info = device.storage_info("folder/a file.bin").unwrap();
    assert_eq!(info.host_name, hub.name());
    assert_eq!(info.blob_name, "dev1/folder/a file.bin");
    assert!(info.sas_token.starts_with('?'));
    let single_put = block.map(|_| 64 * 1024);
    let sent = json!({
        "url": info.url(), "bytes": bytes, "seed": 1, "single_put": single_put, "block": block,
        "content_type": "text/plain", "metadata": { "colour": "red" },
    });
    let sent = storage.call("upload", &sent).unwrap();
    device.notify_upload(&info.correlation_id, true).unwrap();
    assert_eq!(storage.download(&info.url()).unwrap(), sent["sha256"]);
    let found = storage.call("properties", &json!({ "url": info.url() })).unwrap();
    assert_eq!((&found["bytes"], &found["type"]), (&json!(bytes), &json!("BlockBlob")));
    assert_eq!(
        (&found["content_type"], &found["metadata"]),
        (&json!("text/plain"), &json!({ "colour": "red" }))
    );
    assert_eq!(found["etag"], sent["etag"]);
}

#[test]
fn a_device_uploads_files_in_one_piece_and_in_blocks() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let storage = Storage::start(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    upload(&hub, &device, &storage, 1000, None);
    upload(&hub, &device, &storage, 20 * 1024 * 1024, Some(1024 * 1024));
    upload(&hub, &device, &storage, 0, None);
}

#[test]
fn the_asynchronous_client_uploads_with_a_certificate() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let storage = Storage::start(&hub);
    let certificate = self_signed(hub.folder(), "dev1", Validity::Valid);
    let arguments = json!({ "device_id": "dev1", "primary_thumbprint": certificate.sha256() });
    let _: Value = service.call("create_device_with_x509", &arguments).unwrap();
    let device = Device::with_certificate(&hub, "dev1", &certificate).client(Client::Async).start(&hub);
    upload(&hub, &device, &storage, 1000, None);
}

/// Returns the exception and the error code of the storage.
#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, ferrohub_acceptance::Failure>) -> (String, String) {
    let failure = answer.expect_err("an error");
    let code = failure.message.split("ErrorCode:").nth(1).unwrap_or_default();
    let code = code.split_whitespace().next().unwrap_or_default().to_owned();
    (failure.exception, code)
}

#[test]
fn a_url_permits_exactly_the_signed_operations() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let storage = Storage::start(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    let _ = service.create_device("dev2");
    let info = device.storage_info("f.txt").unwrap();
    let url = info.url();
    storage.upload(&url, 10, 1).unwrap();
    let not_signed = ("ClientAuthenticationError".to_owned(), "AuthenticationFailed".to_owned());
    for (what, from, to) in [
        ("another blob", "f.txt?", "g.txt?"),
        ("a longer name", "f.txt?", "f.txt/x?"),
        ("another device", "/dev1/", "/dev2/"),
        ("more rights", "sp=rcw", "sp=rcwd"),
        ("fewer rights", "sp=rcw", "sp=r"),
        ("another expiry", "se=20", "se=21"),
        ("another version", "sv=2020-12-06", "sv=2021-12-02"),
        ("a start time", "&sp=", "&st=2020-01-01T00%3A00%3A00Z&sp="),
        ("plain HTTP as well", "&spr=https", ""),
        ("a whole container", "sr=b", "sr=c"),
        ("a forged signature", "&sig=", "&sig=AAAA"),
    ] {
        let changed = url.replace(from, to);
        assert_ne!(changed, url, "{what}");
        assert_eq!(refused(storage.upload(&changed, 10, 2)), not_signed, "{what}");
    }
    let bare = url.split('?').next().unwrap();
    assert_eq!(refused(storage.download(bare)).1, "NoAuthenticationInformation");
    let delete = storage.call("delete", &json!({ "url": url }));
    assert_eq!(refused(delete).1, "AuthorizationPermissionMismatch");
    // None of these requests had an effect. Invalid names are refused before the signature is checked.
    assert_eq!(storage.download(&url), storage.call("digest", &json!({ "bytes": 10, "seed": 1 })).map(text));
    let sas = info.sas_token.trim_start_matches('?');
    for name in
        ["..%2F..%2Fhub.db", "dev1/..%2Ff.txt", "dev1/%00", "dev1%2F%2Ff", "dev1", "%ff/f", "dev1/a%5Cb"]
    {
        let answer = service.http("GET", &format!("/ferrohub-uploads/{name}?{sas}"), None, None);
        assert_eq!((answer.status, answer.header("x-ms-error-code")), (400, "InvalidUri"), "{name}");
    }
    for name in ["dev1%2Ff.txt", "dev1/__proto__", "dev1/CON", "dev1/f.txt%3F"] {
        let answer = service.http("GET", &format!("/ferrohub-uploads/{name}?{sas}"), None, None);
        let expected = if name.ends_with("f.txt") { 200 } else { 403 };
        assert_eq!(answer.status, expected, "{name}");
    }
    // The URL of a deleted or disabled device is refused, even if its signature is valid.
    service.call("delete_device", &json!({ "device_id": "dev1" })).unwrap();
    assert_eq!(refused(storage.upload(&url, 10, 2)), not_signed);
    let log = hub.log();
    assert!(!log.contains("sig=") && !log.contains("f.txt"), "the log contains no URL");
}

#[test]
fn old_urls_are_not_valid_for_a_new_device_with_the_same_id() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let storage = Storage::start(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    let old = device.storage_info("f").unwrap().url();
    storage.upload(&old, 10, 1).unwrap();
    service.call("delete_device", &json!({ "device_id": "dev1" })).unwrap();
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    let not_signed = ("ClientAuthenticationError".to_owned(), "AuthenticationFailed".to_owned());
    assert_eq!(refused(storage.download(&old)), not_signed);
    assert_eq!(refused(storage.upload(&old, 10, 2)), not_signed);
    let new = device.storage_info("f").unwrap().url();
    let sent = storage.upload(&new, 10, 3).unwrap();
    assert_eq!(storage.download(&new).unwrap(), sent);
}

fn text(value: Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn names_that_could_escape_the_folder_are_refused_or_encoded() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let storage = Storage::start(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    let long = "x".repeat(1020);
    for invalid in
        ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/", "a.", "a\\b", "a\u{0}b", "a\nb", &long]
    {
        let failure = device.storage_info(invalid).unwrap_err();
        assert!(failure.cause.contains("400"), "{invalid:?}: {failure:?}");
    }
    for valid in ["__proto__", "CON", "...x", "a%2Fb", "é ü", "~", &"y".repeat(1000)] {
        let info = device.storage_info(valid).unwrap();
        let encoded = ferrohub_acceptance::sas::encode(valid);
        let url = info.url().replace(valid, &encoded);
        let sent = storage.upload(&url, 100, 7).unwrap();
        assert_eq!(storage.download(&url).unwrap(), sent, "{valid}");
        device.notify_upload(&info.correlation_id, true).unwrap();
    }
    // Only the owner can read the files, and their names are random.
    let mut files = vec![hub.folder().join("data/blobs")];
    while let Some(path) = files.pop() {
        use std::os::unix::fs::PermissionsExt as _;
        let about = std::fs::metadata(&path).unwrap();
        let mode = if about.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(about.permissions().mode() & 0o777, mode, "{}", path.display());
        if about.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path != hub.folder().join("data/blobs/instance") {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
        }
    }
}

#[test]
fn only_its_device_completes_an_upload_and_only_once() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let storage = Storage::start(&hub);
    let first = service.create_device("dev1");
    let second = service.create_device("dev2");
    let device = Device::with_identity(&first).start(&hub);
    let other = Device::with_identity(&second).start(&hub);
    let info = device.storage_info("f").unwrap();
    storage.upload(&info.url(), 10, 1).unwrap();
    assert!(other.notify_upload(&info.correlation_id, true).unwrap_err().cause.contains("400"));
    // The client does not show the error code.
    let token = token_of(&first);
    let notify = |path: &str, body: &Value| service.http("POST", path, Some(&token), Some(&body.to_string()));
    let path = "/devices/dev1/files/notifications?api-version=2019-10-01";
    let completion = json!({ "correlationId": info.correlation_id, "isSuccess": true });
    for (body, code) in [
        (json!({ "correlationId": "none", "isSuccess": true }), "InvalidFileUploadCorrelationId"),
        (json!({ "isSuccess": true }), "ArgumentNull"),
        (json!({ "correlationId": info.correlation_id }), "InvalidFileUploadCompletionStatus"),
        (json!([]), "IotHubFormatError"),
    ] {
        let answer = notify(path, &body);
        assert_eq!((answer.status, answer.error_code()), (400, code), "{body}");
    }
    let of_other = service.http("POST", path, Some(&token_of(&second)), Some(&completion.to_string()));
    assert_eq!((of_other.status, of_other.error_code()), (401, "IotHubUnauthorizedAccess"));
    assert_eq!(notify(path, &completion).status, 204);
    let again = notify(path, &completion);
    assert_eq!((again.status, again.error_code()), (400, "InvalidFileUploadCorrelationId"));
    // The older path, and an upload without a file.
    let info = device.storage_info("missing").unwrap();
    let older = format!("/devices/dev1/files/notifications/{}?api-version=2016-11-14", info.correlation_id);
    let answer = notify(&older, &json!({ "isSuccess": true, "statusCode": 200 }));
    assert_eq!((answer.status, answer.error_code()), (400, "InvalidStorageEndpointOrBlob"));
    assert_eq!(notify(&older, &json!({ "isSuccess": false })).status, 204);
    assert_eq!(notify(&older, &json!({ "isSuccess": false })).error_code(), "InvalidFileUploadCorrelationId");
    let metrics = hub.metrics();
    for line in [
        "ferrohub_file_uploads_total{outcome=\"begun\"} 2",
        "ferrohub_file_uploads_total{outcome=\"finished\"} 1",
        "ferrohub_file_uploads_total{outcome=\"failed\"} 1",
        "ferrohub_file_bytes_total{outcome=\"received\"} 10",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[track_caller]
fn token_of(identity: &ferrohub_acceptance::Identity) -> String {
    use ferrohub_acceptance::sas;
    let (resource, key) = (identity.resource(), &identity.primary_key);
    sas::Token { resource: &resource, key, expiry: sas::now() + 600, policy: None }.sign()
}

#[test]
fn a_device_has_at_most_ten_unfinished_uploads() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let token = token_of(&identity);
    let begin = || {
        let body = json!({ "blobName": "f" }).to_string();
        service.http("POST", "/devices/dev1/files?api-version=2019-10-01", Some(&token), Some(&body))
    };
    let ids: Vec<String> = (0..10).map(|_| text(begin().json()["correlationId"].clone())).collect();
    let refusal = begin();
    assert_eq!((refusal.status, refusal.error_code()), (403, "DeviceMaximumActiveFileUploadLimitExceeded"));
    let path = format!("/devices/dev1/files/notifications/{}", ids[0]);
    let body = json!({ "isSuccess": false }).to_string();
    assert_eq!(service.http("POST", &path, Some(&token), Some(&body)).status, 204);
    assert_eq!(begin().status, 200);
    assert_eq!(begin().status, 403);
    let module = service.http("POST", "/devices/dev1/modules/m/files", Some(&token), Some("{}"));
    assert_eq!(module.status, 404, "modules cannot upload files");
}

#[test]
fn file_upload_can_be_disabled() {
    let hub = Hub::builder().config("[files]\nenabled = false").start();
    let service = Service::owner(&hub);
    let token = token_of(&service.create_device("dev1"));
    let body = json!({ "blobName": "f" }).to_string();
    let answer = service.http("POST", "/devices/dev1/files", Some(&token), Some(&body));
    assert_eq!((answer.status, answer.error_code()), (400, "DefaultStorageEndpointNotConfigured"));
    let answer = service.http("GET", "/ferrohub-uploads/dev1/f", None, None);
    assert_eq!((answer.status, answer.header("x-ms-error-code")), (404, "ResourceNotFound"));
}
