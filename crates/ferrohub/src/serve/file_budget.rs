//! Divides the files that the process may open: the databases, uploads and the log must find one at any time, also while
//! a flood of connections takes all that it can get.

use anyhow::bail;
use ferrohub_gateway::GatewayLimits;
use tracing::{info, warn};

use crate::open_files;

/// Files that the hub opens for itself after its start: write-ahead logs and temporary files of the databases,
/// connections of the admin listener and to issuers of tokens, certificates, and one per listener that is being accepted.
const RESERVE: usize = 64;
/// A transfer has a file that it writes, and one that it reads or a folder that it syncs.
const FILES_PER_TRANSFER: usize = 2;
/// With fewer files the hub does not start.
const MIN_FILES: usize = 160;
/// A fitted default of fewer connections than this is a warning.
const FEW_CONNECTIONS: usize = 10_000;

/// The files of the process.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileBudget {
    limit: usize,
}

impl FileBudget {
    /// Raises the limit of open files as far as possible.
    ///
    /// # Errors
    /// If it is too low for the hub itself.
    pub(super) fn claim() -> anyhow::Result<Self> {
        let limit = open_files::raise_limit();
        if limit < MIN_FILES {
            bail!(
                "the process may open {limit} files only, and the hub needs at least {MIN_FILES}: {}",
                open_files::REMEDY
            );
        }
        Ok(Self { limit })
    }

    /// Lowers the limits of the gateway so that its sockets and files fit. Call it when the databases and the listeners
    /// are open. `default_connections` is the default of `limits.connections`.
    pub(super) fn fit(self, limits: GatewayLimits, default_connections: usize) -> GatewayLimits {
        let in_use = open_files::count().unwrap_or(MIN_FILES - RESERVE);
        let fitted = fit(limits.clone(), self.limit.saturating_sub(in_use + RESERVE));
        let (limit, configured, connections) = (self.limit, limits.connections, fitted.connections);
        if connections == configured {
            return fitted;
        }
        let what = format!(
            "limits.connections is {configured}, but the process may open {limit} files only: the hub serves at most \
             {connections} connections and {} file transfers. To serve more, {}",
            fitted.file_transfers,
            open_files::REMEDY
        );
        if configured == default_connections && connections >= FEW_CONNECTIONS {
            info!("{what}");
        } else {
            warn!("{what}");
        }
        fitted
    }
}

/// Lowers the limits so that all connections and transfers together have at most `files` files.
fn fit(mut limits: GatewayLimits, files: usize) -> GatewayLimits {
    // Devices and services have `file_transfers` each.
    let files_of = |transfers: usize| transfers.saturating_mul(2 * FILES_PER_TRANSFER);
    if limits.connections.saturating_add(files_of(limits.file_transfers)) <= files {
        return limits;
    }
    // A quarter at most is for transfers.
    limits.file_transfers = limits.file_transfers.min(files / 4 / files_of(1)).max(1);
    limits.file_transfers_per_device = limits.file_transfers_per_device.min(limits.file_transfers);
    limits.connections = limits.connections.min(files.saturating_sub(files_of(limits.file_transfers))).max(2);
    // Neither unauthenticated connections nor one caller may take all sockets.
    let half = limits.connections / 2;
    limits.unauthenticated_connections = limits.unauthenticated_connections.min(half);
    limits.https_connections_per_caller = limits.https_connections_per_caller.min(half);
    limits.amqp_connections_per_caller = limits.amqp_connections_per_caller.min(half);
    limits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::serve::limits::gateway_limits;

    #[test]
    fn connections_and_transfers_together_fit() {
        let config = Config::default();
        let limits = gateway_limits(&config.limits, &config.files);
        for files in [96, 140, 850, 10_000, 524_000] {
            let fitted = fit(limits.clone(), files);
            let transfers = fitted.file_transfers * 2 * FILES_PER_TRANSFER;
            assert!(fitted.connections + transfers <= files, "{files}: {fitted:?}");
            assert!(fitted.connections >= files / 2 && fitted.file_transfers >= 1, "{files}: {fitted:?}");
            assert!(fitted.unauthenticated_connections * 2 <= fitted.connections, "{files}");
            assert!(fitted.https_connections_per_caller * 2 <= fitted.connections, "{files}");
            assert!(fitted.amqp_connections_per_caller * 2 <= fitted.connections, "{files}");
            assert!(fitted.file_transfers_per_device <= fitted.file_transfers, "{files}");
        }
        // With enough files nothing changes, not even the shares.
        let small = GatewayLimits { connections: 100, unauthenticated_connections: 2048, ..limits };
        let fitted = fit(small, 1000);
        assert_eq!((fitted.connections, fitted.unauthenticated_connections), (100, 2048));
    }
}
