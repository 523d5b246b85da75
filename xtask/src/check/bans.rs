//! Clippy reads only the nearest `clippy.toml`, so each one repeats the bans of the whole workspace.

use std::path::Path;

use anyhow::{Context as _, Result};

/// The file of the whole workspace, and those that replace it in a part of it.
const WHOLE: &str = "clippy.toml";
const PARTS: [&str; 2] = ["crates/clippy.toml", "crates/ferrohub/clippy.toml"];

/// Returns a sentence for each ban that a file lacks, and for each ban without a reason.
pub(super) fn violations(root: &Path) -> Result<Vec<String>> {
    let read =
        |file: &str| std::fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"));
    let whole = read(WHOLE)?;
    let mut found = Vec::new();
    for file in PARTS {
        let text = read(file)?;
        let missing = bans(&whole).filter(|ban| !bans(&text).any(|other| other == *ban));
        found.extend(missing.map(|ban| format!("{file} lacks a ban of {WHOLE}: {ban}")));
        found.extend(without_reason(&text).map(|ban| format!("{file} has a ban without a reason: {ban}")));
    }
    found.extend(without_reason(&whole).map(|ban| format!("{WHOLE} has a ban without a reason: {ban}")));
    Ok(found)
}

fn bans(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| line.starts_with("{ path = "))
}

fn without_reason(text: &str) -> impl Iterator<Item = &str> {
    bans(text).filter(|ban| !ban.contains("reason = \""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(whole: &str, part: &str) -> Vec<String> {
        let root = std::env::temp_dir().join(format!("xtask-bans-{}", std::process::id()));
        std::fs::create_dir_all(root.join("crates/ferrohub")).expect("a folder");
        for (file, text) in [(WHOLE, whole), (PARTS[0], part), (PARTS[1], whole)] {
            std::fs::write(root.join(file), text).expect("a file");
        }
        let found = violations(&root).expect("readable files");
        std::fs::remove_dir_all(root).expect("the folder");
        found
    }

    #[test]
    fn a_part_has_every_ban_of_the_whole_and_every_ban_a_reason() {
        let ban = "  { path = \"a::b\", reason = \"c\" },\n";
        let other = "{ path = \"d::e\", reason = \"f\" },";
        assert_eq!(check(ban, &format!("{other}\n{ban}")), [""; 0]);
        assert_eq!(
            check(ban, other),
            ["crates/clippy.toml lacks a ban of clippy.toml: { path = \"a::b\", reason = \"c\" },"]
        );
        assert_eq!(
            check("", "{ path = \"a::b\" },"),
            ["crates/clippy.toml has a ban without a reason: { path = \"a::b\" },"]
        );
    }
}
