//! Percent-encoding (RFC 3986): `%XX` only; a plus sign is a plus sign.

use std::borrow::Cow;
use std::fmt;

/// Formats a text with all but the unreserved characters `A-Z a-z 0-9 - . _ ~` encoded.
#[derive(Debug, Clone, Copy)]
pub struct Encoded<'a>(pub &'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_encoded(f, self.0, is_unreserved)
    }
}

/// Formats a text for a property bag of a topic: as [`Encoded`], but `~` is encoded too. The decoder of the C SDK
/// (`c-utility/src/urlencode.c`) refuses a whole property with a `~` in it.
#[derive(Debug, Clone, Copy)]
pub struct BagText<'a>(pub &'a str);

impl fmt::Display for BagText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_encoded(f, self.0, |c| is_unreserved(c) && c != '~')
    }
}

/// Formats a name as a level of a topic. Most SDKs compare the level with a name and do not decode it, so everything
/// stays as it is except `/ + # % ? \\` and control characters:
///
/// - `/` ends the level, and wildcards must not be in the topic of a message (MQTT-3.3.2-2); control characters should
///   not be in one either (MQTT-1.5.3).
/// - Clients that decode need `%` encoded. Python, Node and Go search for `?`.
/// - Node parses the topic as a URL, which turns `\\` into `/`.
#[derive(Debug, Clone, Copy)]
pub struct TopicLevel<'a>(pub &'a str);

impl fmt::Display for TopicLevel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_encoded(f, self.0, |c| !matches!(c, '/' | '+' | '#' | '%' | '?' | '\\') && !c.is_control())
    }
}

/// Writes `text` with all characters encoded that `is_plain` refuses.
fn write_encoded(f: &mut fmt::Formatter<'_>, text: &str, is_plain: impl Fn(char) -> bool) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(|c| !is_plain(c)) {
        let (plain, tail) = rest.split_at(at);
        let mut others = tail.chars();
        f.write_str(plain)?;
        if let Some(other) = others.next() {
            for byte in other.encode_utf8(&mut [0; 4]).bytes() {
                write!(f, "%{byte:02X}")?;
            }
        }
        rest = others.as_str();
    }
    f.write_str(rest)
}

fn is_unreserved(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')
}

/// Encodes all but the unreserved characters.
#[must_use]
pub fn encode(text: &str) -> String {
    Encoded(text).to_string()
}

/// Appends the encoded form of `text` to `out`.
pub fn encode_into(text: &str, out: &mut String) {
    use fmt::Write as _;
    // Writing to a String cannot fail.
    let _ = write!(out, "{}", Encoded(text));
}

/// Decodes every `%XX`. `None` if an escape is cut short or not hexadecimal, or the result is not UTF-8.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// Does the same as [`decode`], but does not copy a text without escapes.
#[must_use]
pub fn decode_cow(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('%') { decode(text).map(Cow::Owned) } else { Some(Cow::Borrowed(text)) }
}

/// Decodes every `%XX`, keeps a `%` that encodes nothing, and replaces bytes that are not UTF-8 by U+FFFD.
#[must_use]
pub fn decode_lossy(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let Some((byte, tail)) = rest.split_first() {
        let encoded = match (byte, tail) {
            (b'%', [high, low, tail @ ..]) => digit(*high).zip(digit(*low)).map(|digits| (digits, tail)),
            _ => None,
        };
        match encoded {
            Some(((high, low), tail)) => {
                out.push(high * 16 + low);
                rest = tail;
            }
            None => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_undoes_encoding() {
        for text in ["", "a b", "a+b/c", "100%", "é€😀", "\0\u{7f}"] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
        assert_eq!(encode("host/devices/d 1"), "host%2Fdevices%2Fd%201");
    }

    #[test]
    fn a_topic_level_has_no_more_encoded_than_it_must() {
        for (name, level) in [
            ("thermostat1*getMaxMinReport", "thermostat1*getMaxMinReport"),
            ("a+b#c%d?e\\f/g", "a%2Bb%23c%25d%3Fe%5Cf%2Fg"),
            ("m:1;x=(y)@[z] é€😀!\"$&',<>^`{|}~", "m:1;x=(y)@[z] é€😀!\"$&',<>^`{|}~"),
            ("a\0b\u{7f}\u{85}", "a%00b%7F%C2%85"),
        ] {
            assert_eq!(TopicLevel(name).to_string(), level);
            assert_eq!(decode(level).as_deref(), Some(name));
        }
    }

    #[test]
    fn a_property_bag_has_no_tilde() {
        assert_eq!(BagText("a~b c-._").to_string(), "a%7Eb%20c-._");
        assert_eq!(encode("~"), "~");
    }

    #[test]
    fn malformed_escapes_are_refused() {
        for text in ["%", "%2", "%zz", "%+1", "%ff"] {
            assert_eq!(decode(text), None, "{text}");
        }
        assert_eq!(decode("a+b").as_deref(), Some("a+b"));
        assert_eq!(decode("%2f").as_deref(), Some("/"));
    }

    #[test]
    fn lossy_decoding_keeps_what_encodes_nothing() {
        for (text, decoded) in [
            ("a%2fb%2Fc", "a/b/c"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%%41", "%A"),
            ("%2541", "%41"),
            ("%c3%a9", "é"),
            ("é%ff", "é\u{fffd}"),
            ("a+b", "a+b"),
        ] {
            assert_eq!(decode_lossy(text), decoded, "{text}");
        }
    }
}
