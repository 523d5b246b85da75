//! Settings of the hub: policies and certificate authorities.

use ferrohub_core::authorities::{DeleteAuthorityOutcome, StoredAuthority};
use ferrohub_core::policies::StoredPolicy;
use rusqlite::{Connection, Result, params};

use crate::rows;

pub(crate) fn policies(db: &Connection) -> Result<Vec<StoredPolicy>> {
    db.prepare_cached("SELECT name, rights, primary_key, secondary_key FROM policy ORDER BY name")?
        .query_map([], rows::policy)?
        .collect()
}

pub(crate) fn save_policy(db: &Connection, policy: &StoredPolicy) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO policy (name, rights, primary_key, secondary_key) VALUES (?, ?, ?, ?)",
    )?
    .execute(params![
        policy.name,
        policy.rights.bits(),
        policy.primary_key.to_base64(),
        policy.secondary_key.to_base64(),
    ])?;
    Ok(())
}

pub(crate) fn authorities(db: &Connection) -> Result<Vec<StoredAuthority>> {
    db.prepare_cached("SELECT name, certificate, verified, verification_code FROM authority ORDER BY name")?
        .query_map([], rows::authority)?
        .collect()
}

pub(crate) fn save_authority(db: &Connection, authority: &StoredAuthority) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO authority (name, certificate, verified, verification_code) \
         VALUES (?, ?, ?, ?)",
    )?
    .execute(params![
        authority.name,
        authority.certificate,
        authority.verified,
        authority.verification_code,
    ])?;
    Ok(())
}

pub(crate) fn delete_authority(db: &Connection, name: &str) -> Result<DeleteAuthorityOutcome> {
    let deleted = db.prepare_cached("DELETE FROM authority WHERE name = ?")?.execute([name])?;
    Ok(if deleted == 1 { DeleteAuthorityOutcome::Deleted } else { DeleteAuthorityOutcome::NotFound })
}
