//! Uploads of files: their URLs expire, and with them what was not committed.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ferrohub_core::files::{BlobError, ByteStream, PutOptions};
use ferrohub_core::{BlobCaller, BlobDenied, HubSettings, Operation};
use ferrohub_model::ErrorCode;
use ferrohub_model::file::{BlobName, FileUpload, FileUploadOutcome, FileUploadRequest};

use crate::test_hub::{TestHub, hours, pass, seconds};

/// A stream of one chunk.
struct Once(Option<Bytes>);

#[async_trait]
impl ByteStream for Once {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        Ok(self.0.take())
    }
}

fn content() -> Once {
    Once(Some(Bytes::from_static(b"content")))
}

async fn begin(hub: &TestHub, device: &str, name: &str) -> Result<FileUpload, ErrorCode> {
    let request = FileUploadRequest { blob_name: Some(name.to_owned()) };
    hub.device(device).await.begin_upload(&request).await.map_err(|error| error.code)
}

async fn end(hub: &TestHub, device: &str, upload: &FileUpload) -> Result<(), ErrorCode> {
    let outcome = FileUploadOutcome {
        correlation_id: Some(upload.correlation_id.clone()),
        is_success: true,
        status_code: None,
        status_description: None,
    };
    hub.device(device).await.end_upload(&outcome).await.map_err(|error| error.code)
}

/// Returns the holder of the upload's URL.
async fn holder(hub: &TestHub, upload: &FileUpload) -> Result<BlobCaller, BlobDenied> {
    let name = BlobName::parse(&upload.blob_name).unwrap();
    let query = upload.sas_token.trim_start_matches('?');
    hub.hub.authenticate_blob(query, &name, Operation::PutBlob).await
}

/// Uploads a file and reports it.
pub(crate) async fn upload(hub: &TestHub, device: &str, name: &str) {
    let upload = begin(hub, device, name).await.unwrap();
    let holder = holder(hub, &upload).await.unwrap();
    holder.put(PutOptions::default(), &mut content()).await.unwrap();
    end(hub, device, &upload).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_upload_expires_with_its_url() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    let upload = begin(&hub, "d", "f").await.unwrap();
    pass(hours(1) - Duration::from_millis(1)).await;
    let url = holder(&hub, &upload).await.unwrap();
    assert_eq!(url.remaining(), Duration::from_millis(1));
    url.put(PutOptions::default(), &mut content()).await.unwrap();
    pass(Duration::from_millis(1)).await;
    assert_eq!(holder(&hub, &upload).await.unwrap_err(), BlobDenied::InvalidSignature("expired"));
    assert_eq!(end(&hub, "d", &upload).await, Err(ErrorCode::ExpiredFileUploadCorrelationId));
    pass(hours(24) - seconds(1)).await;
    assert_eq!(end(&hub, "d", &upload).await, Err(ErrorCode::ExpiredFileUploadCorrelationId));
    // The hub looks once a minute what has expired a day ago.
    pass(seconds(60)).await;
    assert_eq!(end(&hub, "d", &upload).await, Err(ErrorCode::InvalidFileUploadCorrelationId));
}

#[tokio::test(start_paused = true)]
async fn unfinished_uploads_count_until_they_expire() {
    let hub =
        TestHub::start_with(|settings: &mut HubSettings| settings.limits.files.uploads_per_device = 2).await;
    hub.create("d").await;
    let first = begin(&hub, "d", "1").await.unwrap();
    pass(hours(1) / 2).await;
    begin(&hub, "d", "2").await.unwrap();
    let refused = ErrorCode::DeviceMaximumActiveFileUploadLimitExceeded;
    assert_eq!(begin(&hub, "d", "3").await.unwrap_err(), refused);
    pass(hours(1) / 2).await;
    begin(&hub, "d", "3").await.unwrap();
    assert_eq!(begin(&hub, "d", "4").await.unwrap_err(), refused);
    assert_eq!(end(&hub, "d", &first).await, Err(ErrorCode::ExpiredFileUploadCorrelationId));
}

#[tokio::test(start_paused = true)]
async fn blocks_that_cannot_be_committed_any_more_are_removed() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    let first = begin(&hub, "d", "f").await.unwrap();
    let url = holder(&hub, &first).await.unwrap();
    let block = STANDARD.encode("1");
    url.put_block(&block, None, &mut content()).await.unwrap();
    pass(hours(1) / 2).await;
    let second = begin(&hub, "d", "f").await.unwrap();
    let url = holder(&hub, &second).await.unwrap();
    url.put_block_list(std::slice::from_ref(&block), PutOptions::default()).await.unwrap();
    url.put_block(&block, None, &mut content()).await.unwrap();
    pass(hours(1) + seconds(61)).await;
    let third = begin(&hub, "d", "f").await.unwrap();
    let url = holder(&hub, &third).await.unwrap();
    let refused = url.put_block_list(&[block], PutOptions::default()).await.unwrap_err();
    assert!(refused.to_string().contains("unknown block"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn urls_stay_valid_when_the_signing_key_is_rotated() {
    let hub = TestHub::start_with(|settings: &mut HubSettings| {
        settings.limits.files.url_lifetime = hours(24);
    })
    .await;
    hub.create("d").await;
    let keys = async |hub: &TestHub| {
        use ferrohub_core::files::SigningKeyStore as _;
        hub.store.signing_keys().await.unwrap().iter().map(|key| key.created).collect::<Vec<_>>()
    };
    let first = keys(&hub).await;
    let mut days = 0;
    while keys(&hub).await == first {
        pass(hours(24)).await;
        days += 1;
        assert!(days < 100, "the key is never rotated");
    }
    let upload = begin(&hub, "d", "f").await.unwrap();
    let newest = keys(&hub).await[0];
    pass(hours(23)).await;
    assert_eq!(keys(&hub).await[0], newest);
    holder(&hub, &upload).await.unwrap();
    let hub = hub.restart().await;
    holder(&hub, &upload).await.unwrap();
}
