//! Changes of identities and twins that are persisted together.

use ferrohub_model::{ErrorCode, HubError, IdentityId, Timestamp};

use crate::jobs::JobLease;
use crate::registry::{Identity, already_exists, not_found, wrong_etag};
use crate::twins::{TwinChangeFn, TwinDocument};

/// One change of an identity or a twin.
pub enum Change {
    /// Adds an identity, unless `limit` devices already exist; for a module, unless its device has `limit` modules.
    Create {
        /// The new identity. It has the default twin and no session.
        identity: Identity,
        /// The maximum number.
        limit: u64,
    },
    /// Adds a module without a limit. If it exists, nothing changes.
    EnsureModule(Identity),
    /// Replaces an identity if its etag is still the expected one. Does not change its twin, activity times and session.
    Update {
        /// The new identity. It has the generation id of the stored one.
        identity: Identity,
        /// The etag that the stored identity must have.
        expected_etag: String,
    },
    /// Deletes an identity, its modules and all their data.
    Delete {
        /// The identity.
        id: IdentityId,
        /// The etag that the stored identity must have; `None`: any.
        expected_etag: Option<String>,
    },
    /// Deletes a module and all its data. If it does not exist, nothing changes.
    EnsureNoModule(IdentityId),
    /// Replaces a twin by the result of a function of the stored twin.
    Twin {
        /// The identity.
        id: IdentityId,
        /// The function.
        change: TwinChangeFn,
    },
    /// Ends the row of a job for this device or module as done, if the row is open, the job runs, the lease is not lost,
    /// and the identity is of the generation that the job selected.
    JobDevice {
        /// The identity.
        id: IdentityId,
        /// The lease of the job.
        lease: JobLease,
        /// The current time.
        now: Timestamp,
    },
}

impl Change {
    /// Returns the identity that the change is about.
    #[must_use]
    pub fn id(&self) -> &IdentityId {
        match self {
            Self::Create { identity, .. } | Self::EnsureModule(identity) | Self::Update { identity, .. } => {
                &identity.id
            }
            Self::Delete { id, .. }
            | Self::EnsureNoModule(id)
            | Self::Twin { id, .. }
            | Self::JobDevice { id, .. } => id,
        }
    }
}

/// Changes that are applied in their order, as a whole or not at all. A change sees those before it.
pub struct ChangeGroup(pub Vec<Change>);

impl From<Change> for ChangeGroup {
    fn from(change: Change) -> Self {
        Self(vec![change])
    }
}

/// The outcome of a group that is persisted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Applied {
    /// For each [`Change::Twin`] of the group: the identity, and its twin after the change.
    pub twins: Vec<(Identity, TwinDocument)>,
}

/// The outcome of each group of changes.
pub type Outcomes = Vec<Result<Applied, Refused>>;

/// Why a group is refused: one of its changes cannot be made. Nothing of the group was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// The identity of that change.
    pub id: IdentityId,
    /// The reason.
    pub reason: Refusal,
}

/// Why a change cannot be made.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The identity already exists.
    Exists,
    /// The device of the new module does not exist.
    NoDevice,
    /// The maximum number of devices, or of modules of the device, is reached.
    Full {
        /// The maximum number.
        limit: u64,
    },
    /// The identity does not exist.
    NotFound,
    /// The stored identity has another etag or generation id.
    WrongEtag,
    /// The function returned this error.
    Twin(HubError),
    /// The row of the job is not open, the job does not run, or its lease is lost.
    JobDeviceNotOpen,
}

impl From<Refused> for HubError {
    fn from(Refused { id, reason }: Refused) -> Self {
        match reason {
            Refusal::Exists => already_exists(&id),
            Refusal::NoDevice => {
                let text = format!("There is no device {}; create it before its modules.", id.device_str());
                Self::new(ErrorCode::DeviceNotFound, text)
            }
            Refusal::Full { limit } if id.module_str().is_some() => Self::new(
                ErrorCode::TooManyModulesOnDevice,
                format!("The device has the maximum number of modules, {limit} (limits.modules_per_device)."),
            ),
            Refusal::Full { limit } => Self::new(
                ErrorCode::TooManyDevices,
                format!("The hub has the maximum number of devices, {limit} (limits.devices)."),
            ),
            Refusal::NotFound => not_found(&id),
            Refusal::WrongEtag => wrong_etag(),
            Refusal::Twin(error) => error,
            Refusal::JobDeviceNotOpen => Self::new(
                ErrorCode::JobRunPreconditionFailed,
                format!("The job does not work on {id} any more."),
            ),
        }
    }
}
