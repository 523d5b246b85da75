//! Authenticates devices and modules that send HTTPS requests.

use axum::http::HeaderMap;
use ferrohub_core::DeviceCaller;
use ferrohub_model::HubError;

use super::request::{Target, authorization};
use super::server::Api;
use crate::peer::Peer;

/// Authenticates the caller as the device or module that the path names, with the token in the `Authorization` header
/// or with the client certificate of the connection.
pub(super) async fn device_caller(
    api: &Api,
    target: &Target,
    headers: &HeaderMap,
    peer: &Peer,
) -> Result<DeviceCaller, HubError> {
    let id = target.identity()?;
    api.hub.authorize_device(&id, authorization(headers), peer.certificate.as_ref()).await
}
