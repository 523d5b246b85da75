//! Limits the open connections of each caller, so that one policy, principal or device cannot take all of them. HTTPS and
//! AMQP have a limit each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrohub_core::auth::Principal;
use ferrohub_core::{BlobCaller, Caller, DeviceCaller, ServiceCaller};
use ferrohub_model::{ErrorCode, HubError};

/// The name under which the connections of a caller are counted. The modules of a device count as the device.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum CallerName {
    Policy(Arc<str>),
    Principal(String),
    Device(String),
}

impl From<&ServiceCaller> for CallerName {
    fn from(caller: &ServiceCaller) -> Self {
        match caller.principal() {
            Principal::Policy(policy) => Self::Policy(policy.name.clone()),
            Principal::Entra { subject, .. } => Self::Principal(subject.clone()),
        }
    }
}

impl From<&DeviceCaller> for CallerName {
    fn from(caller: &DeviceCaller) -> Self {
        Self::Device(caller.id().device_str().to_owned())
    }
}

impl From<&Caller> for CallerName {
    fn from(caller: &Caller) -> Self {
        match caller {
            Caller::Service(service) => service.into(),
            Caller::Device(device) => (&**device).into(),
        }
    }
}

impl From<&BlobCaller> for CallerName {
    fn from(caller: &BlobCaller) -> Self {
        Self::Device(caller.owner().to_owned())
    }
}

/// The caller has the maximum number of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyConnections {
    limit: usize,
    protocol: CallerProtocol,
}

/// The protocol of the connections that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallerProtocol {
    Https,
    Amqp,
}

impl CallerProtocol {
    /// Returns the name, and the configuration key of the limit.
    fn name_and_key(self) -> (&'static str, &'static str) {
        match self {
            Self::Https => ("HTTPS", "limits.https_connections_per_caller"),
            Self::Amqp => ("AMQP", "limits.amqp_connections_per_caller"),
        }
    }
}

impl From<TooManyConnections> for HubError {
    fn from(TooManyConnections { limit, protocol }: TooManyConnections) -> Self {
        let (name, key) = protocol.name_and_key();
        let text = format!(
            "The caller has {limit} open {name} connections, the maximum ({key}): use connections again, or close idle \
             ones."
        );
        Self::new(ErrorCode::ThrottlingException, text)
    }
}

/// Counts the connections of each caller.
pub(crate) struct CallerConnections {
    limit: usize,
    protocol: CallerProtocol,
    /// Contains only callers with open connections.
    open: Mutex<HashMap<CallerName, usize>>,
}

/// Counts one connection until it is dropped.
pub(crate) struct CallerPermit {
    connections: Arc<CallerConnections>,
    caller: CallerName,
}

impl CallerConnections {
    pub(crate) fn new(limit: usize, protocol: CallerProtocol) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), protocol, open: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallerName, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection.
    ///
    /// # Errors
    ///
    /// If the caller has the maximum number.
    pub(crate) fn acquire(self: &Arc<Self>, caller: CallerName) -> Result<CallerPermit, TooManyConnections> {
        let mut open = self.lock();
        let count = open.entry(caller.clone()).or_default();
        if *count >= self.limit {
            return Err(TooManyConnections { limit: self.limit, protocol: self.protocol });
        }
        *count += 1;
        drop(open);
        Ok(CallerPermit { connections: self.clone(), caller })
    }
}

impl Drop for CallerPermit {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        if let Some(count) = open.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_a_limited_number_of_connections_and_leaves_no_entry() {
        let connections = CallerConnections::new(2, CallerProtocol::Amqp);
        let acquire = |caller: &str| connections.acquire(CallerName::Device(caller.to_owned()));
        let (first, second) = (acquire("a"), acquire("a"));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(acquire("a").err(), Some(TooManyConnections { limit: 2, protocol: CallerProtocol::Amqp }));
        let other = acquire("b");
        assert!(other.is_ok());
        drop(first);
        assert!(acquire("a").is_ok());
        drop((second, other));
        assert!(connections.lock().is_empty());
    }
}
