//! Names in certificates.

use std::borrow::Cow;

use x509_parser::asn1_rs::Tag;
use x509_parser::prelude::X509Certificate;

use super::CertificateError;

/// Maximum length of a text from a certificate in a message, in characters.
const MAX_SHOWN: usize = 128;

/// Returns the only common name of the subject.
pub(super) fn common_name<'a>(
    certificate: &'a X509Certificate<'_>,
) -> Result<Cow<'a, str>, CertificateError> {
    let mut names = certificate.subject().iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(CertificateError::NoCommonName);
    };
    let value = name.attr_value();
    let text = match value.tag() {
        Tag::BmpString => utf_16(value.data).map(Cow::Owned),
        Tag::UniversalString => utf_32(value.data).map(Cow::Owned),
        // Teletex in theory, Latin-1 in practice. All encodings agree on ASCII, which ids consist of.
        Tag::T61String => str::from_utf8(value.data).ok().filter(|text| text.is_ascii()).map(Cow::Borrowed),
        _ => name.as_str().ok().map(Cow::Borrowed),
    };
    text.ok_or(CertificateError::NoCommonName)
}

fn utf_16(bytes: &[u8]) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
    String::from_utf16(&units).ok().filter(|_| rest.is_empty())
}

fn utf_32(bytes: &[u8]) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<4>();
    let text: Option<String> = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect();
    text.filter(|_| rest.is_empty())
}

/// Returns a text from a certificate for a message: shortened. The messages escape it.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}
