//! File uploads in three steps over real sockets, against a hub and a storage that the test controls.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::opening_transports::{Hub, TestCa};
use crate::{Builder, DeviceClient, ErrorKind, FileUpload, MethodInvocation, OfflinePolicy, RetryPolicy};

/// A request as received.
#[derive(Debug, Clone)]
struct RecordedRequest {
    /// Verb, path and query.
    line: String,
    headers: HeaderMap,
    body: Bytes,
}

impl RecordedRequest {
    fn is(&self, begin: &str) -> bool {
        self.line.starts_with(begin)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

type Log = Arc<Mutex<Vec<RecordedRequest>>>;

const BEGIN_UPLOAD: &str = "POST /devices/d1/files?";
const COMPLETE_UPLOAD: &str = "POST /devices/d1/files/notifications?";
const MIB: usize = 1024 * 1024;

/// Responds like hub and storage, unless `trouble` returns another status, or 0 to close the connection. It receives
/// the number of earlier requests of that kind.
fn serve(hub: Hub, trouble: impl Fn(&RecordedRequest, usize) -> Option<u16> + Send + Sync + 'static) -> Log {
    let log = Log::default();
    let seen = log.clone();
    let trouble = Arc::new(trouble);
    tokio::spawn(async move {
        loop {
            let Ok(stream) = hub.accept().await else { continue };
            let (seen, trouble) = (seen.clone(), trouble.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (seen, trouble) = (seen.clone(), trouble.clone());
                async move { answer(request, &seen, &*trouble).await }
            });
            tokio::spawn(async move {
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    log
}

async fn answer(
    request: Request<Incoming>,
    log: &Log,
    trouble: &(dyn Fn(&RecordedRequest, usize) -> Option<u16> + Send + Sync),
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let line = format!("{} {}", head.method, head.uri);
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let request = RecordedRequest { line, headers: head.headers, body };
    let before = {
        let mut log = log.lock().unwrap();
        let before = log.iter().filter(|seen| seen.line == request.line).count();
        log.push(request.clone());
        before
    };
    let (status, body) = match trouble(&request, before) {
        Some(0) => return Err(std::io::ErrorKind::ConnectionReset.into()),
        Some(status) => (status, json!({ "errorCode": 400_015, "message": "no" }).to_string()),
        None if request.is(BEGIN_UPLOAD) => {
            let place = json!({
                "correlationId": "c1", "hostName": "hub.test", "containerName": "files",
                "blobName": format!("d1/{}", request.json()["blobName"].as_str().unwrap()),
                "sasToken": "?sig=s%2F",
            });
            (200, place.to_string())
        }
        None if request.is("POST /twins") => (200, r#"{"status":7,"payload":{ "a":1 }}"#.to_owned()),
        None if request.is(COMPLETE_UPLOAD) => (204, String::new()),
        None => (201, String::new()),
    };
    Ok(Response::builder().status(status).body(Full::new(body.into())).unwrap())
}

async fn client(
    trouble: impl Fn(&RecordedRequest, usize) -> Option<u16> + Send + Sync + 'static,
) -> (DeviceClient, Log) {
    client_with(trouble, |b| b).await
}

async fn client_with(
    trouble: impl Fn(&RecordedRequest, usize) -> Option<u16> + Send + Sync + 'static,
    change: impl FnOnce(Builder) -> Builder,
) -> (DeviceClient, Log) {
    let authority = TestCa::new();
    let hub = authority.hub("hub.test", false).await;
    let quick = RetryPolicy::default().initial_delay(Duration::from_millis(5));
    let builder = authority
        .builder("hub.test", hub.address())
        .https_port(hub.address().port())
        .retry(quick)
        .offline(OfflinePolicy::Fail)
        .product_info("pump/2");
    let client = change(builder).build().unwrap();
    (client, serve(hub, trouble))
}

fn lines(log: &Log) -> Vec<String> {
    log.lock().unwrap().iter().map(|seen| seen.line.clone()).collect()
}

fn completions(log: &Log) -> Vec<Value> {
    log.lock().unwrap().iter().filter(|seen| seen.is(COMPLETE_UPLOAD)).map(RecordedRequest::json).collect()
}

#[tokio::test]
async fn a_small_file_is_one_request() {
    let (client, log) = client(|_, _| None).await;
    let upload = FileUpload::new("a b/é.txt", "hello").content_type("text/plain");
    let file = client.upload_file(upload).await.unwrap();
    assert_eq!((file.blob_name.as_str(), file.blob_size_in_bytes), ("d1/a b/é.txt", 5));
    assert_eq!(file.blob_uri, "https://hub.test/files/d1/a%20b/%C3%A9.txt");
    let log = log.lock().unwrap();
    let [begin, put, end] = log.as_slice() else { panic!("{log:?}") };
    assert!(begin.is(BEGIN_UPLOAD) && begin.line.contains("api-version=") && end.is(COMPLETE_UPLOAD));
    for request in [begin, end] {
        let token = request.headers[AUTHORIZATION].to_str().unwrap();
        assert!(token.starts_with("SharedAccessSignature sr=hub.test%2Fdevices%2Fd1&"), "{token}");
        assert!(request.headers["user-agent"].to_str().unwrap().ends_with("pump/2"));
    }
    assert_eq!(put.line, "PUT /files/d1/a%20b/%C3%A9.txt?sig=s%2F");
    assert!(!put.headers.contains_key(AUTHORIZATION), "the store has a signature of its own");
    assert_eq!(put.headers["x-ms-blob-type"], "BlockBlob");
    assert_eq!(put.headers["content-type"], "text/plain");
    assert_eq!(&put.body[..], b"hello");
    let expected =
        json!({ "correlationId": "c1", "isSuccess": true, "statusCode": 200, "statusDescription": "" });
    assert_eq!(end.json(), expected);
}

#[tokio::test]
async fn a_large_file_is_sent_in_blocks_and_each_is_retried() {
    // The second block is interrupted, then refused for a while.
    let (client, log) = client(|seen, before| match (seen.line.contains("blockid=00000001"), before) {
        (true, 0) => Some(0),
        (true, 1) => Some(503),
        _ => None,
    })
    .await;
    let content: Vec<u8> = (0..2 * MIB + 5).map(|number| (number % 251) as u8).collect();
    let progress = Arc::new(Mutex::new(Vec::new()));
    let heard = progress.clone();
    let reader = std::io::Cursor::new(content.clone());
    let upload =
        FileUpload::from_reader("big", reader).on_progress(move |bytes| heard.lock().unwrap().push(bytes));
    assert_eq!(client.upload_file(upload).await.unwrap().blob_size_in_bytes, content.len() as u64);
    assert_eq!(*progress.lock().unwrap(), [MIB as u64, 2 * MIB as u64, 2 * MIB as u64 + 5]);
    let blocks: Vec<String> =
        lines(&log).iter().filter_map(|line| Some(line.split_once("&comp=")?.1.to_owned())).collect();
    let block = |number: u32| format!("block&blockid={number:08}");
    assert_eq!(blocks, [block(0), block(1), block(1), block(1), block(2), "blocklist".to_owned()]);
    let log = log.lock().unwrap();
    let mut kept: Vec<&RecordedRequest> = log.iter().filter(|seen| seen.line.contains("blockid=")).collect();
    kept.drain(1..3);
    assert!(kept.iter().flat_map(|seen| seen.body.iter()).eq(content.iter()), "byte by byte");
    let list = log.iter().find(|seen| seen.line.ends_with("blocklist")).unwrap();
    assert_eq!(
        std::str::from_utf8(&list.body).unwrap(),
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList><Latest>00000000</Latest><Latest>00000001</Latest>\
         <Latest>00000002</Latest></BlockList>"
    );
}

#[tokio::test]
async fn a_failure_is_reported_to_the_hub() {
    let (client, log) = client(|seen, _| seen.is("PUT").then_some(403)).await;
    let error = client.upload_file(FileUpload::new("f", "x")).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(403)));
    let completions = completions(&log);
    assert_eq!(
        (completions.len(), &completions[0]["isSuccess"], &completions[0]["statusCode"]),
        (1, &json!(false), &json!(403))
    );
    assert_eq!(lines(&log).len(), 3, "what cannot get better is not tried again");
}

#[tokio::test]
async fn a_reader_that_fails_ends_the_upload() {
    struct Broken;
    impl tokio::io::AsyncRead for Broken {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Err(std::io::Error::other("the disk is gone")))
        }
    }
    let (client, log) = client(|_, _| None).await;
    let error = client.upload_file(FileUpload::from_reader("f", Broken)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let completions = completions(&log);
    assert_eq!((&completions[0]["isSuccess"], completions.len()), (&json!(false), 1));
    assert!(completions[0]["statusDescription"].as_str().unwrap().contains("the disk is gone"));
}

#[tokio::test]
async fn the_report_is_repeated_until_the_hub_has_it() {
    // The hub received the first report, but its response is lost: the upload is unknown afterwards.
    let (client, log) = client(|seen, before| match (seen.is(COMPLETE_UPLOAD), before) {
        (true, 0) => Some(0),
        (true, _) => Some(400),
        _ => None,
    })
    .await;
    client.upload_file(FileUpload::new("f", "x")).await.unwrap();
    assert_eq!(completions(&log).len(), 2);
}

#[tokio::test]
async fn a_dropped_upload_is_reported() {
    let (client, log) = client(|_, _| None).await;
    // A reader that never returns.
    let (reader, writer) = tokio::io::duplex(1);
    let upload = client.upload_file(FileUpload::from_reader("f", reader));
    assert!(tokio::time::timeout(Duration::from_millis(300), upload).await.is_err());
    drop(writer);
    for _ in 0..100 {
        if !completions(&log).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((completions(&log).len(), &completions(&log)[0]["isSuccess"]), (1, &json!(false)));
}

#[tokio::test]
async fn refused_and_invalid_uploads_are_different_errors() {
    let (client, log) = client(|seen, _| seen.is(BEGIN_UPLOAD).then_some(429)).await;
    let error = client.upload_file(FileUpload::new("f", "x")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Throttled, true));
    assert_eq!(lines(&log).len(), 1);
    let error = client.upload_file(FileUpload::new("", "x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let (module, log) = client_with(|_, _| None, |b| b.module("m")).await;
    let error = module.upload_file(FileUpload::new("f", "x")).await.unwrap_err();
    assert_eq!((error.kind(), lines(&log).len()), (ErrorKind::InvalidInput, 0));
}

#[tokio::test]
async fn a_module_calls_methods_as_itself() {
    let (module, log) = client_with(|_, _| None, |b| b.module("m")).await;
    let call = MethodInvocation::new("close").payload(&json!({ "valve": 3 })).unwrap();
    let response = module.invoke_method(("d#2", "n"), &call).await.unwrap();
    assert_eq!((response.status(), response.payload_text()), (7, "{ \"a\":1 }"));
    let seen = log.lock().unwrap()[0].clone();
    assert!(seen.is("POST /twins/d%232/modules/n/methods?api-version="), "{}", seen.line);
    assert_eq!(seen.headers["x-ms-edge-moduleid"], "d1/m");
    let token = seen.headers[AUTHORIZATION].to_str().unwrap();
    assert!(token.starts_with("SharedAccessSignature sr=hub.test%2Fdevices%2Fd1%2Fmodules%2Fm&"), "{token}");
    assert_eq!(seen.json()["methodName"], "close");
}
