//! `cargo xtask check`: checks the layers. A crate depends only on crates below it, and model and protocol crates do no
//! I/O. In core and gateway, a module uses only modules below it. All crates have the lints of the workspace.
//!
//! The dependencies come from `cargo metadata`. Normal and build dependencies count; development dependencies do not.

mod bans;
mod lints;
mod modules;
mod source;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::command::{cargo, run_quietly};
use crate::workspace;

/// The rules for one crate of the workspace.
struct Layer {
    name: &'static str,
    /// Crates of the workspace that it may depend on.
    allowed: AllowedCrates,
    /// External crates that it must not depend on, with the reason.
    banned: &'static [(&'static str, &'static [&'static str])],
}

enum AllowedCrates {
    Only(&'static [&'static str]),
    Anything,
}

const NO_IO: (&str, &[&str]) = (
    "this crate does no I/O",
    &["tokio", "tokio-rustls", "tokio-tungstenite", "axum", "hyper", "hyper-util", "rusqlite", "rustls"],
);
const NO_PROTOCOL_NO_DATABASE: (&str, &[&str]) = (
    "core must not depend on protocols, sockets or databases",
    &["tokio-rustls", "tokio-tungstenite", "axum", "http", "hyper", "hyper-util", "rusqlite", "rustls"],
);
const NO_DATABASE: (&str, &[&str]) = ("protocol heads reach data through core", &["rusqlite"]);
const NO_SERVER: (&str, &[&str]) = ("an SDK is not a server", &["axum", "rusqlite"]);

/// The crates that are only for tests. The program must not depend on them.
const TESTS: (&str, &[&str]) = (
    "it is only for tests",
    &["ferrohub-acceptance", "ferrohub-conformance", "ferrohub-memory", "ferrohub-power-loss"],
);

use AllowedCrates::{Anything, Only};

/// Every crate of the workspace, from the bottom up.
const LAYERS: &[Layer] = &[
    Layer { name: "ferrohub-model", allowed: Only(&[]), banned: &[NO_IO] },
    Layer { name: "ferrohub-mqtt", allowed: Only(&[]), banned: &[NO_IO] },
    Layer { name: "ferrohub-amqp", allowed: Only(&[]), banned: &[NO_IO] },
    Layer { name: "ferrohub-query", allowed: Only(&["ferrohub-model"]), banned: &[NO_IO] },
    Layer {
        name: "ferrohub-core",
        allowed: Only(&["ferrohub-model", "ferrohub-query"]),
        banned: &[NO_PROTOCOL_NO_DATABASE],
    },
    Layer {
        name: "ferrohub-store",
        allowed: Only(&["ferrohub-core", "ferrohub-model", "ferrohub-query"]),
        banned: &[],
    },
    Layer { name: "ferrohub-blobs", allowed: Only(&["ferrohub-core", "ferrohub-model"]), banned: &[] },
    Layer { name: "ferrohub-memory", allowed: Only(&["ferrohub-core", "ferrohub-model"]), banned: &[] },
    Layer { name: "ferrohub-bus", allowed: Only(&["ferrohub-core", "ferrohub-model"]), banned: &[] },
    Layer {
        name: "ferrohub-development-issuer",
        allowed: Only(&["ferrohub-core", "ferrohub-model"]),
        banned: &[NO_DATABASE],
    },
    Layer {
        name: "ferrohub-gateway",
        allowed: Only(&["ferrohub-amqp", "ferrohub-core", "ferrohub-model", "ferrohub-mqtt"]),
        banned: &[NO_DATABASE],
    },
    Layer {
        name: "ferrohub-device",
        allowed: Only(&["ferrohub-model", "ferrohub-mqtt"]),
        banned: &[NO_SERVER],
    },
    Layer { name: "ferrohub-service", allowed: Only(&["ferrohub-model"]), banned: &[NO_SERVER] },
    Layer { name: "ferrohub", allowed: Anything, banned: &[TESTS] },
    Layer { name: "ferrohub-acceptance", allowed: Anything, banned: &[] },
    Layer {
        name: "ferrohub-conformance",
        allowed: Only(&["ferrohub-core", "ferrohub-model", "ferrohub-query"]),
        banned: &[],
    },
    Layer {
        name: "ferrohub-power-loss",
        allowed: Only(&["ferrohub-blobs", "ferrohub-core", "ferrohub-model", "ferrohub-store"]),
        banned: &[],
    },
    Layer { name: "ferrohub-bench", allowed: Anything, banned: &[] },
    Layer { name: "ferrohub-instructions", allowed: Anything, banned: &[] },
    Layer { name: "xtask", allowed: Only(&[]), banned: &[] },
];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "`cargo xtask check` takes no arguments");
    println!("{}", layers()?);
    Ok(())
}

/// Checks every crate of the workspace. Returns a message about the result.
pub(crate) fn layers() -> Result<String> {
    let metadata = run_quietly(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("`cargo metadata` did not print JSON")?;
    let crates = dependencies(&metadata)?;
    let mut violations = violations(&crates);
    for modules in modules::CRATES {
        let sources = modules::read(&workspace::root(), modules)?;
        violations.extend(modules::violations(modules, &sources));
    }
    violations.extend(bans::violations(&workspace::root())?);
    violations.extend(lints::violations(&metadata)?);
    if violations.is_empty() {
        let (crates, modules) = (crates.len(), modules::CRATES.len());
        return Ok(format!(
            "the layers of {crates} crates, and of the modules of {modules} of them, are correct"
        ));
    }
    bail!("dependencies violate the layers:\n  {}", violations.join("\n  "));
}

/// The normal and build dependencies of each crate of the workspace, by package name.
type Crates = BTreeMap<String, Vec<String>>;

fn dependencies(metadata: &Value) -> Result<Crates> {
    let packages = metadata["packages"].as_array().context("`cargo metadata` has no packages")?;
    let mut crates = Crates::new();
    for package in packages {
        let name = package["name"].as_str().context("a package without a name")?;
        let used = package["dependencies"].as_array().into_iter().flatten();
        let used = used
            .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
            .filter_map(|dependency| Some(dependency["name"].as_str()?.to_owned()))
            .collect();
        crates.insert(name.to_owned(), used);
    }
    Ok(crates)
}

fn violations(crates: &Crates) -> Vec<String> {
    let mut violations = Vec::new();
    for (name, used) in crates {
        let Some(layer) = LAYERS.iter().find(|layer| layer.name == name) else {
            violations.push(format!("{name} has no layer; add it to LAYERS in xtask/src/check.rs"));
            continue;
        };
        for dependency in used {
            let is_ours = crates.contains_key(dependency);
            if let Only(names) = &layer.allowed
                && is_ours
                && !names.contains(&dependency.as_str())
            {
                violations.push(format!("{name} must not depend on {dependency}: it is not below it"));
            }
            for (reason, names) in layer.banned {
                if names.contains(&dependency.as_str()) {
                    violations.push(format!("{name} must not depend on {dependency}: {reason}"));
                }
            }
        }
    }
    for layer in LAYERS {
        if !crates.contains_key(layer.name) {
            violations.push(format!(
                "the crate {} does not exist; remove it from LAYERS in xtask/src/check.rs",
                layer.name
            ));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole_workspace() -> Crates {
        LAYERS.iter().map(|layer| (layer.name.to_owned(), Vec::new())).collect()
    }

    fn with(name: &str, dependency: &str) -> Vec<String> {
        let mut crates = whole_workspace();
        crates.insert(name.to_owned(), vec![dependency.to_owned()]);
        violations(&crates)
    }

    #[test]
    fn a_dependency_on_a_lower_layer_is_allowed() {
        assert_eq!(with("ferrohub-gateway", "ferrohub-core"), Vec::<String>::new());
        assert_eq!(with("ferrohub-model", "serde"), Vec::<String>::new());
        assert_eq!(with("ferrohub-acceptance", "ferrohub"), Vec::<String>::new());
    }

    #[test]
    fn a_dependency_on_a_higher_or_equal_layer_is_a_violation() {
        for (name, dependency) in [
            ("ferrohub-core", "ferrohub-gateway"),
            ("ferrohub-query", "ferrohub-core"),
            ("ferrohub-model", "ferrohub-mqtt"),
            ("ferrohub-store", "ferrohub-bus"),
            ("ferrohub-service", "ferrohub-core"),
            ("ferrohub", "ferrohub-power-loss"),
        ] {
            assert_eq!(with(name, dependency).len(), 1, "{name} -> {dependency}");
        }
    }

    #[test]
    fn io_in_a_crate_without_io_is_a_violation() {
        assert_eq!(with("ferrohub-mqtt", "tokio").len(), 1);
        assert_eq!(with("ferrohub-core", "axum").len(), 1);
    }

    #[test]
    fn a_crate_without_a_layer_is_a_violation() {
        assert_eq!(with("ferrohub-unknown", "serde").len(), 1);
    }

    #[test]
    fn dev_dependencies_do_not_count() {
        let metadata = serde_json::json!({ "packages": [{ "name": "ferrohub-mqtt", "dependencies": [
            { "name": "bytes", "kind": null },
            { "name": "tokio", "kind": "dev" },
        ]}]});
        let crates = dependencies(&metadata).expect("valid metadata");
        assert_eq!(crates["ferrohub-mqtt"], ["bytes"]);
    }
}
