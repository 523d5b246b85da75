//! Globally unique identifiers, as text of 36 characters.

use std::fmt;

use crate::random::random_bytes;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// 128 bits that are written as a GUID: `01234567-89ab-cdef-0123-456789abcdef`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub u128);

impl Guid {
    /// Returns an unguessable GUID from the random generator of the operating system. All bits are random.
    ///
    /// # Panics
    ///
    /// If the generator fails.
    #[must_use]
    pub fn random() -> Self {
        Self(u128::from_be_bytes(random_bytes()))
    }

    /// Returns the same with the marks of version 4 (RFC 9562, 5.4).
    #[must_use]
    pub fn version_4(self) -> Self {
        Self(self.0 & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62))
    }

    /// Parses a GUID, with or without hyphens.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let is_hex = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u128::from_str_radix(&digits, 16).ok().map(Self)).flatten()
    }

    /// Returns the bytes in the order in which .NET stores a GUID: the first three groups are little-endian.
    #[must_use]
    pub fn to_dotnet_bytes(self) -> [u8; 16] {
        let mut bytes = self.0.to_be_bytes();
        let (first, rest) = bytes.split_at_mut(4);
        let (second, rest) = rest.split_at_mut(2);
        let (third, _) = rest.split_at_mut(2);
        for group in [first, second, third] {
            group.reverse();
        }
        bytes
    }

    /// Returns the text.
    #[must_use]
    pub fn encode(self) -> [u8; 36] {
        let mut text = [b'-'; 36];
        let mut bits = self.0;
        for (index, digit) in text.iter_mut().enumerate().rev() {
            if !matches!(index, 8 | 13 | 18 | 23) {
                *digit = DIGITS.get((bits & 0xf) as usize).copied().unwrap_or(b'0');
                bits >>= 4;
            }
        }
        text
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.encode()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_has_five_groups_of_digits() {
        let guid = Guid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(guid.to_string(), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(Guid::parse(&guid.to_string()), Some(guid));
        assert_eq!(Guid::parse("0123456789ABCDEF0123456789abcdef"), Some(guid));
        for text in
            ["", "*", "0123", "+1234567-89ab-cdef-0123-456789abcdef", "é1234567-89ab-cdef-0123-456789abcde"]
        {
            assert_eq!(Guid::parse(text), None, "{text}");
        }
        let dotnet =
            [0x67, 0x45, 0x23, 0x01, 0xab, 0x89, 0xef, 0xcd, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        assert_eq!(guid.to_dotnet_bytes(), dotnet);
        assert_ne!(Guid::random(), Guid::random());
        let marked = Guid::random().version_4().to_string();
        assert_eq!(marked.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&marked.as_bytes()[19]), "{marked}");
    }
}
