//! JSON text that is handed on unchanged.
//!
//! `serde_json` skips a value without looking into its strings. A text that the hub embeds in its own JSON, or sends to
//! a device, must be valid as a whole: UTF-8 (RFC 8259, section 8.1), and without half of a surrogate pair, which many
//! parsers refuse (section 8.2).

use serde::de::IgnoredAny;

/// Why a text is not valid JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJson {
    /// The syntax is not that of JSON.
    #[error("it is not JSON")]
    Syntax,
    /// The text is not UTF-8.
    #[error("it is not UTF-8")]
    Utf8,
    /// A string has an escape `\\uD800` to `\\uDFFF` that is not part of a pair.
    #[error("a string contains half of a surrogate pair")]
    LoneSurrogate,
}

/// Checks that a text is valid JSON: one value, in UTF-8, without lone surrogates.
///
/// # Errors
/// The first reason why it is not.
pub fn check(text: &[u8]) -> Result<(), InvalidJson> {
    serde_json::from_slice::<IgnoredAny>(text).map_err(|_| InvalidJson::Syntax)?;
    let text = std::str::from_utf8(text).map_err(|_| InvalidJson::Utf8)?;
    check_surrogates(text)
}

/// Checks that a JSON text, whose syntax is valid, has no lone surrogates.
///
/// # Errors
/// [`InvalidJson::LoneSurrogate`].
pub fn check_surrogates(text: &str) -> Result<(), InvalidJson> {
    // In JSON a backslash occurs only in strings.
    let mut rest = text;
    while let Some((_, escape)) = rest.split_once('\\') {
        rest = match escape.strip_prefix('u') {
            None => skip_character(escape),
            Some(digits) => match (code_unit(digits), digits.get(4..).unwrap_or_default()) {
                (Some(0xd800..=0xdbff), tail) => low_surrogate(tail).ok_or(InvalidJson::LoneSurrogate)?,
                (Some(0xdc00..=0xdfff), _) => return Err(InvalidJson::LoneSurrogate),
                (_, tail) => tail,
            },
        };
    }
    Ok(())
}

fn skip_character(text: &str) -> &str {
    let mut characters = text.chars();
    characters.next();
    characters.as_str()
}

fn code_unit(digits: &str) -> Option<u16> {
    u16::from_str_radix(digits.get(..4)?, 16).ok()
}

/// Returns the text after the second half of a surrogate pair.
fn low_surrogate(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("\\u")?;
    matches!(code_unit(digits), Some(0xdc00..=0xdfff)).then(|| digits.get(4..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_that_every_parser_accepts_is_valid() {
        for valid in [
            "null",
            " [1.50, {}] ",
            r#""é😀""#,
            r#"{"\ud83d\ude00":"\uD83D\uDE00\u00e9\\ud800"}"#,
            r#""\\\n\"\uE000\uD7ff""#,
        ] {
            assert_eq!(check(valid.as_bytes()), Ok(()), "{valid}");
        }
        for (invalid, reason) in [
            (&b""[..], InvalidJson::Syntax),
            (b"{", InvalidJson::Syntax),
            (b"1 2", InvalidJson::Syntax),
            (b"\xef\xbb\xbf1", InvalidJson::Syntax),
            (br#""\u12""#, InvalidJson::Syntax),
            (b"\"\xff\"", InvalidJson::Utf8),
            (b"{\"\xc3\":1}", InvalidJson::Utf8),
            (b"\"\xed\xa0\x80\"", InvalidJson::Utf8),
            (br#"["\ud800"]"#, InvalidJson::LoneSurrogate),
            (br#"{"\uDFFF":1}"#, InvalidJson::LoneSurrogate),
            (br#""\ud800\ud800\udc00""#, InvalidJson::LoneSurrogate),
            (br#""\ud83d \ude00""#, InvalidJson::LoneSurrogate),
            (br#""\ud83d\\ude00""#, InvalidJson::LoneSurrogate),
            ("\"\\ud83dé\"".as_bytes(), InvalidJson::LoneSurrogate),
        ] {
            assert_eq!(check(invalid), Err(reason), "{}", String::from_utf8_lossy(invalid));
        }
    }
}
