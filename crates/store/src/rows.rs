//! Conversion between rows and the hub's types.

use std::error::Error;

use ferrohub_core::authorities::StoredAuthority;
use ferrohub_core::cloud_to_device::{NewMessage, StoredFeedback, StoredMessage};
use ferrohub_core::files::{Blob, StoredNotification, StoredSigningKey, Upload};
use ferrohub_core::import_export::Job;
use ferrohub_core::policies::StoredPolicy;
use ferrohub_core::registry::{Authentication, Identity, Thumbprint};
use ferrohub_core::session::Session;
use ferrohub_core::twins::{Configured, Section, TwinDocument};
use ferrohub_model::device::Status;
use ferrohub_model::file::{BlobName, FileNotification};
use ferrohub_model::import_export::JobStatus;
use ferrohub_model::message::{Ack, FeedbackRecord, FeedbackStatus, MessageProperties};
use ferrohub_model::twin::Properties;
use ferrohub_model::{IdentityId, Rights, SharedAccessKey, Timestamp};
use rusqlite::Row;
use rusqlite::types::{Type, ValueRef};
use serde::de::DeserializeOwned;

/// The columns of an identity, in the order in which [`identity`] reads them.
pub(crate) const IDENTITY_COLUMNS: &str = "device_id, module_id, generation_id, etag, disabled, status_reason, \
     status_updated, authentication, primary_secret, secondary_secret, iot_edge, device_scope, parent_scopes, \
     managed_by, connection_state_updated, last_activity, session, messages";

/// The columns of a twin. [`twin`] reads [`TWIN_VALUES`] in this order after the columns of its identity.
pub(crate) const TWIN_COLUMNS: &str = "updates, model_id, tags, desired, desired_metadata, desired_version, reported, \
     reported_metadata, reported_version, configurations, configured_paths";

/// The same columns as expressions, in which JSON is text.
pub(crate) const TWIN_VALUES: &str = "updates, model_id, json(tags), json(desired), json(desired_metadata), \
     desired_version, json(reported), json(reported_metadata), reported_version, json(configurations), \
     json(configured_paths)";

/// The columns of a message, in the order in which [`message`] reads them.
pub(crate) const MESSAGE_COLUMNS: &str =
    "sequence, device_id, module_id, enqueued, expiry, delivery_count, ack, input, properties, body";

/// The columns of a feedback record, in the order in which [`feedback`] reads them.
pub(crate) const FEEDBACK_COLUMNS: &str =
    "sequence, device_id, module_id, generation_id, message_id, status, enqueued, delivery_count";

/// Index of the first of [`TWIN_COLUMNS`] in a row where they follow [`IDENTITY_COLUMNS`].
const TWIN_COLUMNS_START: usize = 18;

/// The error of a column with a value that the hub never writes.
pub(crate) fn conversion_error(
    column: usize,
    why: impl Into<Box<dyn Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.into())
}

/// Converts to SQLite's signed integers. Stored values never exceed `i64::MAX`.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Reads an unsigned number.
/// Returns a maximum number of rows as SQLite takes it.
pub(crate) fn limit(top: usize) -> i64 {
    i64::try_from(top).unwrap_or(i64::MAX)
}

pub(crate) fn u64_column(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}

/// Reads the columns `device_id` and `module_id`.
pub(crate) fn id(row: &Row<'_>, device: usize, module: usize) -> rusqlite::Result<IdentityId> {
    let mut id: String = row.get(device)?;
    let module: String = row.get(module)?;
    if !module.is_empty() {
        id.push('/');
        id.push_str(&module);
    }
    IdentityId::parse(&id).map_err(|error| conversion_error(device, error))
}

pub(crate) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp::from_unix_millis(row.get(column)?))
}

pub(crate) fn key(row: &Row<'_>, column: usize) -> rusqlite::Result<SharedAccessKey> {
    let text: String = row.get(column)?;
    SharedAccessKey::from_base64(&text).map_err(|error| conversion_error(column, error))
}

fn thumbprint(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Thumbprint>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| Thumbprint::parse(&text).ok_or_else(|| conversion_error(column, "not a thumbprint")))
        .transpose()
}

fn authentication(row: &Row<'_>) -> rusqlite::Result<Authentication> {
    Ok(match row.get::<_, i64>(7)? {
        0 => Authentication::Sas { primary: key(row, 8)?, secondary: key(row, 9)? },
        1 => Authentication::SelfSigned { primary: thumbprint(row, 8)?, secondary: thumbprint(row, 9)? },
        2 => Authentication::CertificateAuthority,
        3 => Authentication::None,
        other => return Err(conversion_error(7, format!("unknown authentication type {other}"))),
    })
}

/// Returns the columns `authentication`, `primary_secret` and `secondary_secret`.
pub(crate) fn authentication_columns(
    authentication: &Authentication,
) -> (i64, Option<String>, Option<String>) {
    let digits = |thumbprint: &Option<Thumbprint>| thumbprint.as_ref().map(|one| one.as_str().to_owned());
    match authentication {
        Authentication::Sas { primary, secondary } => {
            (0, Some(primary.to_base64()), Some(secondary.to_base64()))
        }
        Authentication::SelfSigned { primary, secondary } => (1, digits(primary), digits(secondary)),
        Authentication::CertificateAuthority => (2, None, None),
        Authentication::None => (3, None, None),
    }
}

/// Returns the column `parent_scopes`.
pub(crate) fn parent_scopes(identity: &Identity) -> String {
    serde_json::Value::from(identity.parent_scopes.as_slice()).to_string()
}

/// Returns the columns `device_id` and `module_id`.
pub(crate) fn id_columns(id: &IdentityId) -> (&str, &str) {
    (id.device_str(), id.module_str().unwrap_or(""))
}

/// Reads an identity and its session from a row of the columns [`IDENTITY_COLUMNS`].
pub(crate) fn identity(row: &Row<'_>) -> rusqlite::Result<(Identity, Option<Session>)> {
    let scopes: String = row.get(12)?;
    let identity = Identity {
        id: id(row, 0, 1)?,
        generation_id: row.get(2)?,
        etag: row.get(3)?,
        status: if row.get(4)? { Status::Disabled } else { Status::Enabled },
        status_reason: row.get(5)?,
        status_updated: time(row, 6)?,
        authentication: authentication(row)?,
        iot_edge: row.get(10)?,
        device_scope: row.get(11)?,
        parent_scopes: serde_json::from_str(&scopes).map_err(|error| conversion_error(12, error))?,
        managed_by: row.get(13)?,
        connection_state_updated: time(row, 14)?,
        last_activity: time(row, 15)?,
        messages: row.get(17)?,
    };
    let session: Option<u32> = row.get(16)?;
    Ok((identity, session.map(Session::from_bits)))
}

/// Reads a twin from a row of [`IDENTITY_COLUMNS`] and [`TWIN_VALUES`]; `None` if it was never changed.
pub(crate) fn twin(row: &Row<'_>) -> rusqlite::Result<Option<TwinDocument>> {
    let [
        updates,
        model_id,
        tags,
        desired,
        desired_metadata,
        desired_version,
        reported,
        metadata,
        version,
        configurations,
        paths,
    ] = std::array::from_fn(|column| TWIN_COLUMNS_START + column);
    if row.get::<_, Option<i64>>(updates)?.is_none() {
        return Ok(None);
    }
    let section = |values: usize, metadata: usize, version: usize| {
        Ok::<_, rusqlite::Error>(Section {
            values: object(row, values)?,
            metadata: object(row, metadata)?,
            version: row.get::<_, i64>(version)?.unsigned_abs(),
        })
    };
    Ok(Some(TwinDocument {
        tags: object(row, tags)?,
        desired: section(desired, desired_metadata, desired_version)?,
        reported: section(reported, metadata, version)?,
        updates: row.get::<_, i64>(updates)?.unsigned_abs(),
        model_id: row.get(model_id)?,
        configured: Configured {
            configurations: json_or_default(row, configurations)?,
            paths: json_or_default(row, paths)?,
        },
    }))
}

/// Returns the size of an identity and a twin as JSON, roughly, from a row that [`identity`] and [`twin`] read.
pub(crate) fn twin_bytes(row: &Row<'_>) -> rusqlite::Result<usize> {
    /// Members without the sections of the twin.
    const FIXED: usize = 800;
    let sections = TWIN_COLUMNS_START + 2..TWIN_COLUMNS_START + 11;
    sections.into_iter().try_fold(FIXED, |bytes, column| match row.get_ref(column)? {
        ValueRef::Text(text) => Ok(bytes + text.len()),
        _ => Ok(bytes),
    })
}

/// Returns the column `ack`.
pub(crate) fn ack_bits(ack: Ack) -> i64 {
    match ack {
        Ack::None => 0,
        Ack::Positive => 1,
        Ack::Negative => 2,
        Ack::Full => 3,
    }
}

/// Returns the column `status` of feedback.
pub(crate) fn feedback_status_number(status: FeedbackStatus) -> i64 {
    match status {
        FeedbackStatus::Success => 0,
        FeedbackStatus::Expired => 1,
        FeedbackStatus::DeliveryCountExceeded => 2,
        FeedbackStatus::Rejected => 3,
        FeedbackStatus::Purged => 4,
    }
}

/// Reads a message from a row of the columns [`MESSAGE_COLUMNS`].
pub(crate) fn message(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
    let ack: i64 = row.get(6)?;
    let properties = MessageProperties::parse_property_bag(row.get_ref(8)?.as_str()?);
    Ok(StoredMessage {
        sequence: u64_column(row, 0)?,
        delivery_count: row.get(5)?,
        message: NewMessage {
            id: id(row, 1, 2)?,
            input: row.get(7)?,
            enqueued: time(row, 3)?,
            expiry: time(row, 4)?,
            ack: match ack & 3 {
                0 => Ack::None,
                1 => Ack::Positive,
                2 => Ack::Negative,
                _ => Ack::Full,
            },
            properties: properties.map_err(|error| conversion_error(8, error))?,
            body: row.get::<_, Vec<u8>>(9)?.into(),
        },
    })
}

/// Reads a feedback record from a row of the columns [`FEEDBACK_COLUMNS`].
pub(crate) fn feedback(row: &Row<'_>) -> rusqlite::Result<StoredFeedback> {
    let status_number: i64 = row.get(5)?;
    let status = FeedbackStatus::ALL
        .into_iter()
        .find(|status| feedback_status_number(*status) == status_number)
        .ok_or_else(|| conversion_error(5, format!("unknown feedback status {status_number}")))?;
    let message_id: Option<String> = row.get(4)?;
    Ok(StoredFeedback {
        sequence: u64_column(row, 0)?,
        delivery_count: row.get(7)?,
        record: FeedbackRecord::new(
            &id(row, 1, 2)?,
            row.get(3)?,
            message_id.unwrap_or_default(),
            status,
            time(row, 6)?,
        ),
    })
}

/// Reads a JSON text; the default if the column is `NULL`.
fn json_or_default<T: DeserializeOwned + Default>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    match row.get_ref(column)?.as_str_or_null()? {
        None => Ok(T::default()),
        Some(text) => serde_json::from_str(text).map_err(|error| conversion_error(column, error)),
    }
}

fn object(row: &Row<'_>, column: usize) -> rusqlite::Result<Properties> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| conversion_error(column, error))
}

/// Reads a policy from a row of its table.
pub(crate) fn policy(row: &Row<'_>) -> rusqlite::Result<StoredPolicy> {
    Ok(StoredPolicy {
        name: row.get(0)?,
        rights: Rights::from_bits(row.get(1)?),
        primary_key: key(row, 2)?,
        secondary_key: key(row, 3)?,
    })
}

/// Reads a certificate authority from a row of its table.
pub(crate) fn authority(row: &Row<'_>) -> rusqlite::Result<StoredAuthority> {
    Ok(StoredAuthority {
        name: row.get(0)?,
        certificate: row.get(1)?,
        verified: row.get(2)?,
        verification_code: row.get(3)?,
    })
}

/// Reads an import or export job from a row of id, status, times of creation and end, run, request, progress and failure.
pub(crate) fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let text = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str()?);
    let status = text(1)?;
    let known = JobStatus::ALL.iter().find(|known| known.name() == status);
    Ok(Job {
        id: row.get(0)?,
        status: *known.ok_or_else(|| conversion_error(1, format!("unknown status {status:?}")))?,
        created: time(row, 2)?,
        ended: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_unix_millis),
        run: u64_column(row, 4)?,
        request: serde_json::from_str(text(5)?).map_err(|error| conversion_error(5, error))?,
        progress: serde_json::from_str(text(6)?).map_err(|error| conversion_error(6, error))?,
        failure: row.get(7)?,
    })
}

pub(crate) fn blob_name(row: &Row<'_>, column: usize) -> rusqlite::Result<BlobName> {
    BlobName::parse_stored(row.get_ref(column)?.as_str()?).map_err(|error| conversion_error(column, error))
}

/// Reads a blob from a row of name, bytes, etag, modification time and properties.
pub(crate) fn blob(row: &Row<'_>) -> rusqlite::Result<Blob> {
    Ok(Blob {
        name: blob_name(row, 0)?,
        bytes: row.get::<_, i64>(1)?.unsigned_abs(),
        etag: row.get(2)?,
        modified: time(row, 3)?,
        properties: serde_json::from_str(row.get_ref(4)?.as_str()?)
            .map_err(|error| conversion_error(4, error))?,
    })
}

/// Reads a key that signs blob URLs from a row of key and creation time.
pub(crate) fn signing_key(row: &Row<'_>) -> rusqlite::Result<StoredSigningKey> {
    Ok(StoredSigningKey { key: key(row, 0)?, created: time(row, 1)? })
}

/// Reads an upload from a row of correlation id, blob and expiry.
pub(crate) fn upload(row: &Row<'_>) -> rusqlite::Result<Upload> {
    Ok(Upload { correlation_id: row.get(0)?, blob: blob_name(row, 1)?, expires: time(row, 2)? })
}

/// Reads a file notification from a row of sequence number, deliveries, device, URI, blob, modification time, bytes and
/// enqueued time.
pub(crate) fn file_notification(row: &Row<'_>) -> rusqlite::Result<StoredNotification> {
    let notification = FileNotification {
        device_id: row.get(2)?,
        blob_uri: row.get(3)?,
        blob_name: row.get(4)?,
        last_updated_time: time(row, 5)?,
        blob_size_in_bytes: row.get::<_, i64>(6)?.unsigned_abs(),
        enqueued_time_utc: time(row, 7)?,
    };
    Ok(StoredNotification { sequence: u64_column(row, 0)?, deliveries: row.get(1)?, notification })
}
