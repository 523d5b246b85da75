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
    /// Read what devices sent and what the hub has to tell.
    ReadEvents,
    /// Send messages to devices.
    SendMessages,
    /// Hear what became of messages to devices.
    ReceiveFeedback,
    /// Throw away the messages that wait for a device.
    PurgeMessages,
    /// Hear of uploaded files.
    ReceiveFileNotifications,
    /// Read the files that the hub itself keeps.
    ReadFiles,
    /// Delete files that the hub itself keeps.
    DeleteFiles,
    /// Read how many devices there are.
    ReadRegistryStatistics,
    /// Read how many devices are connected.
    ReadServiceStatistics,
    /// Manage the hub itself: policies, certificate authorities, faults.
    ManageHub,
}

impl Operation {
    /// The sets of rights that allow it; a policy must hold one of them whole.
    #[must_use]
    pub fn rights(self) -> &'static [&'static [Right]] {
        match self {
            Self::ReadDevices | Self::ReadRegistryStatistics => &[&[Right::RegistryRead]],
            Self::WriteDevices | Self::DeleteDevices => &[&[Right::RegistryWrite]],
            // It says about the same as a list of devices does, to those who may read one.
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
            // Nobody but an owner may change who may do what.
            Self::ManageHub => &[&Right::ALL],
        }
    }

    /// The data action an Entra principal must hold, without `Microsoft.Devices/IotHubs/`.
    /// `None`: not open to Entra principals. Their data actions never cover the hub's own management, and Azure takes
    /// nothing but keys where events are read.
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
            // Azure's hubs keep no files.
            Self::ReadEvents | Self::ManageHub | Self::ReadFiles | Self::DeleteFiles => None,
        }
    }
}
