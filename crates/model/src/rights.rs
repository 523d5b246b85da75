//! What a shared access policy may do.

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
    /// Every right, in the order Azure lists them.
    pub const ALL: [Self; 4] =
        [Self::RegistryRead, Self::RegistryWrite, Self::ServiceConnect, Self::DeviceConnect];

    /// The name in configuration and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RegistryRead => "RegistryRead",
            Self::RegistryWrite => "RegistryWrite",
            Self::ServiceConnect => "ServiceConnect",
            Self::DeviceConnect => "DeviceConnect",
        }
    }

    /// The right of that name, whatever the letters' case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.name().eq_ignore_ascii_case(name))
    }
}

/// A set of [`Right`]s.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u8);

impl Rights {
    /// No right at all.
    pub const NONE: Self = Self(0);
    /// Every right: what the owner of the hub holds.
    pub const ALL: Self = Self(15);

    /// A set of exactly these rights.
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

    /// Whether `right` is in the set.
    #[must_use]
    pub fn has(self, right: Right) -> bool {
        self.0 & right as u8 != 0
    }

    /// The set as bits, for storing: RegistryRead 1, RegistryWrite 2, ServiceConnect 4, DeviceConnect 8.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set from bits; unknown bits are dropped.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The rights in the set, in Azure's order.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |right| self.has(*right))
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
