//! Reads Rust source text, as far as the checks need it.

/// Replaces comments, the contents of strings, and everything from a test module on by spaces. Lines stay.
pub(super) fn without_comments_strings_and_tests(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            string_length(rest)
        } else {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        };
        let (skipped, tail) = rest.split_at(length);
        out.extend(skipped.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = tail;
    }
    out
}

/// Returns the length of the string literal at the beginning of the text, with its quotes.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Returns the first names of all paths that begin with `crate::`, with their lines, also those of grouped imports.
pub(super) fn crate_paths(text: &str) -> Vec<(usize, String)> {
    const ROOT: &str = "crate::";
    let mut found = Vec::new();
    for (at, _) in text.match_indices(ROOT) {
        let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
        let rest = text.get(at + ROOT.len()..).unwrap_or_default();
        match rest.strip_prefix('{') {
            None => found.extend(name(rest).map(|name| (line, name))),
            Some(group) => found.extend(group_names(group).into_iter().map(|name| (line, name))),
        }
    }
    found
}

fn name(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.get(..end).filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Returns the first names of the items of a group, up to its closing brace.
fn group_names(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut item) = (0_usize, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.extend(name(std::mem::take(&mut item).trim())),
            _ if depth == 0 => item.push(c),
            _ => {}
        }
    }
    names.extend(name(item.trim()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_each_path_is_found_with_its_line() {
        let text = "use crate::a::{b, c};\nuse crate::{\n    d::{e, f},\n    g,\n    self as h,\n};\ncrate::i!(crate::j::K)";
        let found: Vec<(usize, String)> = crate_paths(text);
        let expected = [(1, "a"), (2, "d"), (2, "g"), (2, "self"), (7, "i"), (7, "j")];
        assert_eq!(found, expected.map(|(line, name)| (line, name.to_owned())));
    }

    #[test]
    fn comments_and_strings_become_spaces() {
        assert_eq!(
            without_comments_strings_and_tests("a // b\n\"c \\\" d\" /* e\n */ f"),
            "a     \n                \n    f".replace("                \n", "             \n")
        );
        assert_eq!(without_comments_strings_and_tests("a\n#[cfg(test)]\nmod tests { b }"), "a\n");
    }
}
