//! Proves who asks: turns tokens and certificates into callers.

use std::sync::Arc;

use ferrohub_model::sas::SasToken;
use ferrohub_model::{DeviceId, HubError, IdentityId};

use super::{DeviceCaller, ServiceCaller};
use crate::auth::{
    self, AuthorizationError, Claim, DeviceAuthError, NO_POLICY, PeerCertificate, TokenScope,
    VerifiedCredential, Verifier, authenticate_policy_key, authenticate_service,
};
use crate::hub::Hub;
use crate::log_limit::excerpt;
use crate::metrics::count;
use crate::operations::Operation;
use crate::registry::Identity;
use crate::store::store_failed;
use crate::{log_limited, request_peer};

/// The reason of a refusal of a device or module that may not use the operation, or not for this target. The response
/// does not say which.
pub(crate) const CALLER_NOT_ALLOWED: &str = "caller_not_allowed";

/// The sender of a request that services, devices and modules may send.
#[derive(Debug)]
pub enum Caller {
    /// A service.
    Service(ServiceCaller),
    /// A device or module. Boxed, because it is larger and rarer.
    Device(Box<DeviceCaller>),
}

/// What a client presents with a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The header `Authorization`.
    pub token: Option<&'a str>,
    /// The client certificate of the TLS handshake.
    pub certificate: Option<&'a PeerCertificate>,
}

impl Hub {
    /// Proves that a service with the right to `operation` sent a request, by its `Authorization` header.
    ///
    /// # Errors
    ///
    /// `IotHubUnauthorizedAccess`, whatever the reason: it is counted and logged.
    pub async fn authenticate_service(
        self: &Arc<Self>,
        header: Option<&str>,
        operation: Operation,
    ) -> Result<ServiceCaller, HubError> {
        match self.find_service(header).await {
            Ok(caller) => caller.check(operation).map(|()| caller),
            Err(refused) => Err(self.refuse_token(refused, header, operation)),
        }
    }

    /// Proves which service opened a connection, by a token as in the header `Authorization`. Each operation on the
    /// connection needs its own right, which the caller then checks; the token may cover events only. `operation` stands
    /// in the log if the proof fails.
    ///
    /// # Errors
    ///
    /// `IotHubUnauthorizedAccess`, whatever the reason: it is counted and logged.
    pub async fn authenticate_service_connection(
        self: &Arc<Self>,
        token: Option<&str>,
        operation: Operation,
    ) -> Result<ServiceCaller, HubError> {
        self.verify_service(token).await.map_err(|refused| self.refuse_token(refused, token, operation))
    }

    /// Proves which service opened a connection to read events, by the name and a key of its policy.
    ///
    /// # Errors
    ///
    /// `IotHubUnauthorizedAccess`, whatever the reason: it is counted and logged.
    pub fn authenticate_policy_key(
        self: &Arc<Self>,
        policy: &str,
        key: &str,
        operation: Operation,
    ) -> Result<ServiceCaller, HubError> {
        match authenticate_policy_key(policy, key, &self.policies) {
            Ok(verified) => Ok(ServiceCaller::new(self.clone(), verified)),
            Err(refused) => Err(self.refuse_service(refused, Some(policy), None, operation)),
        }
    }

    /// Proves that the device or module `id` sent a request, and records its activity.
    ///
    /// # Errors
    ///
    /// `IotHubUnauthorizedAccess`, whatever the reason: it is counted and logged. An error of the store.
    pub async fn authenticate_device(
        self: &Arc<Self>,
        id: &IdentityId,
        credentials: Credentials<'_>,
        operation: Operation,
    ) -> Result<DeviceCaller, HubError> {
        match self.find_device(id, credentials).await? {
            Ok(caller) => caller.check(operation).map(|()| caller),
            Err(error) => {
                let refused = AuthorizationError::new(error.reason());
                Err(self.refuse_identity(refused, id, Some(&error), operation))
            }
        }
    }

    /// Proves who sent a request that a service, or the device or module that `claimed` returns, may send. `claimed` is
    /// called only if no service sent the request; `None` refuses it.
    ///
    /// # Errors
    ///
    /// As [`authenticate_service`](Self::authenticate_service) and [`authenticate_device`](Self::authenticate_device).
    pub async fn authenticate_service_or_device(
        self: &Arc<Self>,
        credentials: Credentials<'_>,
        claimed: impl FnOnce() -> Option<IdentityId> + Send,
        operation: Operation,
    ) -> Result<Caller, HubError> {
        let Credentials { token, certificate } = credentials;
        let refused = match self.find_service(token).await {
            Ok(caller) => return caller.check(operation).map(|()| Caller::Service(caller)),
            Err(refused) => refused,
        };
        let is_service = match token {
            Some(_) => refused.reason != NO_POLICY,
            None => certificate.is_none(),
        };
        if is_service {
            return Err(self.refuse_token(refused, token, operation));
        }
        let Some(id) = claimed() else {
            return Err(self.refuse_token(AuthorizationError::new(CALLER_NOT_ALLOWED), token, operation));
        };
        let caller = Box::pin(self.authenticate_device(&id, credentials, operation)).await?;
        Ok(Caller::Device(Box::new(caller)))
    }

    /// Finds the service that sent a request. Its token must cover the whole hub.
    async fn find_service(
        self: &Arc<Self>,
        header: Option<&str>,
    ) -> Result<ServiceCaller, AuthorizationError> {
        let caller = self.verify_service(header).await?;
        match caller.scope() {
            TokenScope::Hub => Ok(caller),
            TokenScope::Events(_) => Err(AuthorizationError::new("wrong_resource")),
        }
    }

    async fn verify_service(
        self: &Arc<Self>,
        token: Option<&str>,
    ) -> Result<ServiceCaller, AuthorizationError> {
        let (host, entra) = (&self.host, self.entra.as_ref());
        let verified = authenticate_service(token, host, &self.policies, entra, self.clock.now()).await?;
        Ok(ServiceCaller::new(self.clone(), verified))
    }

    async fn find_device(
        self: &Arc<Self>,
        id: &IdentityId,
        credentials: Credentials<'_>,
    ) -> Result<Result<DeviceCaller, DeviceAuthError>, HubError> {
        let Some(identity) = self.find_identity(id).await? else {
            return Ok(Err(DeviceAuthError::UnknownIdentity));
        };
        let device = if id.module_str().is_some() { self.device_of(id).await? } else { None };
        let Credentials { token, certificate } = credentials;
        let verified = self.authenticate(&identity, device.as_ref(), token, certificate).await;
        Ok(verified.map(|verified| {
            self.record_activity(&identity);
            DeviceCaller::new(self.clone(), identity, verified.credential, device)
        }))
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

    /// Returns the device of a module, or the device itself.
    pub(crate) async fn device_of(&self, id: &IdentityId) -> Result<Option<Identity>, HubError> {
        match DeviceId::new(id.device_str()) {
            Ok(device) => self.find_identity(&device.into()).await,
            Err(_) => Ok(None),
        }
    }

    async fn find_identity(&self, id: &IdentityId) -> Result<Option<Identity>, HubError> {
        self.store.identity(id).await.map_err(store_failed)
    }

    /// Counts and logs the refusal of a request that no service proved to have sent.
    fn refuse_token(
        &self,
        refused: AuthorizationError,
        header: Option<&str>,
        operation: Operation,
    ) -> HubError {
        // What the token claims; it need not be true.
        let token = header.and_then(|header| SasToken::parse(header).ok());
        self.refuse_service(refused, token.as_ref().and_then(SasToken::policy), None, operation)
    }

    /// Counts and logs the refusal of a service.
    pub(super) fn refuse_service(
        &self,
        refused: AuthorizationError,
        policy: Option<&str>,
        subject: Option<&str>,
        operation: Operation,
    ) -> HubError {
        count(&self.metrics.unauthorized, refused.reason);
        log_limited!(
            info,
            "service request refused",
            refused.reason,
            peer = request_peer::peer(),
            policy = policy.map(excerpt),
            subject = subject.map(excerpt),
            operation = operation.name(),
            remedy = auth::remedy(refused.reason)
        );
        refused.error
    }

    /// Counts and logs the refusal of a device or module.
    pub(super) fn refuse_identity(
        &self,
        refused: AuthorizationError,
        id: &IdentityId,
        error: Option<&DeviceAuthError>,
        operation: Operation,
    ) -> HubError {
        count(&self.metrics.unauthorized, refused.reason);
        log_limited!(
            info,
            "device request refused",
            refused.reason,
            device = %id,
            peer = request_peer::peer(),
            error = error.map(tracing::field::display),
            operation = operation.name(),
            remedy = auth::remedy(refused.reason)
        );
        refused.error
    }
}
