//! The operations of the service API, with the rights and the data action that permit each.

use ferrohub_model::Right;

/// An operation of the service API.
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
    /// Read device messages and hub events.
    ReadEvents,
    /// Send messages to devices.
    SendMessages,
    /// Receive feedback on messages to devices.
    ReceiveFeedback,
    /// Purge the message queue of a device.
    PurgeMessages,
    /// Receive notifications of uploaded files.
    ReceiveFileNotifications,
    /// Read files in the hub's own folder.
    ReadFiles,
    /// Delete files in the hub's own folder.
    DeleteFiles,
    /// Read the number of devices.
    ReadRegistryStatistics,
    /// Read the number of connected devices.
    ReadServiceStatistics,
    /// Manage the hub itself: policies, certificate authorities, faults.
    ManageHub,
}

impl Operation {
    /// Returns the alternative sets of rights. A policy needs all rights of at least one set.
    #[must_use]
    pub fn rights(self) -> &'static [&'static [Right]] {
        match self {
            Self::ReadDevices | Self::ReadRegistryStatistics => &[&[Right::RegistryRead]],
            Self::WriteDevices | Self::DeleteDevices => &[&[Right::RegistryWrite]],
            // A policy with `RegistryRead` can derive nearly the same numbers from the device list.
            Self::ReadServiceStatistics => &[&[Right::ServiceConnect], &[Right::RegistryRead]],
            Self::ReadTwins
            | Self::WriteTwins
            | Self::InvokeMethod
            | Self::ReadEvents
            | Self::SendMessages
            | Self::ReceiveFeedback
            | Self::PurgeMessages
            | Self::ReceiveFileNotifications
            | Self::ReadFiles
            | Self::DeleteFiles => &[&[Right::ServiceConnect]],
            // Only a policy with every right may change access control.
            Self::ManageHub => &[&Right::ALL],
        }
    }

    /// Returns the data action that an Entra principal needs, without the prefix `Microsoft.Devices/IotHubs/`.
    /// `None` means that Entra principals cannot use the operation: no data action covers management of the hub, and
    /// Azure's endpoint for reading events accepts only keys.
    #[must_use]
    pub fn data_action(self) -> Option<&'static str> {
        match self {
            Self::ReadDevices => Some("devices/read"),
            Self::WriteDevices => Some("devices/write"),
            Self::DeleteDevices => Some("devices/delete"),
            Self::ReadTwins => Some("twins/read"),
            Self::WriteTwins => Some("twins/write"),
            Self::InvokeMethod => Some("directMethods/invoke/action"),
            Self::SendMessages => Some("cloudToDeviceMessages/send/action"),
            Self::ReceiveFeedback => Some("cloudToDeviceMessages/feedback/action"),
            Self::PurgeMessages => Some("cloudToDeviceMessages/queue/purge/action"),
            Self::ReceiveFileNotifications => Some("fileUpload/notifications/action"),
            Self::ReadRegistryStatistics | Self::ReadServiceStatistics => Some("statistics/read"),
            // Azure's hubs do not store files, so there is no data action for them.
            Self::ReadEvents | Self::ManageHub | Self::ReadFiles | Self::DeleteFiles => None,
        }
    }
}
