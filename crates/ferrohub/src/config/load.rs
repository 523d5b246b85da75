//! Loads the configuration from file, environment and flags.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use toml::{Table, Value};

use super::addresses;
use super::file::{Config, EventsConfig};
use super::keys::{KEYS, RENAMED, environment_name};
use super::nearest::nearest;

/// The variable that names the configuration file. The only one with the prefix `FERROHUB_` that is not a key.
const FILE_VARIABLE: &str = "FERROHUB_CONFIG";

/// A smaller log holds only a few messages of the maximum size.
const MIN_RETENTION_BYTES: u64 = 1024 * 1024;
/// Shorter tokens can be guessed.
const MIN_ADMIN_TOKEN: usize = 16;
/// Consumer groups besides `$Default`.
const MAX_GROUPS: usize = 99;
/// The limit of Azure Event Hubs.
const MAX_GROUP_NAME: usize = 50;

/// Flags: the path of the key, and its value.
pub(crate) type Overrides = Vec<(&'static str, String)>;

/// Loads and checks the configuration. It is an error if `file` is given and does not exist.
pub(crate) fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &Overrides,
) -> anyhow::Result<Config> {
    let mut table = Table::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
        // The file is first parsed alone, so that errors name the line.
        let parsed: Result<Config, _> = toml::from_str(&text);
        if let Err(error) = parsed {
            let message = match renamed_key(&error, &text) {
                Some((old, new)) => format!("{}\n{old} was renamed: use {new}", error.to_string().trim_end()),
                None => with_suggestion(&error),
            };
            bail!("{}: {message}", path.display());
        }
        table = toml::from_str(&text)?;
    }
    for (name, value) in environment {
        if !name.starts_with("FERROHUB_") || name == FILE_VARIABLE {
            continue;
        }
        let Some(key) = KEYS.iter().find(|key| environment_name(key.path) == name) else {
            if let Some((_, new)) = RENAMED.iter().find(|(old, _)| environment_name(old) == name) {
                bail!("the environment variable {name} was renamed: use {}", environment_name(new));
            }
            let names: Vec<String> = KEYS.iter().map(|key| environment_name(key.path)).collect();
            match nearest(&name, names.iter().map(String::as_str)) {
                Some(near) => bail!("unknown environment variable {name}; did you mean {near}?"),
                None => {
                    bail!(
                        "unknown environment variable {name}; `ferrohub config --sample` prints the valid ones"
                    )
                }
            }
        };
        set(&mut table, key.path, &value).with_context(|| format!("environment variable {name}"))?;
    }
    for (path, value) in flags {
        set(&mut table, path, value)?;
    }
    let mut config: Config =
        Value::Table(table).try_into().map_err(|error| anyhow::anyhow!(with_suggestion(&error)))?;
    if let Some(folder) = file.and_then(Path::parent) {
        make_absolute(&mut config, folder);
    }
    check(&config)?;
    Ok(config)
}

/// Makes paths absolute: relative paths in the file are relative to the folder of the file.
fn make_absolute(config: &mut Config, folder: &Path) {
    let authorities = config.device_cas.iter_mut().map(|ca| &mut ca.file);
    let issuers = config.entra.issuers.iter_mut().filter_map(|issuer| issuer.ca_file.as_mut());
    let tls = [config.tls.certificate.as_mut(), config.tls.private_key.as_mut()].into_iter().flatten();
    for path in authorities.chain(issuers).chain(tls).chain([&mut config.data_dir]) {
        *path = folder.join(&*path);
    }
}

/// Sets one key. Missing tables are created.
fn set(table: &mut Table, path: &str, text: &str) -> anyhow::Result<()> {
    let mut current = table;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            current.insert(part.to_owned(), value(path, text)?);
            return Ok(());
        }
        let inner = current.entry(part).or_insert_with(|| Value::Table(Table::new()));
        current = inner
            .as_table_mut()
            .with_context(|| format!("{path}: {part} is not a table in the configuration file"))?;
    }
    Ok(())
}

/// Converts text from the environment or a flag to the type of the key.
fn value(path: &str, text: &str) -> anyhow::Result<Value> {
    let default = Value::try_from(Config::default())?;
    let kind = path.split('.').try_fold(&default, |value, part| value.get(part));
    Ok(match kind {
        Some(Value::Integer(_)) => {
            Value::Integer(text.parse().with_context(|| format!("{path} must be a whole number"))?)
        }
        Some(Value::Boolean(_)) => {
            Value::Boolean(text.parse().with_context(|| format!("{path} must be true or false"))?)
        }
        Some(Value::Array(_)) => Value::Array(
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect(),
        ),
        _ => Value::from(text),
    })
}

/// Returns the old and the new path of the unknown key in `error`, if the key was renamed. `text` is the whole file.
fn renamed_key(error: &toml::de::Error, text: &str) -> Option<(&'static str, &'static str)> {
    let unknown = error.message().strip_prefix("unknown field `")?.split('`').next()?;
    let file = Value::Table(toml::from_str(text).ok()?);
    RENAMED.iter().copied().find(|(old, _)| {
        let is_set = old.split('.').try_fold(&file, |value, part| value.get(part)).is_some();
        is_set && old.rsplit('.').next() == Some(unknown)
    })
}

/// Formats the error, with a suggestion for an unknown field.
fn with_suggestion(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let message = error.message();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((unknown, known)) if message.starts_with("unknown field") => {
            match nearest(unknown, known.iter().copied()) {
                Some(near) => format!("{}\ndid you mean `{near}`?", text.trim_end()),
                None => text,
            }
        }
        _ => text,
    }
}

fn check(config: &Config) -> anyhow::Result<()> {
    if config.hostname.is_empty() || config.hostname.contains(['/', ':', ' ', ';', '=']) {
        bail!("hostname must be a host name or an IPv4 address, without port: {:?}", config.hostname);
    }
    if config.tls.certificate.is_some() != config.tls.private_key.is_some() {
        bail!("set both tls.certificate and tls.private_key, or neither");
    }
    if let Some(token) = &config.listen.admin_token
        && (token.len() < MIN_ADMIN_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        bail!(
            "listen.admin_token must have at least {MIN_ADMIN_TOKEN} printable ASCII characters, without blanks"
        );
    }
    let limits = &config.limits;
    if limits.https_write_timeout_seconds == 0
        || limits.https_connections_per_caller == 0
        || limits.amqp_connections_per_caller == 0
    {
        bail!(
            "limits.https_write_timeout_seconds, limits.https_connections_per_caller and \
             limits.amqp_connections_per_caller must be at least 1"
        );
    }
    addresses::check(&config.listen)?;
    check_log_level(&config.log.level)?;
    check_files(&config.files)?;
    config.messages.check()?;
    config.queries.check()?;
    config.configurations.check()?;
    config.jobs.check()?;
    let mut names: Vec<&str> = config.policies.iter().map(|policy| policy.name.as_str()).collect();
    names.sort_unstable();
    if let Some(name) =
        names.windows(2).find(|pair| pair.first() == pair.last()).and_then(|pair| pair.first())
    {
        bail!("policy {name} is configured twice; remove one");
    }
    check_events(&config.events)?;
    let max_policies = ferrohub_core::limits::Limits::default().policies;
    if config.policies.len() > max_policies {
        bail!("{} policies are configured; at most {max_policies} are allowed", config.policies.len());
    }
    Ok(())
}

/// The levels, and the word that switches a target off.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Checks a level, or a filter such as `ferrohub_core=debug,warn`. Without this check, a misspelled level is a filter that
/// matches a target of this name, which no message has.
fn check_log_level(filter: &str) -> anyhow::Result<()> {
    for directive in filter.split(',').map(str::trim) {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        if LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            continue;
        }
        match nearest(&level.to_ascii_lowercase(), LEVELS) {
            Some(near) => bail!("log.level: {level:?} is not a log level; did you mean {near}?"),
            None => bail!(
                "log.level: {level:?} is not a log level; use {} or a filter such as ferrohub_core=debug,warn",
                LEVELS.join(", ")
            ),
        }
    }
    Ok(())
}

fn check_events(config: &EventsConfig) -> anyhow::Result<()> {
    if !(2..=32).contains(&config.partitions) {
        bail!("events.partitions must be 2 to 32, not {}", config.partitions);
    }
    if config.retention_hours == 0 {
        bail!("events.retention_hours must be at least 1");
    }
    if config.retention_bytes < MIN_RETENTION_BYTES {
        bail!("events.retention_bytes must be at least {MIN_RETENTION_BYTES}");
    }
    if config.readers_per_group == 0 {
        bail!("events.readers_per_group must be at least 1");
    }
    let is_valid = |name: &String| {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.$".contains(&byte));
        plain && (1..=MAX_GROUP_NAME).contains(&name.len())
    };
    if let Some(name) = config.consumer_groups.iter().find(|name| !is_valid(name)) {
        bail!(
            "events.consumer_groups: {name:?} must be 1 to {MAX_GROUP_NAME} letters, digits, '-', '_' and '.'"
        );
    }
    if config.consumer_groups.len() > MAX_GROUPS {
        bail!(
            "events.consumer_groups has {} groups; at most {MAX_GROUPS} are allowed",
            config.consumer_groups.len()
        );
    }
    Ok(())
}

fn check_files(files: &super::file::FilesConfig) -> anyhow::Result<()> {
    for (name, value, range) in [
        ("url_lifetime_seconds", files.url_lifetime_seconds, 1..=86_400),
        ("notification_time_to_live_seconds", files.notification_time_to_live_seconds, 60..=172_800),
        ("notification_lock_seconds", files.notification_lock_seconds, 5..=300),
        ("max_notification_deliveries", files.max_notification_deliveries.into(), 1..=100),
        ("max_transfers", files.max_transfers as u64, 1..=100_000),
        ("max_transfers_per_device", files.max_transfers_per_device as u64, 1..=100_000),
        ("idle_timeout_seconds", files.idle_timeout_seconds, 1..=3600),
    ] {
        if !range.contains(&value) {
            bail!("files.{name} must be {} to {}, not {value}", range.start(), range.end());
        }
    }
    let container = &files.storage_container;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(3..=63).contains(&container.len()) || !container.bytes().all(plain) {
        bail!(
            "files.storage_container must be 3 to 63 lower-case letters, digits and hyphens: {container:?}"
        );
    }
    Ok(())
}

/// Returns the configuration file that is used if none is given: `ferrohub.toml` in the current folder, if it exists.
pub(crate) fn default_file() -> Option<PathBuf> {
    let path = PathBuf::from("ferrohub.toml");
    path.exists().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str, environment: &[(&str, &str)], flags: &Overrides) -> anyhow::Result<Config> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("hub.toml");
        std::fs::write(&path, text)?;
        load(
            Some(&path),
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
            flags,
        )
    }

    #[test]
    fn later_sources_override_earlier_ones() {
        let text = "hostname = \"a\"\n[limits]\ndevices = 1\n[listen]\nmqtt = \"x:1\"";
        let config = load_text(text, &[], &vec![]).unwrap();
        assert_eq!((config.hostname.as_str(), config.limits.devices), ("a", 1));
        let environment =
            [("FERROHUB_HOSTNAME", "b"), ("FERROHUB_LIMITS_DEVICES", "2"), ("FERROHUB_TLS_NAMES", "x, y")];
        let config = load_text(text, &environment, &vec![("hostname", "c".to_owned())]).unwrap();
        assert_eq!(
            (config.hostname.as_str(), config.limits.devices, config.listen.mqtt.as_str()),
            ("c", 2, "x:1")
        );
        assert_eq!(config.tls.names, ["x", "y"]);
    }

    #[test]
    fn unknown_names_are_errors_with_a_suggestion() {
        for (text, environment, expected) in [
            ("hostnam = \"a\"", &[][..], "did you mean `hostname`?"),
            ("[listen]\nhttp = \"a\"", &[][..], "did you mean `https`?"),
            ("", &[("FERROHUB_HOSTNAM", "x")][..], "did you mean FERROHUB_HOSTNAME?"),
            ("[limits]\ndevices = \"many\"", &[][..], "devices"),
            ("", &[("FERROHUB_LIMITS_DEVICES", "many")][..], "whole number"),
        ] {
            let error = format!("{:#}", load_text(text, environment, &vec![]).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_misspelled_log_level_is_an_error() {
        for level in ["info", "WARN", "off", "ferrohub_core=debug,warn", "a::b=trace, error"] {
            check_log_level(level).unwrap();
        }
        for (level, expected) in [
            ("infoo", "did you mean info?"),
            ("ferrohub_core=debg,warn", "did you mean debug?"),
            ("", "is not a log level"),
            ("ferrohub_core", "use error, warn"),
        ] {
            let error = load_text("", &[], &vec![("log.level", level.to_owned())]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn renamed_keys_are_errors_that_name_the_new_key() {
        for (old, new) in RENAMED {
            let (table, name) = old.rsplit_once('.').unwrap();
            let text = format!("[{table}]\n{name} = 1");
            let error = load_text(&text, &[], &vec![]).unwrap_err().to_string();
            assert!(error.ends_with(&format!("{old} was renamed: use {new}")), "{error}");
            assert!(error.contains("line 2"), "{error}");

            let variable = environment_name(old);
            let error = load_text("", &[(variable.as_str(), "1")], &vec![]).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("the environment variable {variable} was renamed: use {}", environment_name(new))
            );

            assert!(KEYS.iter().any(|key| key.path == *new), "{new}");
            assert!(KEYS.iter().all(|key| key.path != *old), "{old}");
        }
    }

    #[test]
    fn serialised_secrets_are_masked() {
        let text = "[files]\nstorage_connection_string = \"AccountName=a;AccountKey=AAECAwQFBgcICQoLDA0ODw==\"\n[[policy]]\nname = \"p\"\nrights = [\"ServiceConnect\"]\nprimary_key = \"AAECAwQFBgcICQoLDA0ODw==\"\nsecondary_key = \"AAECAwQFBgcICQoLDA0ODw==\"";
        let shown = toml::to_string(&load_text(text, &[], &vec![]).unwrap()).unwrap();
        assert!(!shown.contains("AAEC") && shown.contains("***"), "{shown}");
    }

    #[test]
    fn an_admin_token_is_long_and_masked() {
        let token = "0123456789abcdef";
        let config = |token: &str| load_text(&format!("[listen]\nadmin_token = \"{token}\""), &[], &vec![]);
        let shown = toml::to_string(&config(token).unwrap()).unwrap();
        assert!(!shown.contains(token) && shown.contains("admin_token = \"***\""), "{shown}");
        for invalid in ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdeé"] {
            assert!(config(invalid).unwrap_err().to_string().contains("listen.admin_token"), "{invalid}");
        }
    }

    #[test]
    fn every_listed_key_exists_in_the_configuration() {
        for key in KEYS.iter().filter(|key| {
            !["listen.admin_token", "tls.certificate", "tls.private_key", "files.storage_connection_string"]
                .contains(&key.path)
        }) {
            let default = Value::try_from(Config::default()).unwrap();
            assert!(
                key.path.split('.').try_fold(&default, |value, part| value.get(part)).is_some(),
                "{}",
                key.path
            );
        }
    }
}
