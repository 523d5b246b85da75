//! Configuration: a TOML file, then the environment (`FERROHUB_*`), then flags. Later sources override earlier ones.
//!
//! Every key with a single value has one entry in [`keys::KEYS`]. Tests compare `docs/configuration.md` and the golden
//! file `tests/golden/configuration-keys.txt` with it. An unknown key is an error that suggests the nearest valid name.

mod addresses;
mod configurations;
mod file;
mod jobs;
mod keys;
mod load;
mod messages;
mod nearest;
mod queries;

pub(crate) use file::{
    AssignmentConfig, AuthorityConfig, Config, EntraConfig, EventsConfig, FilesConfig, LimitsConfig,
    LogConfig, LogFormat, PolicyConfig,
};
pub(crate) use keys::{KEYS, environment_name};
pub(crate) use load::{Overrides, default_file, load};
