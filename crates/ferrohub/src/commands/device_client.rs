//! Clients that act as a registered device or module, with its key.

use anyhow::{Context as _, bail};
use ferrohub_device::{DeviceClient, Transport};
use ferrohub_model::IdentityId;
use ferrohub_service::{Authentication, Device};

use super::registry::{connection_string, device_identity};
use crate::login::Access;

/// Creates a client for a registered device.
pub(crate) fn from_device(access: &Access, device: &Device, websocket: bool) -> anyhow::Result<DeviceClient> {
    build_client(access, device_identity(device)?, device.authentication.clone(), websocket)
}

/// Creates a client for the device or module with this id: DEVICE or DEVICE/MODULE.
pub(crate) async fn from_id(access: &Access, id: &str, websocket: bool) -> anyhow::Result<DeviceClient> {
    let identity = IdentityId::parse(id).with_context(|| format!("{id:?} is not DEVICE or DEVICE/MODULE"))?;
    match identity.module_str() {
        None => from_device(access, &access.client.get_device(id).await?, websocket),
        Some(module) => {
            let module = access.client.get_module(identity.device_str(), module).await?;
            build_client(access, identity, module.authentication, websocket)
        }
    }
}

fn build_client(
    access: &Access,
    identity: IdentityId,
    authentication: Option<Authentication>,
    websocket: bool,
) -> anyhow::Result<DeviceClient> {
    let name = identity.to_string();
    let login = connection_string(access, identity, authentication, false)?;
    if !login.reveal().contains("SharedAccessKey=") {
        bail!(
            "{name} authenticates with a certificate, whose private key the hub does not have; use a device SDK with \
             that certificate instead"
        );
    }
    let mut builder = DeviceClient::builder_from_connection_string(&login.reveal())?;
    if websocket {
        builder = builder.transport(Transport::MqttWebSocket);
    }
    if let Some(local) = &access.local {
        let address = if websocket { local.https } else { local.mqtt };
        builder = builder.port(address.port()).connect_to(address);
        builder = builder.https_port(local.https.port()).https_connect_to(local.https);
        if let Some(ca) = &local.ca {
            // A storage account for files has a certificate of a public CA.
            builder = builder.additional_root_certificates(ca.clone());
        }
    }
    Ok(builder.build()?)
}
