//! The configuration that flags and files describe.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use ferrohub_service::{Configuration, ConfigurationContent};
use serde_json::Value;

/// What a content may be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parts {
    /// Devices or modules.
    Configuration,
    /// The modules of edge devices.
    Deployment,
}

/// The parts of a configuration that can be changed.
#[derive(Debug, Args)]
pub(super) struct Changes {
    /// Condition on twins, such as "tags.building = 7"; "*" for all devices, "" for none
    #[arg(long, value_name = "CONDITION")]
    target_condition: Option<String>,
    /// Priority: the highest one counts
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=i64::from(i32::MAX)))]
    priority: Option<i64>,
    /// A label; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// A metric: the number of rows of a query; may be repeated
    #[arg(long = "metric", value_name = "NAME=QUERY", value_parser = pair)]
    metrics: Vec<(String, String)>,
}

/// Flags of `create`.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// The configuration's id, in lower case
    id: String,
    /// The content in JSON, such as {"deviceContent":{"properties.desired.interval":5}}
    #[arg(long, value_name = "JSON", required_unless_present = "file", conflicts_with = "file")]
    content: Option<String>,
    /// Read the content from a file, or from standard input (-)
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it must have the form NAME=VALUE".to_owned()),
    }
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.target_condition.is_none()
            && self.priority.is_none()
            && self.labels.is_empty()
            && self.metrics.is_empty()
    }

    /// Changes a configuration. Labels and metrics, if there are any, replace all that it has.
    pub(super) fn apply(self, configuration: &mut Configuration) {
        if let Some(condition) = self.target_condition {
            configuration.target_condition = Some(condition);
        }
        configuration.priority = self.priority.or(configuration.priority);
        if !self.labels.is_empty() {
            configuration.labels = Some(self.labels.into_iter().collect());
        }
        if !self.metrics.is_empty() {
            configuration.metrics.queries = self.metrics.into_iter().collect::<BTreeMap<_, _>>();
        }
    }
}

impl Create {
    pub(super) fn read(self, parts: Parts) -> anyhow::Result<Configuration> {
        let content = read_content(self.content.as_deref(), self.file.as_deref(), parts)?;
        let mut configuration = Configuration::new(self.id, content).with_target_condition("");
        self.changes.apply(&mut configuration);
        Ok(configuration)
    }
}

/// Reads content from a flag or a file: the content itself, or an object with the member `content`, which is how the Azure
/// CLI's files have it.
pub(super) fn read_content(
    json: Option<&str>,
    file: Option<&Path>,
    parts: Parts,
) -> anyhow::Result<ConfigurationContent> {
    let (text, source) = match (json, file) {
        (Some(json), _) => (json.to_owned(), "--content".to_owned()),
        (None, Some(file)) => (contents(file)?, file.display().to_string()),
        (None, None) => bail!("give --content or --file"),
    };
    let value: Value = serde_json::from_str(&text).with_context(|| format!("{source} is not JSON"))?;
    let content = value.get("content").unwrap_or(&value);
    let content: ConfigurationContent = serde_json::from_value(content.clone())
        .with_context(|| format!("{source} is not the content of a configuration"))?;
    let is_deployment = super::is_deployment(&content);
    match parts {
        Parts::Deployment if !is_deployment => {
            bail!("{source} has no \"modulesContent\"; for devices and modules use `ferrohub configuration`")
        }
        Parts::Configuration if is_deployment => {
            bail!("{source} has \"modulesContent\"; use `ferrohub deployment`")
        }
        _ => Ok(content),
    }
}

fn contents(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_read_with_and_without_its_member() {
        let settings = r#"{"deviceContent":{"properties.desired.a":1}}"#;
        let nested = format!(r#"{{"content":{settings},"metrics":{{}}}}"#);
        for text in [settings, &nested] {
            let content = read_content(Some(text), None, Parts::Configuration).unwrap();
            assert_eq!(content.device_content["properties.desired.a"], 1);
            assert!(read_content(Some(text), None, Parts::Deployment).is_err());
        }
        let edge = r#"{"modulesContent":{"m":{"properties.desired":{}}}}"#;
        assert!(read_content(Some(edge), None, Parts::Deployment).is_ok());
        assert!(read_content(Some(edge), None, Parts::Configuration).is_err());
        for invalid in ["", "[]", "{", r#"{"deviceContent":1}"#] {
            assert!(read_content(Some(invalid), None, Parts::Deployment).is_err(), "{invalid}");
        }
    }

    #[test]
    fn only_given_parts_are_changed() {
        let changes = Changes {
            target_condition: None,
            priority: Some(7),
            labels: vec![pair("a=b=c").unwrap()],
            metrics: Vec::new(),
        };
        let mut configuration =
            Configuration::default().with_target_condition("*").with_metric("m", "select *");
        changes.apply(&mut configuration);
        assert_eq!((configuration.target_condition.as_deref(), configuration.priority), (Some("*"), Some(7)));
        assert_eq!(configuration.labels.unwrap()["a"], "b=c");
        assert_eq!(configuration.metrics.queries.len(), 1);
        assert!(pair("=b").is_err() && pair("a").is_err());
    }
}
