//! Configurations, and the twins that they are applied to.

use ferrohub_core::configurations::{
    ConfigurationId, CreateConfigurationOutcome, DeviceTwins, DeviceTwinsRequest, StoredConfiguration,
    WriteConfigurationOutcome,
};
use ferrohub_model::DeviceId;
use ferrohub_model::configuration::Configuration;
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

use crate::rows::{self, IDENTITY_COLUMNS, TWIN_VALUES, conversion_error};

/// Maximum size of the twins of one read, in bytes of JSON. A read returns at least one device with its modules.
const READ_BYTES: usize = 8 * 1024 * 1024;

fn configuration(row: &Row<'_>) -> Result<StoredConfiguration> {
    let id = ConfigurationId::parse(row.get_ref(0)?.as_str()?).map_err(|error| conversion_error(0, error))?;
    let (number, revision) = (rows::u64_column(row, 1)?, rows::u64_column(row, 2)?);
    let document = row.get_ref(3)?.as_str()?;
    let configuration = serde_json::from_str(document).map_err(|error| conversion_error(3, error))?;
    Ok(StoredConfiguration { id, number, revision, configuration })
}

fn document(configuration: &Configuration) -> Result<String> {
    serde_json::to_string(configuration)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn next_revision(db: &Connection) -> Result<u64> {
    let counter: i64 = db
        .prepare_cached("UPDATE configuration_state SET counter = counter + 1 RETURNING counter")?
        .query_row([], |row| row.get(0))?;
    Ok(counter.unsigned_abs())
}

pub(crate) fn configurations(db: &Connection) -> Result<Vec<StoredConfiguration>> {
    db.prepare_cached("SELECT id, number, revision, document FROM configuration ORDER BY id")?
        .query_map([], configuration)?
        .collect()
}

fn stored(db: &Connection, id: &ConfigurationId) -> Result<Option<StoredConfiguration>> {
    db.prepare_cached("SELECT id, number, revision, document FROM configuration WHERE id = ?")?
        .query_row([id.as_str()], configuration)
        .optional()
}

pub(crate) fn create_configuration(
    db: &Connection,
    id: &ConfigurationId,
    configuration: &Configuration,
    limit: usize,
) -> Result<CreateConfigurationOutcome> {
    if stored(db, id)?.is_some() {
        return Ok(CreateConfigurationOutcome::Exists);
    }
    let count: i64 = db.query_row("SELECT count(*) FROM configuration", [], |row| row.get(0))?;
    if usize::try_from(count).is_ok_and(|count| count >= limit) {
        return Ok(CreateConfigurationOutcome::Full);
    }
    let number = next_revision(db)?;
    db.prepare_cached("INSERT INTO configuration (id, number, revision, document) VALUES (?1, ?2, ?2, ?3)")?
        .execute(params![id.as_str(), rows::signed(number), document(configuration)?])?;
    let (id, configuration) = (id.clone(), configuration.clone());
    let created = StoredConfiguration { id, number, revision: number, configuration };
    Ok(CreateConfigurationOutcome::Created(Box::new(created)))
}

pub(crate) fn update_configuration(
    db: &Connection,
    id: &ConfigurationId,
    revision: u64,
    configuration: &Configuration,
) -> Result<WriteConfigurationOutcome> {
    let old = match stored(db, id)? {
        None => return Ok(WriteConfigurationOutcome::NotFound),
        Some(old) if old.revision != revision => return Ok(WriteConfigurationOutcome::Changed),
        Some(old) => old,
    };
    let revision = next_revision(db)?;
    db.prepare_cached("UPDATE configuration SET revision = ?, document = ? WHERE id = ?")?
        .execute(params![rows::signed(revision), document(configuration)?, id.as_str()])?;
    let configuration = configuration.clone();
    let written = StoredConfiguration { revision, configuration, ..old };
    Ok(WriteConfigurationOutcome::Written(Box::new(written)))
}

pub(crate) fn delete_configuration(
    db: &Connection,
    id: &ConfigurationId,
    revision: Option<u64>,
) -> Result<WriteConfigurationOutcome> {
    let old = match stored(db, id)? {
        None => return Ok(WriteConfigurationOutcome::NotFound),
        Some(old) if revision.is_some_and(|revision| revision != old.revision) => {
            return Ok(WriteConfigurationOutcome::Changed);
        }
        Some(old) => old,
    };
    db.prepare_cached("DELETE FROM configuration WHERE id = ?")?.execute([id.as_str()])?;
    Ok(WriteConfigurationOutcome::Written(Box::new(old)))
}

/// Returns a device and its modules with their twins, and their size.
fn sized_twins(db: &Connection, device: &str) -> Result<(DeviceTwins, usize)> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {IDENTITY_COLUMNS}, {TWIN_VALUES} FROM identity LEFT JOIN twin USING (device_id, module_id) \
         WHERE device_id = ? ORDER BY module_id"
    ))?;
    let mut bytes = 0;
    let twins = statement.query_map([device], |row| {
        bytes += rows::twin_bytes(row)?;
        Ok((rows::identity(row)?.0, rows::twin(row)?.unwrap_or_default()))
    })?;
    let twins = twins.collect::<Result<DeviceTwins>>()?;
    Ok((twins, bytes))
}

pub(crate) fn device_twins(db: &Connection, device: &DeviceId) -> Result<DeviceTwins> {
    Ok(sized_twins(db, device.as_str())?.0)
}

pub(crate) fn twins_of_devices(db: &Connection, request: &DeviceTwinsRequest) -> Result<Vec<DeviceTwins>> {
    let sql = match request.only_configured {
        false => {
            "SELECT device_id FROM identity WHERE module_id = '' AND device_id > ? ORDER BY device_id LIMIT ?"
        }
        true => {
            "SELECT DISTINCT device_id FROM twin WHERE configurations IS NOT NULL AND device_id > ? ORDER BY device_id \
             LIMIT ?"
        }
    };
    let after = request.after.as_ref().map_or("", DeviceId::as_str);
    let limit = i64::try_from(request.devices).unwrap_or(i64::MAX);
    let devices: Vec<String> =
        db.prepare_cached(sql)?.query_map(params![after, limit], |row| row.get(0))?.collect::<Result<_>>()?;
    let (mut read, mut total) = (Vec::with_capacity(devices.len()), 0);
    for device in devices {
        let (twins, bytes) = sized_twins(db, &device)?;
        total += bytes;
        read.push(twins);
        if total >= READ_BYTES {
            break;
        }
    }
    Ok(read)
}

pub(crate) fn sweep_position(db: &Connection) -> Result<Option<DeviceId>> {
    let position: Option<String> =
        db.query_row("SELECT sweep_position FROM configuration_state", [], |row| row.get(0))?;
    position.map(|text| DeviceId::new(&text).map_err(|error| conversion_error(0, error))).transpose()
}

pub(crate) fn save_sweep_position(db: &Connection, after: Option<&DeviceId>) -> Result<()> {
    db.prepare_cached("UPDATE configuration_state SET sweep_position = ?")?
        .execute([after.map(DeviceId::as_str)])?;
    Ok(())
}
