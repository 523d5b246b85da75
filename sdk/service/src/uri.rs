//! Paths of the REST API.

use std::fmt::Write as _;

/// Percent-encodes everything but the unreserved characters, so that any id is one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn ids_stay_one_segment() {
        assert_eq!(segment("a-b.c_d~9"), "a-b.c_d~9");
        assert_eq!(segment("a/b?c#d%ü"), "a%2Fb%3Fc%23d%25%C3%BC");
    }
}
