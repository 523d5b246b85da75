//! Configuration: a TOML file, then the environment (`FERROHUB_*`), then flags; later ones win.
//!
//! Every key has one entry in [`keys::KEYS`], which is also what `docs/configuration.md` is checked
//! against. Unknown keys are errors, with the nearest valid name.

mod file;
mod keys;
mod load;
mod messages;
mod nearest;

pub(crate) use file::{
    AssignmentConfig, Config, EntraConfig, EventsConfig, FilesConfig, LimitsConfig, LogConfig, LogFormat,
    PolicyConfig,
};
pub(crate) use keys::{KEYS, environment_name};
pub(crate) use load::{Overrides, default_file, load};
