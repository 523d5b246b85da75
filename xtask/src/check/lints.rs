//! Every crate takes the lints of the workspace, which forbid unsafe code, but for named exceptions.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The crates with lints of their own, with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[(
    "ferrohub-power-loss",
    "a VFS for SQLite is made of C functions; see docs/decisions/0023-simulated-disks.md",
)];

/// Returns a sentence for each crate that has lints of its own and is not an exception, and the other way round.
pub(super) fn violations(metadata: &Value) -> Result<Vec<String>> {
    let packages = metadata["packages"].as_array().context("`cargo metadata` has no packages")?;
    let mut found = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package without a name")?;
        let manifest = package["manifest_path"].as_str().context("a package without a manifest")?;
        let text = std::fs::read_to_string(manifest).with_context(|| format!("cannot read {manifest}"))?;
        found.extend(violation(name, &text));
    }
    Ok(found)
}

fn violation(name: &str, manifest: &str) -> Option<String> {
    let is_shared = manifest.contains("[lints]\nworkspace = true\n");
    let exception = EXCEPTIONS.iter().find(|(exception, _)| *exception == name);
    match (is_shared, exception) {
        (true, None) | (false, Some(_)) => None,
        (false, None) => Some(format!("{name} lacks the lints of the workspace: `[lints] workspace = true`")),
        (true, Some((_, reason))) => Some(format!(
            "{name} needs no exception from the lints any more ({reason}); remove it from EXCEPTIONS"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_crates_have_lints_of_their_own() {
        let (shared, own) = ("[lints]\nworkspace = true\n", "[lints.rust]\nunsafe_code = \"deny\"\n");
        assert_eq!(violation("ferrohub-core", shared), None);
        assert!(violation("ferrohub-core", own).is_some());
        assert_eq!(violation("ferrohub-power-loss", own), None);
        assert!(violation("ferrohub-power-loss", shared).is_some());
    }
}
