//! Authorization of HTTPS requests.

use ferrohub_model::sas::SasToken;
use ferrohub_model::{DeviceId, HubError, IdentityId};

use crate::auth::Credential;
use crate::auth::{
    self, AuthorizationError, Claim, DeviceAuthError, NO_POLICY, Operation, PeerCertificate, Principal,
    VerifiedCredential, Verifier,
};
use crate::hub::Hub;
use crate::log_limit::excerpt;
use crate::metrics::count;
use crate::registry::Identity;
use crate::{log_limited, request_peer};

/// The refusal reason for a module that failed authentication or may not call the target. The response does not say
/// which.
const CALLER_NOT_ALLOWED: &str = "caller_not_allowed";

/// The sender of a request about the modules of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleCaller {
    /// A service with the right to read or write the registry.
    Service,
    /// The device itself.
    Device,
}

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
        self.try_authorize(header, operation)
            .await
            .map_err(|refused| self.record_refusal(refused, header, operation))
    }

    /// Authorizes a method call by its `Authorization` header.
    ///
    /// A service with the right may call every device and module. A module may call its own device and that device's
    /// modules. If its device is an edge device, it may also call the devices in its scope (those below it) and their
    /// modules. `calling_module` returns the module that the request names as its sender, if it does; it is called only
    /// if no service sent the request.
    pub async fn authorize_call<'a>(
        &self,
        header: Option<&str>,
        calling_module: impl FnOnce() -> Option<&'a str> + Send,
        target: &IdentityId,
    ) -> Result<(), HubError> {
        let refused = match self.try_authorize(header, Operation::InvokeMethod).await {
            Ok(_) => return Ok(()),
            Err(refused) if refused.reason != NO_POLICY => refused,
            Err(_) => {
                let token = header.unwrap_or_default();
                match self.authorize_module_call(token, calling_module(), target).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => AuthorizationError::new(CALLER_NOT_ALLOWED),
                    Err(error) => return Err(error),
                }
            }
        };
        Err(self.record_refusal(refused, header, Operation::InvokeMethod))
    }

    /// Authorizes a request about the modules of `device`: a service with the right, or the device itself with its own
    /// credential. A module has no access to other modules.
    pub async fn authorize_modules(
        &self,
        device: &DeviceId,
        header: Option<&str>,
        certificate: Option<&PeerCertificate>,
        operation: Operation,
    ) -> Result<ModuleCaller, HubError> {
        let refused = match self.try_authorize(header, operation).await {
            Ok(_) => return Ok(ModuleCaller::Service),
            Err(refused) => refused,
        };
        let is_device = match header {
            Some(_) => refused.reason == NO_POLICY,
            None => certificate.is_some(),
        };
        if !is_device {
            return Err(self.record_refusal(refused, header, operation));
        }
        match self.authenticate_identity(&IdentityId::device(device), header, certificate).await? {
            Ok(caller) => {
                self.record_activity(&caller.identity);
                Ok(ModuleCaller::Device)
            }
            Err(error) => {
                Err(self.record_refusal(AuthorizationError::new(error.reason()), header, operation))
            }
        }
    }

    async fn try_authorize(
        &self,
        header: Option<&str>,
        operation: Operation,
    ) -> Result<Principal, AuthorizationError> {
        let entra = self.entra.as_ref();
        auth::authorize(header, operation, &self.host, &self.policies, entra, self.clock.now()).await
    }

    fn record_refusal(
        &self,
        refused: AuthorizationError,
        header: Option<&str>,
        operation: Operation,
    ) -> HubError {
        count(&self.metrics.unauthorized, refused.reason);
        let token = header.and_then(|header| SasToken::parse(header).ok());
        log_limited!(
            info,
            "service request refused",
            refused.reason,
            peer = request_peer::peer(),
            // What the token claims; it need not be true.
            policy = token.as_ref().and_then(|token| token.policy()).map(excerpt),
            subject = refused.subject.as_deref().map(excerpt),
            ?operation,
            remedy = auth::remedy(refused.reason)
        );
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
                let reason = error.reason();
                count(&self.metrics.unauthorized, reason);
                log_limited!(
                    info,
                    "device request refused",
                    reason,
                    device = %id,
                    peer = request_peer::peer(),
                    %error,
                    remedy = auth::remedy(reason)
                );
                Err(AuthorizationError::new(reason).error)
            }
        }
    }

    /// Verifies the credential that a client presented for `identity`, and that the identity and its device are enabled.
    /// `device` is the device of a module.
    pub(crate) async fn authenticate(
        &self,
        identity: &Identity,
        device: Option<&Identity>,
        token: Option<&str>,
        certificate: Option<&PeerCertificate>,
    ) -> Result<VerifiedCredential, DeviceAuthError> {
        let verifier = Verifier {
            host: &self.host,
            policies: &self.policies,
            authorities: &self.authorities,
            now: self.clock.now(),
        };
        auth::authenticate(&Claim { identity, device }, token, certificate, &verifier).await
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
        let device = if id.module_str().is_some() { self.device_of(id).await? } else { None };
        let verified = self.authenticate(&identity, device.as_ref(), token, certificate).await;
        Ok(verified.map(|verified| DeviceCaller { identity, credential: verified.credential, device }))
    }

    /// Every SDK names the calling module in a header, because `sr` need not name it completely.
    async fn authorize_module_call(
        &self,
        token: &str,
        calling_module: Option<&str>,
        target: &IdentityId,
    ) -> Result<bool, HubError> {
        let caller = match calling_module {
            Some(caller) => IdentityId::parse(caller).ok(),
            None => SasToken::parse(token).ok().and_then(|token| token.resource()?.identity()),
        };
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

    /// Returns the device of a module, or the device itself.
    pub(crate) async fn device_of(&self, id: &IdentityId) -> Result<Option<Identity>, HubError> {
        match DeviceId::new(id.device_str()) {
            Ok(device) => self.find_identity(&device.into()).await,
            Err(_) => Ok(None),
        }
    }

    async fn find_identity(&self, id: &IdentityId) -> Result<Option<Identity>, HubError> {
        self.store.identity(id).await.map_err(crate::store::store_failed)
    }
}

/// Returns whether the device is directly below the edge device with this scope: a leaf device has the scope of its
/// parent as its own, an edge device lists it in its parent scopes.
fn is_in_scope(device: &Identity, scope: &str) -> bool {
    let is_leaf_of = !device.iot_edge && device.device_scope.as_deref() == Some(scope);
    is_leaf_of || device.parent_scopes.iter().any(|parent| parent == scope)
}
