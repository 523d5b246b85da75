//! Every operation of the service API, with the right and the data action that allow it.

use ferrohub_model::Right;

/// Something a service asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Read identities.
    ReadDevices,
    /// Create or change identities.
    WriteDevices,
    /// Delete identities.
    DeleteDevices,
    /// Read twins.
    ReadTwins,
    /// Change twins.
    WriteTwins,
    /// Call a method.
    InvokeMethod,
    /// Manage the hub itself: policies and certificate authorities.
    ManageHub,
}

impl Operation {
    /// The rights a policy must hold, all of them.
    #[must_use]
    pub fn rights(self) -> &'static [Right] {
        match self {
            Self::ReadDevices => &[Right::RegistryRead],
            Self::WriteDevices | Self::DeleteDevices => &[Right::RegistryWrite],
            Self::ReadTwins | Self::WriteTwins | Self::InvokeMethod => &[Right::ServiceConnect],
            // Nobody but an owner may change who may do what.
            Self::ManageHub => &Right::ALL,
        }
    }

    /// The data action an Entra principal must hold, without `Microsoft.Devices/IotHubs/`.
    /// `None`: not open to Entra principals, whose data actions never cover the hub's own management.
    #[must_use]
    pub fn data_action(self) -> Option<&'static str> {
        match self {
            Self::ReadDevices => Some("devices/read"),
            Self::WriteDevices => Some("devices/write"),
            Self::DeleteDevices => Some("devices/delete"),
            Self::ReadTwins => Some("twins/read"),
            Self::WriteTwins => Some("twins/write"),
            Self::InvokeMethod => Some("directMethods/invoke/action"),
            Self::ManageHub => None,
        }
    }
}
