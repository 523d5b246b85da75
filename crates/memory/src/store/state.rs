//! What the store contains.

use std::collections::BTreeMap;

use ferrohub_core::authorities::StoredAuthority;
use ferrohub_core::files::{StoredBlob, Upload};
use ferrohub_core::policies::StoredPolicy;
use ferrohub_core::registry::Identity;
use ferrohub_core::session::Session;
use ferrohub_core::twins::TwinDocument;
use ferrohub_model::file::BlobName;
use ferrohub_model::{IdentityId, SharedAccessKey, Timestamp};

use super::configurations::StoredConfigurations;
use super::feedback::Feedback;
use super::import_export::StoredJob;
use super::jobs::Job;
use super::leases::Lease;
use super::messages::Message;
use super::notifications::Notification;

/// All rows of the store. Cloned before a group of changes that may be refused half way.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// Devices and modules. Devices are in the order of their ids, and so are the modules of one device.
    pub(super) identities: BTreeMap<IdentityId, StoredIdentity>,
    pub(super) messages: Sequenced<Message>,
    pub(super) feedback: Sequenced<Feedback>,
    /// Uploads by correlation id, and whether their expiry was processed.
    pub(super) uploads: BTreeMap<String, (Upload, bool)>,
    pub(super) notifications: Sequenced<Notification>,
    pub(super) blobs: BTreeMap<BlobName, StoredBlob>,
    /// The keys that sign URLs, by the time of their creation.
    pub(super) signing_keys: BTreeMap<Timestamp, SharedAccessKey>,
    pub(super) policies: BTreeMap<String, StoredPolicy>,
    pub(super) authorities: BTreeMap<String, StoredAuthority>,
    /// Import and export jobs, oldest first.
    pub(super) jobs: Vec<StoredJob>,
    pub(super) configurations: StoredConfigurations,
    pub(super) leases: BTreeMap<String, Lease>,
    /// Jobs on many devices by number.
    pub(super) scheduled_jobs: Sequenced<Job>,
    /// The key that signs continuation tokens of queries.
    pub(super) continuation_key: Option<SharedAccessKey>,
}

/// A device or module with its data.
#[derive(Debug, Clone)]
pub(super) struct StoredIdentity {
    /// The number of messages in it is not kept up to date: [`State::identity`] counts them.
    pub(super) identity: Identity,
    pub(super) connected: bool,
    pub(super) session: Option<Session>,
    pub(super) twin: TwinDocument,
}

/// Rows with sequence numbers from 1, which are never used again.
#[derive(Debug, Clone)]
pub(super) struct Sequenced<T> {
    pub(super) rows: BTreeMap<u64, T>,
    next: u64,
}

impl<T> Default for Sequenced<T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), next: 1 }
    }
}

impl<T> Sequenced<T> {
    /// Adds a row. Returns its sequence number.
    pub(super) fn push(&mut self, row: T) -> u64 {
        let sequence = self.next;
        self.rows.insert(sequence, row);
        self.next += 1;
        sequence
    }

    /// Removes rows. Returns how many there were.
    pub(super) fn remove_where(&mut self, is_removed: impl Fn(&T) -> bool) -> u64 {
        let before = self.rows.len();
        self.rows.retain(|_, row| !is_removed(row));
        (before - self.rows.len()) as u64
    }

    /// Removes the oldest rows beyond the newest `limit` ones.
    pub(super) fn keep_newest(&mut self, limit: usize) {
        while self.rows.len() > limit {
            self.rows.pop_first();
        }
    }
}

impl State {
    /// Returns an identity with the number of its messages.
    pub(super) fn identity(&self, id: &IdentityId) -> Option<Identity> {
        self.identities.get(id).map(|stored| self.counted(&stored.identity))
    }

    /// Returns the identity with the number of its messages.
    pub(super) fn counted(&self, identity: &Identity) -> Identity {
        let messages = u32::try_from(self.queue(&identity.id).count()).unwrap_or(u32::MAX);
        Identity { messages, ..identity.clone() }
    }

    /// Removes identities and all their data.
    pub(super) fn remove_identities(&mut self, is_removed: impl Fn(&IdentityId) -> bool) {
        self.identities.retain(|id, _| !is_removed(id));
        self.messages.remove_where(|stored| is_removed(&stored.message.id));
        self.feedback.remove_where(|stored| is_removed(&stored.id));
        self.uploads.retain(|_, (upload, _)| {
            let device = IdentityId::parse(upload.blob.device());
            !device.is_ok_and(|device| is_removed(&device))
        });
    }
}
