//! A disk that fails and loses power, for tests of everything that the hub stores.
//!
//! [`Disk`] is a folder whose files are real, and a model of what a power loss leaves of them: only what was synced is
//! safe. It counts every change, and can refuse one, lose data in a failed `fsync`, or cut the power.
//! [`install_vfs`] routes SQLite through the disks, and a disk is the file system of a blob folder. A test runs a workload, cuts the power at a random
//! change, calls [`Disk::lose_power`], opens the hub's data again, and compares it with what was acknowledged.
//!
//! Everything follows from the seed of a test ([`seeds`]), so a failure can be repeated.

mod commit;
mod disk;
mod files;
mod random;
mod seeds;
#[allow(unsafe_code, reason = "SQLite calls a VFS through C function pointers")]
mod vfs;

pub use commit::share_commit;
pub use disk::{Change, Disk, Failure, Fault, Survival};
pub use random::Random;
pub use seeds::{each_seed, seeds};
pub use vfs::install_vfs;
