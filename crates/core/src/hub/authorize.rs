//! Authorization of HTTPS requests.

use ferrohub_model::device::Status;
use ferrohub_model::sas::SasToken;
use ferrohub_model::{DeviceId, HubError, IdentityId};
use tracing::info;

use super::Hub;
use crate::auth::{
    self, AuthorizationError, DeviceAuthError, NO_POLICY, Operation, PeerCertificate, Principal, authenticate,
};
use crate::connections::Credential;
use crate::metrics::count;
use crate::registry::Identity;

/// The refusal reason for a module that failed authentication or may not call the target. The response does not say
/// which.
const CALLER_NOT_ALLOWED: &str = "caller_not_allowed";

/// An authenticated device or module that sent an HTTPS request.
#[derive(Debug, Clone)]
pub struct DeviceCaller {
    /// The identity of the caller.
    pub identity: Identity,
    /// The credential that it authenticated with.
    pub credential: Credential,
    /// For a module: its device.
    device: Option<Identity>,
}

impl DeviceCaller {
    /// Returns the device: the caller itself, or the device of the module.
    fn device(&self) -> &Identity {
        self.device.as_ref().unwrap_or(&self.identity)
    }
}

impl Hub {
    /// Authorizes a service request by its `Authorization` header.
    pub async fn authorize(&self, header: Option<&str>, operation: Operation) -> Result<Principal, HubError> {
        self.try_authorize(header, operation).await.map_err(|refused| self.record_refusal(refused, operation))
    }

    /// Authorizes a method call by its `Authorization` header.
    ///
    /// A service with the right may call every device and module. A module may call its own device and that device's
    /// modules. If its device is an edge device, it may also call the devices in its scope (those below it) and their
    /// modules.
    pub async fn authorize_call(&self, header: Option<&str>, target: &IdentityId) -> Result<(), HubError> {
        let refused = match self.try_authorize(header, Operation::InvokeMethod).await {
            Ok(_) => return Ok(()),
            Err(refused) if refused.reason != NO_POLICY => refused,
            Err(_) => match self.authorize_module_call(header.unwrap_or_default(), target).await {
                Ok(true) => return Ok(()),
                Ok(false) => AuthorizationError::new(CALLER_NOT_ALLOWED),
                Err(error) => return Err(error),
            },
        };
        Err(self.record_refusal(refused, Operation::InvokeMethod))
    }

    async fn try_authorize(
        &self,
        header: Option<&str>,
        operation: Operation,
    ) -> Result<Principal, AuthorizationError> {
        let entra = self.entra.as_ref();
        auth::authorize(header, operation, &self.host, &self.policies, entra, self.clock.now()).await
    }

    fn record_refusal(&self, refused: AuthorizationError, operation: Operation) -> HubError {
        count(&self.metrics.unauthorized, refused.reason);
        info!(reason = refused.reason, ?operation, "service request refused");
        refused.error
    }

    /// Authenticates a request of a device or module by its `Authorization` header or its client certificate, and
    /// updates the identity's last-activity time.
    pub async fn authorize_device(
        &self,
        id: &IdentityId,
        header: Option<&str>,
        certificate: Option<&PeerCertificate>,
    ) -> Result<DeviceCaller, HubError> {
        match self.authenticate_identity(id, header, certificate).await? {
            Ok(caller) => {
                self.record_activity(&caller.identity);
                Ok(caller)
            }
            Err(error) => {
                count(&self.metrics.unauthorized, error.reason());
                info!(device = %id, %error, "device request refused");
                Err(AuthorizationError::new(error.reason()).error)
            }
        }
    }

    /// Authenticates a device or module, and checks that it and its device are enabled.
    async fn authenticate_identity(
        &self,
        id: &IdentityId,
        token: Option<&str>,
        certificate: Option<&PeerCertificate>,
    ) -> Result<Result<DeviceCaller, DeviceAuthError>, HubError> {
        let Some(identity) = self.find_identity(id).await? else {
            return Ok(Err(DeviceAuthError::UnknownIdentity));
        };
        let now = self.clock.now();
        let verified =
            authenticate(&identity, token, certificate, &self.host, &self.policies, &self.authorities, now)
                .await;
        let credential = match verified {
            Ok(verified) => verified.credential,
            Err(error) => return Ok(Err(error)),
        };
        let device = if id.module_str().is_some() { self.device_of(id).await? } else { None };
        let caller = DeviceCaller { identity, credential, device };
        Ok(match caller.device().status {
            Status::Enabled => Ok(caller),
            Status::Disabled => Err(DeviceAuthError::Disabled),
        })
    }

    async fn authorize_module_call(&self, token: &str, target: &IdentityId) -> Result<bool, HubError> {
        let caller = SasToken::parse(token).ok().and_then(|token| token.resource()?.identity());
        let Some(caller) = caller.filter(|caller| caller.module_str().is_some()) else { return Ok(false) };
        let Ok(caller) = self.authenticate_identity(&caller, Some(token), None).await? else {
            return Ok(false);
        };
        if target.device_str() == caller.identity.id.device_str() {
            return Ok(true);
        }
        let device = caller.device();
        let Some(scope) = device.device_scope.as_ref().filter(|_| device.iot_edge) else { return Ok(false) };
        let target = self.device_of(target).await?;
        Ok(target.is_some_and(|target| is_in_scope(&target, scope)))
    }

    async fn device_of(&self, id: &IdentityId) -> Result<Option<Identity>, HubError> {
        match DeviceId::new(id.device_str()) {
            Ok(device) => self.find_identity(&device.into()).await,
            Err(_) => Ok(None),
        }
    }

    async fn find_identity(&self, id: &IdentityId) -> Result<Option<Identity>, HubError> {
        self.store.identity(id).await.map_err(super::store_failed)
    }
}

/// Returns whether the device is directly below the edge device with this scope: a leaf device has the scope of its
/// parent as its own, an edge device lists it in its parent scopes.
fn is_in_scope(device: &Identity, scope: &str) -> bool {
    let is_leaf_of = !device.iot_edge && device.device_scope.as_deref() == Some(scope);
    is_leaf_of || device.parent_scopes.iter().any(|parent| parent == scope)
}
