//! The arrows between the modules of a crate: a module uses only modules below it.
//!
//! The arrows are read from the source text: `use crate::…` and `crate::…` in expressions. Tests do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::source::{crate_paths, without_comments_strings_and_tests};

/// The order of the top-level modules of a crate.
pub(super) struct Modules {
    /// The folder with `lib.rs` or `main.rs`, from the root of the workspace.
    pub(super) folder: &'static str,
    /// From the bottom up. Modules of one layer do not use each other.
    pub(super) layers: &'static [&'static [&'static str]],
    /// Types whose operations are in the folders of the features. A file that extends one of them is above all layers.
    pub(super) extended: &'static [&'static str],
}

/// All checked crates.
pub(super) const CRATES: &[Modules] = &[
    Modules {
        folder: "crates/core/src",
        layers: &[
            &["clock", "close_reason", "faults", "log_limit", "metrics", "request_peer", "session"],
            &["panics"],
            &["uncancelled"],
            &["store_error"],
            &["authorities", "delivery", "operations", "policies", "registry"],
            &["auth", "connections", "twins"],
            &["background"],
            &["digital_twins", "files", "node", "queries"],
            &["bus", "jobs"],
            &["cloud_to_device", "configurations", "import_export"],
            &["store"],
            &["telemetry"],
            &["limits"],
            // They extend the types below, and so are above everything, like `hub`, which assembles the features.
            &["callers", "hub", "methods", "readiness"],
        ],
        extended: &[
            "AuthenticatedConnect",
            "BlobCaller",
            "ConnectedDevice",
            "DeviceCaller",
            "Hub",
            "ServiceCaller",
        ],
    },
    Modules {
        folder: "crates/gateway/src",
        layers: &[
            &["admission", "health", "metrics"],
            &["transport", "entra"],
            &["http", "system_metrics"],
            &["admin", "error_details"],
            &["heads"],
            &["https"],
            &["gateway"],
            &["in_memory"],
        ],
        extended: &[],
    },
    Modules {
        folder: "crates/ferrohub/src",
        layers: &[
            &["config", "endpoints", "open_files", "output"],
            &["global_flags", "logging", "starting"],
            &["login", "serve"],
            &["hints"],
            &["commands"],
            &["cli"],
        ],
        extended: &[],
    },
];

/// One use of a module by another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrow {
    /// The file, from the folder of the crate.
    file: String,
    line: usize,
    from: String,
    to: String,
}

/// The source of a crate: its files by path from the folder with `lib.rs`.
pub(super) type Sources = BTreeMap<String, String>;

/// Reads the sources of a crate.
pub(super) fn read(root: &Path, modules: &Modules) -> Result<Sources> {
    let folder = root.join(modules.folder);
    let mut sources = Sources::new();
    let mut folders = vec![folder.clone()];
    while let Some(next) = folders.pop() {
        let entries = next.read_dir().with_context(|| format!("cannot read {}", next.display()))?;
        for entry in entries {
            let path: PathBuf = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let name = path.strip_prefix(&folder).unwrap_or(&path).to_string_lossy().into_owned();
                sources.insert(name, text);
            }
        }
    }
    Ok(sources)
}

/// Returns a sentence for each arrow that does not point down, and for each module whose place is wrong.
pub(super) fn violations(modules: &Modules, sources: &Sources) -> Vec<String> {
    let height = |module: &str| modules.layers.iter().position(|layer| layer.contains(&module));
    let top = modules.layers.len();
    let mut found = Vec::new();
    for Arrow { file, line, from, to } in arrows(modules, sources) {
        let is_extension = sources.get(&file).is_some_and(|text| extends(text, modules.extended));
        let from_height = if is_extension { Some(top) } else { height(&from) };
        let place = format!("{}/{file}:{line}", modules.folder);
        match (from_height, height(&to)) {
            (Some(from_height), Some(to_height)) if from_height > to_height => {}
            // The top layer of core: modules that only consist of extensions.
            (Some(from_height), Some(to_height)) if is_extension && from_height == to_height => {}
            (Some(_), Some(_)) => found.push(format!(
                "{place}: `{from}` uses `{to}`, which is not below it: move what both need down, or the use up"
            )),
            (None, _) => {
                found.push(format!("{place}: the module `{from}` has no layer in xtask/src/check/modules.rs"));
            }
            (_, None) => {
                found.push(format!("{place}: the module `{to}` has no layer in xtask/src/check/modules.rs"));
            }
        }
    }
    let existing: BTreeSet<&str> = sources.keys().map(|file| module_of(file)).collect();
    for module in modules.layers.iter().copied().flatten().filter(|module| !existing.contains(*module)) {
        found.push(format!(
            "{}: the module `{module}` does not exist; remove it from its layer",
            modules.folder
        ));
    }
    found
}

/// Returns the top-level module of a file.
fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

fn arrows(modules: &Modules, sources: &Sources) -> BTreeSet<Arrow> {
    let reexports = sources.get("lib.rs").map(|text| reexports(text)).unwrap_or_default();
    let mut arrows = BTreeSet::new();
    for (file, text) in sources {
        let from = module_of(file);
        let is_test = file.ends_with("/tests.rs") || file.ends_with("/fake.rs");
        if is_test || matches!(from, "lib" | "main") {
            continue;
        }
        for (line, name) in crate_paths(&without_comments_strings_and_tests(text)) {
            let is_module = modules.layers.iter().any(|layer| layer.contains(&name.as_str()));
            let to = match reexports.get(&name) {
                Some(module) if !is_module => module.clone(),
                // A macro is exported at the root of the crate, whatever its module.
                None if name.ends_with('!') => continue,
                _ => name,
            };
            if to != from {
                arrows.insert(Arrow { file: file.clone(), line, from: from.to_owned(), to });
            }
        }
    }
    arrows
}

/// Returns the modules of the names that `lib.rs` exports from them. Macros come from the module of the same name.
fn reexports(lib: &str) -> BTreeMap<String, String> {
    let text = without_comments_strings_and_tests(lib);
    let mut names = BTreeMap::from([("log_limited".to_owned(), "log_limit".to_owned())]);
    for statement in text.split(';') {
        let Some((_, path)) = statement.split_once("pub use ") else { continue };
        let Some((module, items)) = path.trim().split_once("::") else { continue };
        for item in items.trim_matches(['{', '}']).split(',') {
            let name = item.trim().trim_matches(['{', '}']).rsplit("::").next().unwrap_or_default();
            names.insert(name.trim().to_owned(), module.to_owned());
        }
    }
    names
}

/// Returns whether the file extends one of the types.
fn extends(text: &str, types: &[&str]) -> bool {
    let text = without_comments_strings_and_tests(text);
    text.lines().filter(|line| line.starts_with("impl")).any(|line| {
        let target = line.rsplit(" for ").next().unwrap_or(line).trim_start_matches("impl").trim_start();
        let target = target.split(['<', ' ', '{']).next().unwrap_or_default();
        !line.contains(" for ") && types.contains(&target)
            || line.starts_with("impl<") && types.iter().any(|name| line.contains(&format!("> {name}")))
            || line.contains(" for ") && types.contains(&target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLANTED: Modules = Modules {
        folder: "crates/planted/src",
        layers: &[&["words"], &["rules"], &["assembly"]],
        extended: &["Hub"],
    };

    fn check(files: &[(&str, &str)]) -> Vec<String> {
        let whole =
            [("words.rs", ""), ("rules.rs", ""), ("assembly.rs", ""), ("lib.rs", "pub use words::Word;")];
        let sources = whole.iter().chain(files).map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
        violations(&PLANTED, &sources.collect())
    }

    #[test]
    fn an_arrow_down_is_allowed() {
        assert_eq!(
            check(&[("rules/a.rs", "use crate::words::Word;\nfn f() { crate::Word::new(); }")]),
            [""; 0]
        );
        assert_eq!(check(&[("assembly.rs", "use crate::{\n    rules::{Rule, x},\n    words,\n};")]), [""; 0]);
    }

    #[test]
    fn an_arrow_up_is_a_violation_with_its_place() {
        let expected = "crates/planted/src/words/b.rs:2: `words` uses `rules`, which is not below it: move what both need \
                        down, or the use up";
        for text in
            ["\nuse crate::rules::Rule;", "\nfn f() -> crate::rules::Rule {}", "\nuse crate::{rules};"]
        {
            assert_eq!(check(&[("words/b.rs", text)]), [expected], "{text}");
        }
        let through_the_root =
            check(&[("lib.rs", "pub use rules::{Rule, Other};"), ("words.rs", "use crate::Rule;")]);
        assert_eq!(through_the_root.len(), 1, "{through_the_root:?}");
    }

    #[test]
    fn tests_comments_and_strings_do_not_count() {
        let text = "// crate::rules\n/* crate::rules */ const A: &str = \"crate::rules\";\n#[cfg(test)]\nmod tests { use \
                    crate::rules::Rule; }";
        assert_eq!(check(&[("words.rs", text)]), [""; 0]);
        assert_eq!(check(&[("words/tests.rs", "use crate::rules::Rule;")]), [""; 0]);
    }

    #[test]
    fn a_file_that_extends_the_hub_may_use_everything_but_rules_beside_it_may_not() {
        assert_eq!(check(&[("words/change.rs", "use crate::assembly::Hub;\nimpl Hub {}")]), [""; 0]);
        assert_eq!(check(&[("words/rule.rs", "use crate::assembly::Hub;\nimpl Rule {}")]).len(), 1);
    }

    #[test]
    fn every_module_has_a_layer_and_every_layer_has_its_modules() {
        assert_eq!(check(&[("unknown.rs", "use crate::words::Word;")]).len(), 1);
        let sources = [("words.rs".to_owned(), String::new()), ("rules.rs".to_owned(), String::new())];
        let missing = violations(&PLANTED, &sources.into());
        assert_eq!(
            missing,
            ["crates/planted/src: the module `assembly` does not exist; remove it from its layer"]
        );
    }
}
