//! Shared access policies: names with rights and two keys each.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use ferrohub_model::{Right, Rights, SharedAccessKey};

/// Where a policy is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicySource {
    /// In the configuration; its keys change there.
    Configuration,
    /// In the store; its keys change at run time.
    Store,
}

/// A shared access policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The `skn` of tokens.
    pub name: Arc<str>,
    /// What it may do.
    pub rights: Rights,
    /// Either key signs.
    pub primary_key: SharedAccessKey,
    /// Either key signs.
    pub secondary_key: SharedAccessKey,
    /// Where it is kept.
    pub source: PolicySource,
}

/// The five policies every hub begins with.
pub(crate) const DEFAULTS: [(&str, Rights); 5] = [
    ("iothubowner", Rights::ALL),
    ("service", Rights::of(&[Right::ServiceConnect])),
    ("device", Rights::of(&[Right::DeviceConnect])),
    ("registryRead", Rights::of(&[Right::RegistryRead])),
    ("registryReadWrite", Rights::of(&[Right::RegistryRead, Right::RegistryWrite])),
];

/// The policies in force.
#[derive(Debug, Default)]
pub struct Policies(RwLock<BTreeMap<Arc<str>, Arc<Policy>>>);

impl Policies {
    /// The policy of that name; names are case-sensitive.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Policy>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All policies, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Policy>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn put(&self, policy: Policy) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(policy.name.clone(), Arc::new(policy));
    }
}
