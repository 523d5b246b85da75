//! Escapes characters that a terminal interprets: control characters, and those that change the direction of text.

use std::fmt::Write as _;

/// Characters that reorder or hide the text around them.
fn is_directional(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_unsafe(c: char) -> bool {
    c.is_control() || is_directional(c)
}

fn escape(text: &str, allowed: &[char]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) && !allowed.contains(&c) {
            let _ = write!(escaped, "{}", c.escape_unicode());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Escapes a text that may have several lines: `\u{1b}` for the escape character. Line feeds and tabs stay.
pub(crate) fn printable(text: &str) -> String {
    escape(text, &['\n', '\t'])
}

/// Escapes a text that belongs into one line, such as a name: line feeds are escaped as well.
pub(crate) fn one_line(text: &str) -> String {
    escape(text, &[])
}

/// Escapes a line of the log. The escape character stays: it begins a colour, and the log escapes it in values.
pub(crate) fn log_line(line: &str) -> String {
    escape(line, &['\n', '\t', '\u{1b}'])
}

/// Escapes the characters in a JSON document that serde_json leaves as they are. They can only be in strings, so the
/// value of the document stays the same.
pub(crate) fn json(document: &str) -> String {
    let mut escaped = String::with_capacity(document.len());
    for c in document.chars() {
        // serde_json escapes the control characters below U+0020. All others here are in the basic plane.
        if is_unsafe(c) && c != '\n' {
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clear screen, with the one-character form of the control sequence introducer; right-to-left override.
    const HOSTILE: &str = "a\u{1b}[2J\u{9b}2J\u{202e}txt.exe\u{2066}\u{7f}\n\té\u{1f680}";

    #[test]
    fn control_and_directional_characters_are_escaped() {
        assert_eq!(printable(HOSTILE), "a\\u{1b}[2J\\u{9b}2J\\u{202e}txt.exe\\u{2066}\\u{7f}\n\té\u{1f680}");
        assert!(one_line(HOSTILE).contains("\\u{a}\\u{9}é"));
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let value = serde_json::json!({ HOSTILE: [HOSTILE] });
        let text = json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(text.chars().all(|c| c == '\n' || !is_unsafe(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
