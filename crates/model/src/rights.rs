//! The rights of shared access policies.

use std::fmt;

/// One right of a shared access policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Right {
    /// Read identities.
    RegistryRead = 1,
    /// Create, change and delete identities.
    RegistryWrite = 2,
    /// Call methods, read and write twins, send messages to devices.
    ServiceConnect = 4,
    /// Act as a device.
    DeviceConnect = 8,
}

impl Right {
    /// All rights, in Azure's order.
    pub const ALL: [Self; 4] =
        [Self::RegistryRead, Self::RegistryWrite, Self::ServiceConnect, Self::DeviceConnect];

    /// Returns the name in configuration and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RegistryRead => "RegistryRead",
            Self::RegistryWrite => "RegistryWrite",
            Self::ServiceConnect => "ServiceConnect",
            Self::DeviceConnect => "DeviceConnect",
        }
    }

    /// Returns the right of that name, ignoring case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.name().eq_ignore_ascii_case(name))
    }
}

/// A set of [`Right`]s.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u8);

impl Rights {
    /// No rights.
    pub const NONE: Self = Self(0);
    /// All rights: those of the hub's owner.
    pub const ALL: Self = Self(15);

    /// Returns the set of exactly these rights.
    #[must_use]
    pub const fn of(rights: &[Right]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < rights.len() {
            bits |= rights[i] as u8;
            i += 1;
        }
        Self(bits)
    }

    /// Returns whether `right` is in the set.
    #[must_use]
    pub fn contains(self, right: Right) -> bool {
        self.0 & right as u8 != 0
    }

    /// Returns the set as bits, for storage: RegistryRead 1, RegistryWrite 2, ServiceConnect 4, DeviceConnect 8.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Returns the set of these bits; ignores unknown bits.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Iterates over the rights in the set, in Azure's order.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |right| self.contains(*right))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Right::name).collect();
        f.write_str(&names.join(", "))
    }
}
