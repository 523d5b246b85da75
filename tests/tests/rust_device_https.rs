//! Operations of our own device SDK over HTTPS: file upload and method calls of modules.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferrohub_acceptance::certificate::{Validity, self_signed};
use ferrohub_acceptance::{Device, Hub, Identity, Service, sas};
use ferrohub_device::{
    Builder, DeviceClient, ErrorKind, FileUpload, IdentityId, Jitter, MethodInvocation, RetryPolicy,
    Transport,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

fn with_ca(hub: &Hub, builder: Builder) -> Builder {
    builder.root_certificates_only(fs::read(hub.variable("SSL_CERT_FILE")).unwrap())
}

fn builder(hub: &Hub, identity: &Identity) -> Builder {
    let text = identity.connection_string();
    with_ca(hub, DeviceClient::builder_from_connection_string(&text).unwrap())
}

/// Returns letters without a short period.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|number| b'a' + (number % 65_521 % 23) as u8).collect()
}

/// Returns the content of the stored file with this percent-encoded name.
fn stored(hub: &Hub, service: &Service, name: &str) -> Vec<u8> {
    let token = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let answer = service.http("GET", &format!("/ferrohub/files/{name}"), Some(&token), None);
    assert_eq!(answer.status, 200, "{name}: {}", answer.body);
    answer.body.into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_any_size_arrive_unchanged() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    for (id, transport) in [("d#1", Transport::Mqtt), ("d2", Transport::MqttWebSocket)] {
        let client = builder(&hub, &service.create_device(id)).transport(transport).build().unwrap();
        for bytes in [0, 1000, 1024 * 1024, 5 * 1024 * 1024 + 17] {
            let name = format!("folder/é {bytes}.bin");
            let sent = content(bytes);
            let progress = Arc::new(Mutex::new(0));
            let heard = progress.clone();
            let upload = FileUpload::from_reader(&name, std::io::Cursor::new(sent.clone()))
                .on_progress(move |bytes| *heard.lock().unwrap() = bytes);
            let file = client.upload_file(upload).await.unwrap();
            assert_eq!((file.blob_name, file.blob_size_in_bytes), (format!("{id}/{name}"), bytes as u64));
            assert_eq!(*progress.lock().unwrap(), bytes as u64);
            let encoded = format!("{}/folder/%C3%A9%20{bytes}.bin", id.replace('#', "%23"));
            assert!(stored(&hub, &service, &encoded) == sent, "{bytes} bytes");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_a_certificate_uploads_files() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let files = self_signed(hub.folder(), "d", Validity::Valid);
    let arguments = json!({ "device_id": "d", "primary_thumbprint": files.sha256() });
    let _: Value = service.call("create_device_with_x509", &arguments).unwrap();
    let builder = DeviceClient::builder(hub.name(), "d")
        .x509(fs::read(&files.certificate).unwrap(), fs::read(&files.key).unwrap());
    let client = with_ca(&hub, builder).build().unwrap();
    client.upload_file(FileUpload::new("f.txt", "hello").content_type("text/plain")).await.unwrap();
    assert_eq!(stored(&hub, &service, "d/f.txt"), b"hello");
}

/// The hub restarts in the middle of an upload.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_survives_a_restart_of_the_hub() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let patient = RetryPolicy::default().initial_delay(Duration::from_secs(1)).jitter(Jitter::None);
    let client = builder(&hub, &service.create_device("d")).retry(patient).build().unwrap();
    let sent = content(3 * 1024 * 1024);
    let (mut writer, reader) = tokio::io::duplex(64 * 1024);
    let uploading =
        tokio::spawn(async move { client.upload_file(FileUpload::from_reader("f", reader)).await });
    writer.write_all(&sent[..1_500_000]).await.unwrap();
    hub.restart();
    writer.write_all(&sent[1_500_000..]).await.unwrap();
    drop(writer);
    assert_eq!(uploading.await.unwrap().unwrap().blob_size_in_bytes, sent.len() as u64);
    assert!(stored(&hub, &service, "d/f") == sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_with_a_wrong_key_is_unauthorized() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let mut identity = service.create_device("d");
    identity.primary_key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned();
    let client = builder(&hub, &identity).build().unwrap();
    let error = client.upload_file(FileUpload::new("f", "x")).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(401)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_calls_methods_of_its_device_and_of_another_module() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _device = Device::with_identity(&service.create_device("d")).listen(&hub);
    let _other = Device::with_identity(&service.create_module("d", "other")).listen(&hub);
    let _silent = service.create_module("d", "silent");
    let module = builder(&hub, &service.create_module("d", "m")).build().unwrap();
    let call = MethodInvocation::new("echo").payload(&json!({ "a": [1.50] })).unwrap();
    for target in ["d", "d/other"].map(|id| IdentityId::parse(id).unwrap()) {
        let response = module.invoke_method(target, &call).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.payload_as::<Value>().unwrap(), json!({ "a": [1.5] }));
    }
    let offline = module.invoke_method(("d", "silent"), &call).await.unwrap_err();
    assert_eq!((offline.kind(), offline.code()), (ErrorKind::DeviceNotOnline, Some(404_103)));
    let foreign = module.invoke_method("another", &call).await.unwrap_err();
    assert!(matches!(foreign.kind(), ErrorKind::Unauthorized | ErrorKind::NotFound), "{foreign}");
}
