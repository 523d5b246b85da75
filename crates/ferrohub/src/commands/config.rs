//! `ferrohub config`: prints the configuration.

use std::fmt::Write as _;

use clap::Args;
use toml::Value;

use crate::config::{Config, KEYS, environment_name};
use crate::global_flags::GlobalFlags;
use crate::output;

/// Flags of `ferrohub config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigCommand {
    /// Print a sample configuration file: every key with its description and default
    #[arg(long)]
    sample: bool,
}

impl ConfigCommand {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        let text = if self.sample { sample()? } else { toml::to_string(&global.load(Vec::new())?)? };
        output::print_bytes(text.as_bytes())
    }
}

/// Returns every key that has a single value, commented out, with description, environment variable and default.
fn sample() -> anyhow::Result<String> {
    let defaults = Value::try_from(Config::default())?;
    let mut text = String::new();
    let mut table = "";
    for key in KEYS {
        let (inside, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if inside != table {
            write!(text, "[{inside}]\n\n")?;
            table = inside;
        }
        writeln!(text, "# {}", key.about)?;
        writeln!(text, "# Environment: {}", environment_name(key.path))?;
        match key.path.split('.').try_fold(&defaults, |value, part| value.get(part)) {
            Some(default) => write!(text, "# {name} = {default}\n\n")?,
            None => write!(text, "# {name} = \"\"\n\n")?,
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_a_valid_configuration_with_and_without_its_comments() {
        let text = sample().unwrap();
        assert!(toml::from_str::<Config>(&text).is_ok());
        let is_key = |line: &&str| !line.starts_with("# ") || line.contains(" = ");
        let keys: Vec<&str> = text.lines().filter(is_key).map(|line| line.trim_start_matches("# ")).collect();
        let config = toml::from_str::<Config>(&keys.join("\n")).unwrap();
        assert_eq!(config.limits.devices, Config::default().limits.devices);
    }

    #[test]
    fn the_documentation_contains_the_sample() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let document = std::fs::read_to_string(document).unwrap();
        assert!(
            document.contains(&sample().unwrap()),
            "docs/configuration.md must contain the output of `ferrohub config --sample`"
        );
    }
}
