//! Authorisation of a service whose token is in the cache.

use std::hint::black_box;

use anyhow::ensure;
use ferrohub_core::auth::Operation;
use ferrohub_model::{Timestamp, sas};

use crate::noop;

/// Runs the first step of every request of a service.
pub(crate) fn cached_token(count: u32) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let (hub, _, key) = noop::hub().await?;
        let token =
            sas::sign("localhost", &key, Some(noop::POLICY), Timestamp::from_unix_seconds(4_000_000_000));
        for _ in 0..count {
            let allowed = hub.authorize(black_box(Some(&token)), Operation::InvokeMethod).await;
            ensure!(allowed.is_ok(), "refused");
        }
        Ok(())
    })
}
