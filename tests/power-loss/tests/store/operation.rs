//! The operations of the workload: what they do to the store, and what they should do to the model.

use std::sync::Arc;

use bytes::Bytes;
use ferrohub_core::cloud_to_device::{EnqueueOutcome, FeedbackOptions, MessageStore as _, NewMessage};
use ferrohub_core::files::{
    BeginUploadOutcome, EndUploadOutcome, QueuedNotification, Upload, UploadStore as _,
};
use ferrohub_core::policies::{PolicyStore as _, StoredPolicy};
use ferrohub_core::registry::{Authentication, Identity};
use ferrohub_core::store::{Change, ChangeGroup, Refusal, Refused, Store as _, StoreError};
use ferrohub_model::device::Status;
use ferrohub_model::file::{BlobName, FileNotification};
use ferrohub_model::message::{Ack, FeedbackStatus, MessageProperties, SystemProperty};
use ferrohub_model::{IdentityId, Rights, SharedAccessKey, Timestamp};
use ferrohub_power_loss::Random;
use ferrohub_store::SqliteStore;

use crate::model::Model;

const NOW: Timestamp = Timestamp::from_unix_millis(1_800_000_000_000);
const LATER: Timestamp = Timestamp::from_unix_millis(1_900_000_000_000);
/// The devices of the workload.
const DEVICES: [&str; 4] = ["a", "b", "c", "d"];
/// Size of the largest message, which needs many pages.
const LARGE: u64 = 60_000;
const LIMIT: u32 = 1000;

/// A write. Names and numbers are unique in a test, so that nothing is confused with what an earlier one wrote.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// Replaces the keys of a policy. Never refused.
    SavePolicy { key: u64 },
    /// Creates a device and a module.
    Create { device: &'static str, etag: String },
    /// Deletes a device and all that it has.
    Delete { device: &'static str },
    /// Changes the desired properties.
    ChangeTwin { device: &'static str, value: u64 },
    /// Enqueues a message.
    Enqueue { device: &'static str, message: String, size: usize },
    /// Settles messages, and stores feedback on each.
    Settle { sequences: Vec<u64> },
    /// Begins an upload.
    BeginUpload { device: &'static str, upload: String },
    /// Ends an upload and enqueues its notification.
    EndUpload { upload: String },
}

/// The answer of the store, as far as the model knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Number(u64),
    NotFound,
    Conflict,
}

impl Operation {
    /// Returns a random operation. `number` is different for each; `model` is the state before it.
    pub(crate) fn random(random: &mut Random, number: u64, model: &Model) -> Self {
        let device = *random.pick(&DEVICES);
        match random.below(14) {
            0..3 => Self::Create { device, etag: format!("etag-{number}") },
            3 => Self::Delete { device },
            4..6 => Self::ChangeTwin { device, value: number },
            6..9 => {
                let size = if random.chance(20) { random.below(LARGE) } else { random.below(100) };
                Self::Enqueue { device, message: format!("message-{number}"), size: size as usize }
            }
            9..11 => {
                let count = 1 + random.below(3) as usize;
                let sequences = model.messages.keys().take(count).map(|sequence| sequence.unsigned_abs());
                Self::Settle { sequences: sequences.collect() }
            }
            11..13 => Self::BeginUpload { device, upload: format!("upload-{number}") },
            _ => {
                let upload = model.uploads.keys().next().cloned();
                Self::EndUpload { upload: upload.unwrap_or_else(|| "none".to_owned()) }
            }
        }
    }

    /// Runs the operation.
    pub(crate) async fn run(self, store: Arc<SqliteStore>) -> Result<Answer, StoreError> {
        match self {
            Self::SavePolicy { key } => {
                let key = policy_key(key);
                let policy = StoredPolicy {
                    name: "policy".to_owned(),
                    rights: Rights::ALL,
                    primary_key: key.clone(),
                    secondary_key: key,
                };
                store.save_policy(&policy).await.map(|()| Answer::Done)
            }
            Self::Create { device, etag } => {
                let module = Change::EnsureModule(identity(&format!("{device}/module"), &etag));
                let device = Change::Create { identity: identity(device, &etag), limit: 100 };
                apply(&store, vec![device, module]).await
            }
            Self::Delete { device } => {
                apply(&store, vec![Change::Delete { id: id(device), expected_etag: None }]).await
            }
            Self::ChangeTwin { device, value } => {
                let change = move |twin: &_| {
                    let mut twin: ferrohub_core::twins::TwinDocument = Clone::clone(twin);
                    twin.desired.values.insert("value".to_owned(), value.into());
                    twin.desired.version += 1;
                    twin.updates += 1;
                    Ok(twin)
                };
                apply(&store, vec![Change::Twin { id: id(device), change: Box::new(change) }]).await
            }
            Self::Enqueue { device, message, size } => {
                let message = new_message(device, &message, size);
                match store.enqueue_messages(&[message], LIMIT).await?[..] {
                    [EnqueueOutcome::Done(sequence)] => Ok(Answer::Number(sequence)),
                    [EnqueueOutcome::NotFound] => Ok(Answer::NotFound),
                    ref other => panic!("{other:?}"),
                }
            }
            Self::Settle { sequences } => {
                let options = FeedbackOptions { now: NOW, expiry: LATER, limit: u64::from(LIMIT) };
                let settled = store.settle_messages(&sequences, FeedbackStatus::Success, options).await?;
                Ok(Answer::Number(settled))
            }
            Self::BeginUpload { device, upload } => {
                let upload = Upload { blob: blob(device, &upload), correlation_id: upload, expires: LATER };
                Ok(match store.begin_upload(&upload, NOW, LIMIT).await? {
                    BeginUploadOutcome::Begun => Answer::Done,
                    BeginUploadOutcome::NotFound => Answer::NotFound,
                    BeginUploadOutcome::Full => panic!("the device has too many uploads"),
                })
            }
            Self::EndUpload { upload } => {
                let notification = notification(&upload);
                Ok(match store.end_upload(&upload, Some(&notification)).await? {
                    EndUploadOutcome::Ended => Answer::Done,
                    EndUploadOutcome::NotFound => Answer::NotFound,
                })
            }
        }
    }

    /// Changes the model as the store should change. Returns the answer that the store should give.
    pub(crate) fn apply(&self, model: &mut Model) -> Answer {
        match self {
            Self::SavePolicy { key } => {
                model.policies.insert("policy".to_owned(), policy_key(*key).to_base64());
                Answer::Done
            }
            Self::Create { device, etag } => {
                if model.has_device(device) {
                    return Answer::Conflict;
                }
                for module in ["", "module"] {
                    let id = ((*device).to_owned(), module.to_owned());
                    model.identities.insert(id, (etag.clone(), 0));
                }
                Answer::Done
            }
            Self::Delete { device } => {
                let existed = model.has_device(device);
                model.identities.retain(|(owner, _), _| owner != device);
                model.twins.remove(*device);
                model.messages.retain(|_, (owner, _, _)| owner != device);
                model.feedback.retain(|_, (owner, _)| owner != device);
                model.uploads.retain(|_, owner| owner != device);
                if existed { Answer::Done } else { Answer::NotFound }
            }
            Self::ChangeTwin { device, value } => {
                if !model.has_device(device) {
                    return Answer::NotFound;
                }
                let twin = model.twins.entry((*device).to_owned()).or_insert((1, String::new()));
                *twin = (twin.0 + 1, format!("{{\"value\":{value}}}"));
                Answer::Number(twin.0.unsigned_abs())
            }
            Self::Enqueue { device, message, size } => {
                if !model.has_device(device) {
                    return Answer::NotFound;
                }
                let sequence = model.next_sequence("message");
                model.messages.insert(sequence, ((*device).to_owned(), message.clone(), *size as i64));
                model.count_messages(device, 1);
                Answer::Number(sequence.unsigned_abs())
            }
            Self::Settle { sequences } => {
                let mut settled = 0;
                for sequence in sequences {
                    if let Some((device, message, _)) = model.messages.remove(&sequence.cast_signed()) {
                        model.count_messages(&device, -1);
                        let sequence = model.next_sequence("feedback");
                        model.feedback.insert(sequence, (device, message));
                        settled += 1;
                    }
                }
                Answer::Number(settled)
            }
            Self::BeginUpload { device, upload } => {
                if !model.has_device(device) {
                    return Answer::NotFound;
                }
                model.uploads.insert(upload.clone(), (*device).to_owned());
                Answer::Done
            }
            Self::EndUpload { upload } => {
                if model.uploads.remove(upload).is_none() {
                    return Answer::NotFound;
                }
                let sequence = model.next_sequence("file_notification");
                model.notifications.insert(sequence, format!("device/{upload}"));
                Answer::Done
            }
        }
    }
}

async fn apply(store: &SqliteStore, changes: Vec<Change>) -> Result<Answer, StoreError> {
    Ok(match store.apply_group(ChangeGroup(changes)).await? {
        Ok(applied) => {
            applied.twins.first().map_or(Answer::Done, |(_, twin)| Answer::Number(twin.desired.version))
        }
        Err(Refused { reason: Refusal::NotFound, .. }) => Answer::NotFound,
        Err(Refused { reason: Refusal::Exists, .. }) => Answer::Conflict,
        Err(refused) => panic!("{refused:?}"),
    })
}

fn policy_key(number: u64) -> SharedAccessKey {
    SharedAccessKey::from_bytes(&[number.to_be_bytes(); 4].concat()).unwrap()
}

fn id(text: &str) -> IdentityId {
    IdentityId::parse(text).unwrap()
}

fn blob(device: &str, name: &str) -> BlobName {
    BlobName::new(device, name).unwrap()
}

fn identity(text: &str, etag: &str) -> Identity {
    Identity {
        id: id(text),
        generation_id: "17".to_owned(),
        etag: etag.to_owned(),
        status: Status::Enabled,
        status_reason: None,
        status_updated: NOW,
        authentication: Authentication::None,
        iot_edge: false,
        device_scope: None,
        parent_scopes: Vec::new(),
        managed_by: None,
        connection_state_updated: NOW,
        last_activity: NOW,
        messages: 0,
    }
}

fn new_message(device: &str, message: &str, size: usize) -> NewMessage {
    let mut properties = MessageProperties::default();
    properties.system.insert(SystemProperty::MessageId, message.to_owned());
    NewMessage {
        id: id(device),
        input: None,
        enqueued: NOW,
        expiry: LATER,
        ack: Ack::Full,
        properties,
        body: Bytes::from(vec![b'x'; size]),
    }
}

fn notification(upload: &str) -> QueuedNotification {
    let notification = FileNotification {
        device_id: "device".to_owned(),
        blob_uri: "https://hub/file".to_owned(),
        blob_name: format!("device/{upload}"),
        last_updated_time: NOW,
        blob_size_in_bytes: 1,
        enqueued_time_utc: NOW,
    };
    QueuedNotification { notification, expires: LATER, limit: LIMIT }
}
