//! `/ferrohub-uploads/{device}/{file}` and `/ferrohub-import-export/{file}`: the blob endpoint. Serves the hub's file store
//! like block blobs of Azure Storage: the files of devices, and the container for import and export.
//!
//! Supports only the operations that a storage client needs: Put Blob, Put Block, Put Block List, Get Blob, Get Blob
//! Properties and Delete Blob, and List Blobs in the container for import and export, if the signature in the query (`ferrohub_model::blob_sas`) grants them. Bodies
//! are streamed to and from the disk. The requests of an upload:
//!
//! * In one request: `PUT …/{blob}?{sas}` with `x-ms-blob-type: BlockBlob` and the bytes → 201.
//! * In blocks: `PUT …/{blob}?comp=block&blockid={base64}&{sas}` with the bytes of a block → 201, once per block, then
//!   `PUT …/{blob}?comp=blocklist&{sas}` with `<BlockList><Latest>{base64}</Latest>…</BlockList>` → 201.
//!
//! An error response is XML (`error.rs`); its code is also in the header `x-ms-error-code`.

mod block_list;
mod error;
mod headers;
mod list;
mod transfer;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrohub_core::files::{Blob, PutOptions};
use ferrohub_core::{BlobCaller, Operation};
use ferrohub_model::file::BlobName;
use ferrohub_model::percent;
use md5::{Digest as _, Md5};
use tokio::time::Instant;

use self::error::BlobApiError;
use self::transfer::UploadBody;
use crate::http::{
    DownloadBody, HttpConnection, HttpContext, HttpLimits, REQUEST_ID, RequestBody, download_body,
    fresh_request_id, query,
};

/// The container: the first segment of the path, which no other resource of the hub uses.
pub const CONTAINER: &str = "ferrohub-uploads";
/// The path of the container.
pub(crate) const PATH: &str = "/ferrohub-uploads";
/// The path of the container for import and export.
pub(crate) const IMPORT_EXPORT_PATH: &str = "/ferrohub-import-export";
/// The storage API version of responses.
const STORAGE_API_VERSION: &str = "2020-12-06";
/// Maximum size of a block list: fits 50,000 ids with their tags.
const MAX_BLOCK_LIST_BYTES: usize = 8 * 1024 * 1024;

/// Serves any request below the container.
pub(crate) async fn serve(
    context: &HttpContext,
    connection: &HttpConnection,
    parts: Parts,
    body: RequestBody,
) -> (Option<Operation>, Response) {
    let client_id = parts.headers.get("x-ms-client-request-id").cloned();
    let mut body = UploadBody::new(body, context);
    let (operation, result) = match operation(&parts.method, &parts.uri) {
        Ok(operation) => {
            (Some(operation), try_serve(context, connection, operation, &parts, &mut body).await)
        }
        Err(error) => (None, Err(error)),
    };
    let mut response = match result {
        Ok(response) => response,
        Err(error) => {
            // Many clients send the whole body before they read the response. Do not wait again for a client that has
            // stopped sending.
            if !error.is_timeout() {
                body.discard().await;
            }
            error.into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert("x-ms-version", HeaderValue::from_static(STORAGE_API_VERSION));
    headers.entry(REQUEST_ID).or_insert_with(fresh_request_id);
    if let Some(id) = client_id {
        headers.insert("x-ms-client-request-id", id);
    }
    (operation, response)
}

/// Returns the operation that a request asks for.
fn operation(method: &Method, uri: &Uri) -> Result<Operation, BlobApiError> {
    match (method, query(uri, "comp")) {
        (&Method::GET, Some("list")) if is_container(uri.path()) => Ok(Operation::ListBlobs),
        _ if is_container(uri.path()) => Err(BlobApiError::unknown_verb()),
        (&Method::PUT, None | Some("block" | "blocklist")) => Ok(Operation::PutBlob),
        (&Method::GET | &Method::HEAD, None) => Ok(Operation::GetBlob),
        (&Method::DELETE, None) => Ok(Operation::DeleteBlob),
        (&Method::PUT | &Method::GET | &Method::HEAD | &Method::DELETE, Some(comp)) => {
            Err(BlobApiError::unknown_query(comp))
        }
        _ => Err(BlobApiError::unknown_verb()),
    }
}

async fn try_serve(
    context: &HttpContext,
    connection: &HttpConnection,
    operation: Operation,
    parts: &Parts,
    body: &mut UploadBody,
) -> Result<Response, BlobApiError> {
    let Parts { method, uri, headers, .. } = parts;
    let name = if is_container(uri.path()) { None } else { Some(blob_name(uri)?) };
    let sas = uri.query().unwrap_or_default();
    let caller = match name {
        Some(name) if name.name_in_container().is_none() => {
            context.hub.authenticate_blob(sas, &name, operation).await?
        }
        name => context.hub.authenticate_container(sas, name, operation).await?,
    };
    if !connection.is_authenticated() {
        connection.authenticate(&context.caller_connections, &caller)?;
    }
    let deadline = Instant::now() + caller.remaining() + context.limits.file_idle_timeout;
    body.set_deadline(deadline);
    headers::refuse_unsupported(headers)?;
    let mut condition = headers::condition(headers)?;
    let permits = &context.transfer_permits;
    let permit = permits.acquire_for_device(caller.owner()).map_err(BlobApiError::server_busy)?;
    condition.create_only = operation == Operation::PutBlob && !caller.may_replace();
    match (method, query(uri, "comp")) {
        (&Method::GET, Some("list")) => list::list(&caller, uri).await,
        (&Method::PUT, None) => {
            let (properties, md5) = (headers::properties(headers, true)?, headers::md5(headers, true)?);
            headers::require_block_blob(headers)?;
            let blob = caller.put(PutOptions { properties, md5, condition }, body).await?;
            Ok(created(&blob, blob.properties.get("content-md5").map(String::as_str)))
        }
        (&Method::PUT, Some("block")) => put_block(&caller, uri, headers, body).await,
        (&Method::PUT, Some(_)) => {
            let limits = HttpLimits { body_bytes: MAX_BLOCK_LIST_BYTES, ..context.limits.clone() };
            let list = body.read_all(&limits, headers::md5(headers, false)?).await?;
            let ids = block_list::parse(&list)?;
            let properties = headers::properties(headers, false)?;
            let blob = caller.put_block_list(&ids, PutOptions { properties, md5: None, condition }).await?;
            Ok(created(&blob, Some(&STANDARD.encode(Md5::digest(&list)))))
        }
        (&Method::DELETE, _) => {
            caller.delete(&condition).await?;
            Ok(StatusCode::ACCEPTED.into_response())
        }
        (&Method::HEAD, _) => {
            let blob = caller.stat().await?.ok_or_else(BlobApiError::no_such_blob)?;
            condition.check(Some(&blob)).map_err(BlobApiError::not_modified_or)?;
            let mut response = StatusCode::OK.into_response();
            headers::write_blob_headers(&blob, response.headers_mut());
            response.headers_mut().insert(header::CONTENT_LENGTH, blob.bytes.into());
            Ok(response)
        }
        _ => {
            let range = headers::range(headers);
            let open = caller.open(range).await?;
            condition.check(Some(&open.blob)).map_err(BlobApiError::not_modified_or)?;
            let (blob, offset, length) = (open.blob, open.offset, open.length);
            if range.is_some() && length == 0 {
                return Err(BlobApiError::range_not_satisfiable(blob.bytes));
            }
            let body = DownloadBody { stream: open.stream, length, deadline: Some(deadline), permit };
            let mut response = download_body(body, context).into_response();
            headers::write_blob_headers(&blob, response.headers_mut());
            if range.is_some() {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                headers::write_range_headers(&blob, offset, length, response.headers_mut());
            }
            Ok(response)
        }
    }
}

async fn put_block(
    caller: &BlobCaller,
    uri: &Uri,
    headers: &HeaderMap,
    body: &mut UploadBody,
) -> Result<Response, BlobApiError> {
    let id = query(uri, "blockid").and_then(percent::decode).ok_or_else(BlobApiError::invalid_block_id)?;
    let md5 = caller.put_block(&id, headers::md5(headers, false)?, body).await?;
    let mut response = StatusCode::CREATED.into_response();
    headers::insert(response.headers_mut(), "content-md5", &STANDARD.encode(md5));
    headers::insert(response.headers_mut(), "x-ms-request-server-encrypted", "false");
    Ok(response)
}

/// Returns whether a path is that of a blob, or of the container for import and export.
pub(crate) fn is_below(path: &str) -> bool {
    let is_blob_in = |container| {
        path.strip_prefix(container).is_some_and(|rest: &str| rest.len() > 1 && rest.starts_with('/'))
    };
    is_container(path) || is_blob_in(PATH) || is_blob_in(IMPORT_EXPORT_PATH)
}

/// Returns whether a path is that of the container for import and export, and not of a blob there.
fn is_container(path: &str) -> bool {
    path.trim_end_matches('/') == IMPORT_EXPORT_PATH
}

/// Returns the name of the blob in a path.
fn blob_name(uri: &Uri) -> Result<BlobName, BlobApiError> {
    let below = |container| uri.path().strip_prefix(container).and_then(|path| path.strip_prefix('/'));
    let name = |path: Option<&str>| path.and_then(percent::decode).ok_or_else(BlobApiError::invalid_name);
    let parsed = match below(IMPORT_EXPORT_PATH) {
        Some(path) => BlobName::in_container(&name(Some(path))?),
        None => BlobName::parse(&name(below(PATH))?),
    };
    parsed.map_err(|_| BlobApiError::invalid_name())
}

/// Builds a 201 response. `md5` is the MD5 of the request's body, which clients may compare with their own.
fn created(blob: &Blob, md5: Option<&str>) -> Response {
    let mut response = (StatusCode::CREATED, Body::empty()).into_response();
    let headers = response.headers_mut();
    headers::write_version_headers(blob, headers);
    if let Some(md5) = md5 {
        headers::insert(headers, "content-md5", md5);
    }
    headers::insert(headers, "x-ms-request-server-encrypted", "false");
    response
}
