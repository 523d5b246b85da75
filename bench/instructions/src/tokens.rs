//! Authorisation of a service whose token is in the cache.

use std::hint::black_box;

use anyhow::ensure;
use ferrohub_core::Operation;
use ferrohub_model::sas;

use crate::hub::{self, Started};

/// Runs the first step of every request of a service.
pub(crate) fn cached_token(count: u32) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let Started { hub, key, .. } = hub::start().await?;
        let token = sas::sign("localhost", &key, Some(hub::POLICY), hub::LATER);
        for _ in 0..count {
            let allowed = hub.authenticate_service(black_box(Some(&token)), Operation::InvokeMethod).await;
            ensure!(allowed.is_ok(), "refused");
        }
        Ok(())
    })
}
