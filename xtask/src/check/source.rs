//! Reads Rust source text, as far as the checks need it.

/// Replaces comments, literals and test modules by spaces. Lines stay.
pub(super) fn without_comments_strings_and_tests(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let Some(length) = length_of_skipped(rest) else {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        };
        let (skipped, tail) = rest.split_at(length);
        blank(skipped, &mut out);
        rest = tail;
    }
    without_tests(&out)
}

fn blank(text: &str, out: &mut String) {
    out.extend(text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
}

/// Returns the length of the comment or literal at the beginning of the text, if there is one.
fn length_of_skipped(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(text.find("*/").map_or(text.len(), |end| end + 2));
    }
    if text.starts_with('"') {
        return Some(end_of_literal(text, '"'));
    }
    if text.starts_with('\'') {
        // Not a lifetime: it is closed after one character or one escape.
        let inner = text.get(1..)?;
        let is_literal = inner.starts_with('\\') || inner.chars().nth(1) == Some('\'');
        return is_literal.then(|| end_of_literal(text, '\''));
    }
    let hashes = text.strip_prefix('r')?.bytes().take_while(|byte| *byte == b'#').count();
    let body = text.get(1 + hashes..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(body.find(&end).map_or(text.len(), |at| 2 + hashes + at + end.len()))
}

/// Returns the length of the literal at the beginning of the text, with its quotes.
fn end_of_literal(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Replaces test modules by spaces. `text` has no comments and literals.
fn without_tests(text: &str) -> String {
    const MARK: &str = "#[cfg(test)]\nmod ";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, module)) = rest.split_once(MARK) {
        out.push_str(before);
        blank(MARK, &mut out);
        let length = match module.find(['{', ';']) {
            Some(at) if module.as_bytes().get(at) == Some(&b'{') => end_of_block(module),
            Some(at) => at,
            None => module.len(),
        };
        let (skipped, tail) = module.split_at(length);
        blank(skipped, &mut out);
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// Returns the position behind the first block of the text.
fn end_of_block(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
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
        let text = "use crate::a::{b, c};\nuse crate::{\n    d::{e, f},\n    g,\n};\ncrate::i!(crate::j::K)";
        let expected = [(1, "a"), (2, "d"), (2, "g"), (6, "i"), (6, "j")];
        assert_eq!(crate_paths(text), expected.map(|(line, name)| (line, name.to_owned())));
    }

    #[test]
    fn comments_literals_and_test_modules_become_spaces() {
        let words = |text: &str| {
            let left = without_comments_strings_and_tests(text);
            assert_eq!(left.matches('\n').count(), text.matches('\n').count(), "{text}");
            left.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        for (text, left) in [
            ("a // b\nc", "a c"),
            ("a /* b\n */ c", "a c"),
            ("a \"b \\\" c\" d", "a d"),
            ("a '\"' b \" c \"", "a b"),
            ("a '\\'' b", "a b"),
            ("&'a b '{'", "&'a b"),
            ("a r#\"b \" c\"# d", "a d"),
            ("a\n#[cfg(test)]\nmod tests {\n fn b() { \"}\"; }\n}\nc", "a c"),
            ("a\n#[cfg(test)]\nmod fake;\nb", "a ; b"),
        ] {
            assert_eq!(words(text), left, "{text}");
        }
    }
}
