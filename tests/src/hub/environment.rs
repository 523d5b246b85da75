//! The output of `ferrohub env`, which a shell evaluates with `eval`.

use std::collections::BTreeMap;
use std::path::Path;

use super::process;

/// Runs `ferrohub env` and parses its `export NAME='value'` lines.
#[track_caller]
pub(super) fn read(config: &Path) -> BTreeMap<String, String> {
    let output = process::command("env", config).output().expect("`ferrohub env` starts");
    assert!(
        output.status.success(),
        "`ferrohub env` ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let variable = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
        // A quote inside a quoted shell string.
        Some((name.to_owned(), value.replace("'\\''", "'")))
    };
    text.lines().filter_map(variable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn export_lines_are_parsed_as_a_shell_parses_them() {
        let found = parse("# comment\nexport A='x=y;z='\nexport B='it'\\''s'\nC='no'\n");
        let found: Vec<_> = found.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(found, [("A", "x=y;z="), ("B", "it's")]);
    }
}
