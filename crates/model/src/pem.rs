//! Certificates and private keys in files: PEM in the forms that tools and editors produce, and DER.
//!
//! A file that does not contain what it should is refused with a sentence that says what it is and how to convert it.
//! Certificates and keys are not parsed here.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Maximum size of a file in bytes. The certificate authorities that a system trusts have a quarter of it.
pub const MAX_SIZE: usize = 1024 * 1024;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a file does not contain what it should. "It" is the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// There are no bytes.
    #[error("it is empty")]
    Empty,
    /// There are more than [`MAX_SIZE`] bytes.
    #[error("it is larger than 1 MiB")]
    TooLarge,
    /// A server returned a page instead of the file.
    #[error("it is a web page")]
    WebPage,
    /// There is no PEM in it.
    #[error("there is no PEM in it: it has no line \"-----BEGIN {0}-----\"")]
    NotPem(&'static str),
    /// The end is missing.
    #[error("its {label} number {number} is cut off: it has no line \"-----END {label}-----\"")]
    Truncated {
        /// The label.
        label: String,
        /// The number in the file, from 1.
        number: usize,
    },
    /// The content is not base64.
    #[error("its {label} number {number} is damaged: it is not base64")]
    Base64 {
        /// The label.
        label: String,
        /// The number in the file, from 1.
        number: usize,
    },
    /// OpenSSL's own form, which may also say what a certificate must not be used for.
    #[error(
        "it is in OpenSSL's own form (TRUSTED CERTIFICATE); convert it: openssl x509 -in FILE -out NEW.pem"
    )]
    TrustedCertificate,
    /// A PKCS#7 bundle.
    #[error("it is a PKCS#7 bundle; convert it: openssl pkcs7 -in FILE -print_certs -out NEW.pem")]
    Pkcs7,
    /// A PKCS#7 bundle as DER.
    #[error(
        "it is a PKCS#7 bundle; convert it: openssl pkcs7 -inform DER -in FILE -print_certs -out NEW.pem"
    )]
    Pkcs7Der,
    /// A PKCS#12 file, instead of certificates.
    #[error("it is a PKCS#12 file (.pfx, .p12); convert it: openssl pkcs12 -in FILE -nokeys -out NEW.pem")]
    Pkcs12,
    /// A PKCS#12 file, instead of a key.
    #[error(
        "it is a PKCS#12 file (.pfx, .p12); convert it: openssl pkcs12 -in FILE -nocerts -nodes -out NEW.key"
    )]
    Pkcs12Key,
    /// A request for a certificate.
    #[error("it is a request for a certificate, not a certificate: let an authority sign it")]
    Request,
    /// A private key, instead of certificates.
    #[error("it is a private key, not a certificate")]
    IsKey,
    /// Something else, instead of certificates.
    #[error("it contains {0}, not a certificate")]
    NotCertificate(String),
    /// Certificates, instead of a key.
    #[error("it is a certificate, not a private key")]
    IsCertificate,
    /// The key is encrypted.
    #[error(
        "the key is encrypted with a passphrase, which cannot be entered here; decrypt it: openssl pkey -in FILE -out NEW.key"
    )]
    EncryptedKey,
    /// OpenSSH's own form.
    #[error("it is an OpenSSH key; convert it: ssh-keygen -p -m PKCS8 -f FILE")]
    OpenSshKey,
    /// A DSA key.
    #[error("it is a DSA key, which TLS no longer supports; use a key of P-256 or RSA of 2048 bits")]
    DsaKey,
    /// Something else, instead of a key.
    #[error("it contains {0}, not a private key")]
    NotKey(String),
}

/// Returns the DER of every certificate in `bytes`: PEM, or the DER of one. Text and keys beside them are skipped.
///
/// # Errors
/// If there is none, or one that cannot be read.
pub fn certificates(bytes: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    let text = match content(bytes)? {
        Content::Der(DerKind::Certificate) => return Ok(vec![bytes.to_vec()]),
        Content::Der(DerKind::Pkcs7) => return Err(PemError::Pkcs7Der),
        Content::Der(DerKind::Pkcs12) => return Err(PemError::Pkcs12),
        Content::Der(DerKind::Key | DerKind::EncryptedKey) => return Err(PemError::IsKey),
        Content::Text(text) => text,
    };
    let mut found = Vec::new();
    let mut other = None;
    for block in Blocks::of(&text) {
        let block = block?;
        match block.label {
            "CERTIFICATE" | "X509 CERTIFICATE" | "X.509 CERTIFICATE" => found.push(block.decode()?),
            // They contain certificates, which must not be skipped silently.
            "TRUSTED CERTIFICATE" => return Err(PemError::TrustedCertificate),
            "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => return Err(PemError::Pkcs7),
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => other = other.or(Some(PemError::Request)),
            label if label.ends_with("PRIVATE KEY") => other = other.or(Some(PemError::IsKey)),
            label => other = other.or_else(|| Some(PemError::NotCertificate(shown(label)))),
        }
    }
    match other {
        _ if !found.is_empty() => Ok(found),
        Some(error) => Err(error),
        None => Err(no_pem(&text, "CERTIFICATE")),
    }
}

/// Returns the DER of the first private key in `bytes` (PKCS#8, PKCS#1 or SEC1): PEM or DER. Certificates beside it are
/// skipped.
///
/// # Errors
/// If there is none, or it is encrypted or cannot be read.
pub fn private_key(bytes: &[u8]) -> Result<Vec<u8>, PemError> {
    let text = match content(bytes)? {
        Content::Der(DerKind::Key) => return Ok(bytes.to_vec()),
        Content::Der(DerKind::EncryptedKey) => return Err(PemError::EncryptedKey),
        Content::Der(DerKind::Certificate) => return Err(PemError::IsCertificate),
        Content::Der(DerKind::Pkcs7) => return Err(PemError::Pkcs7Der),
        Content::Der(DerKind::Pkcs12) => return Err(PemError::Pkcs12Key),
        Content::Text(text) => text,
    };
    let mut other = None;
    for block in Blocks::of(&text) {
        let block = block?;
        match block.label {
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" if block.encrypted => {
                return Err(PemError::EncryptedKey);
            }
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => return block.decode(),
            "ENCRYPTED PRIVATE KEY" => return Err(PemError::EncryptedKey),
            "OPENSSH PRIVATE KEY" => return Err(PemError::OpenSshKey),
            "DSA PRIVATE KEY" => return Err(PemError::DsaKey),
            // OpenSSL writes them before an EC key.
            "EC PARAMETERS" => {}
            label if label.ends_with("CERTIFICATE") => other = other.or(Some(PemError::IsCertificate)),
            label => other = other.or_else(|| Some(PemError::NotKey(shown(label)))),
        }
    }
    Err(other.unwrap_or_else(|| no_pem(&text, "PRIVATE KEY")))
}

/// Returns certificates as PEM.
#[must_use]
pub fn encode_certificates(certificates: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for der in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let base64 = BASE64.encode(der);
        let mut rest = base64.as_str();
        while !rest.is_empty() {
            let (line, next) = rest.split_at(rest.len().min(64));
            text.push_str(line);
            text.push('\n');
            rest = next;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

enum Content<'a> {
    Text(Cow<'a, str>),
    Der(DerKind),
}

#[derive(Clone, Copy)]
enum DerKind {
    Certificate,
    Key,
    EncryptedKey,
    Pkcs7,
    Pkcs12,
}

fn content(bytes: &[u8]) -> Result<Content<'_>, PemError> {
    if bytes.is_empty() {
        return Err(PemError::Empty);
    }
    if bytes.len() > MAX_SIZE {
        return Err(PemError::TooLarge);
    }
    if let Some(kind) = der_kind(bytes) {
        return Ok(Content::Der(kind));
    }
    // Windows PowerShell writes UTF-16 with `>`, many editors a byte order mark.
    Ok(Content::Text(match bytes {
        [0xef, 0xbb, 0xbf, text @ ..] => String::from_utf8_lossy(text),
        [0xff, 0xfe, text @ ..] => utf_16(text, u16::from_le_bytes),
        [0xfe, 0xff, text @ ..] => utf_16(text, u16::from_be_bytes),
        text => String::from_utf8_lossy(text),
    }))
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Cow<'static, str> {
    let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|bytes| unit(*bytes)).collect();
    Cow::Owned(String::from_utf16_lossy(&units))
}

/// Recognises DER by its outer SEQUENCE, which must have the length of the file, and the elements that follow.
fn der_kind(bytes: &[u8]) -> Option<DerKind> {
    let content = sequence(bytes)?;
    Some(match content {
        // The version of PKCS#12.
        [0x02, 0x01, 0x03, ..] => DerKind::Pkcs12,
        // The version of a key.
        [0x02, ..] => DerKind::Key,
        // The content type of PKCS#7.
        [0x06, ..] => DerKind::Pkcs7,
        // An encrypted key begins with the identifier of its encryption.
        [0x30, length, rest @ ..] => {
            let header = if *length < 0x80 { 0 } else { usize::from(length & 0x7f) };
            match rest.get(header) {
                Some(0x06) => DerKind::EncryptedKey,
                _ => DerKind::Certificate,
            }
        }
        _ => return None,
    })
}

/// Returns the content of a SEQUENCE that fills `bytes`.
fn sequence(bytes: &[u8]) -> Option<&[u8]> {
    let [0x30, length, rest @ ..] = bytes else { return None };
    let (length, content) = match length {
        short @ 0..=0x7f => (usize::from(*short), rest),
        long @ 0x81..=0x84 => {
            let (length, content) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), content)
        }
        _ => return None,
    };
    (content.len() == length).then_some(content)
}

fn no_pem(text: &str, label: &'static str) -> PemError {
    match text.trim_start() {
        "" => PemError::Empty,
        text if text.starts_with('<') => PemError::WebPage,
        _ => PemError::NotPem(label),
    }
}

/// Returns a label for a message.
fn shown(label: &str) -> String {
    label.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(40).collect()
}

/// The PEM blocks of a text.
struct Blocks<'a> {
    rest: &'a str,
    number: usize,
}

struct Block<'a> {
    label: &'a str,
    /// Base64, with white space.
    body: &'a str,
    /// Whether a header says that the content is encrypted.
    encrypted: bool,
    number: usize,
}

impl<'a> Blocks<'a> {
    fn of(text: &'a str) -> Self {
        Self { rest: text, number: 0 }
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Result<Block<'a>, PemError>;

    fn next(&mut self) -> Option<Self::Item> {
        const BEGIN: &str = "-----BEGIN ";
        let (_, rest) = self.rest.split_once(BEGIN)?;
        let (label, rest) = rest.split_once("-----")?;
        self.number += 1;
        let truncated = || PemError::Truncated { label: shown(label), number: self.number };
        let Some((body, rest)) = rest.split_once("-----END ").filter(|(body, _)| !body.contains(BEGIN))
        else {
            self.rest = "";
            return Some(Err(truncated()));
        };
        let Some((_, rest)) = rest.split_once("-----") else {
            self.rest = "";
            return Some(Err(truncated()));
        };
        self.rest = rest;
        let encrypted = body.lines().any(|line| line.contains(':') && line.contains("ENCRYPTED"));
        Some(Ok(Block { label, body, encrypted, number: self.number }))
    }
}

impl Block<'_> {
    fn decode(&self) -> Result<Vec<u8>, PemError> {
        let base64: String = self
            .body
            .split(['\r', '\n'])
            // Headers such as `X-Name: value`.
            .filter(|line| !line.contains(':'))
            .flat_map(str::chars)
            .filter(|c| !c.is_whitespace())
            .collect();
        let damaged = || PemError::Base64 { label: shown(self.label), number: self.number };
        let der = BASE64.decode(base64).map_err(|_| damaged())?;
        if der.is_empty() { Err(damaged()) } else { Ok(der) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DER: [u8; 100] = {
        let mut der = [7; 100];
        (der[0], der[1], der[2], der[3]) = (0x30, 98, 0x30, 96);
        der
    };

    fn block(label: &str, der: &[u8]) -> String {
        encode_certificates(&[der.to_vec()]).replace("CERTIFICATE", label)
    }

    fn utf_16_of(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
    }

    #[test]
    fn certificates_are_read_in_every_form() {
        let pem = block("CERTIFICATE", &DER);
        let two = format!("{pem}{pem}");
        let other = block("PRIVATE KEY", &DER);
        let indented: String = two.lines().map(|line| format!("    {line}  \n")).collect();
        for (form, bytes) in [
            ("PEM", two.clone().into_bytes()),
            ("CRLF", two.replace('\n', "\r\n").into_bytes()),
            ("CR", two.replace('\n', "\r").into_bytes()),
            ("byte order mark", format!("\u{feff}{two}").into_bytes()),
            ("UTF-16LE", utf_16_of(&two, u16::to_le_bytes)),
            ("UTF-16BE", utf_16_of(&two, u16::to_be_bytes)),
            ("indented", indented.into_bytes()),
            ("one line", two.replace('\n', " ").into_bytes()),
            ("no padding", two.replace("=\n", "\n").replace("=\n", "\n").into_bytes()),
            ("old labels", two.replace("CERTIFICATE", "X509 CERTIFICATE").into_bytes()),
            ("text", [b"subject=\xe9 \n", pem.as_bytes(), b"# the second\n", pem.as_bytes()].concat()),
            ("a key beside it", format!("{pem}{other}{pem}").into_bytes()),
            ("a request beside it", format!("{}{two}", block("CERTIFICATE REQUEST", &DER)).into_bytes()),
            ("headers", two.replace("E-----\nM", "E-----\nX-Name: value\n\nM").into_bytes()),
        ] {
            assert_eq!(certificates(&bytes), Ok(vec![DER.to_vec(), DER.to_vec()]), "{form}");
        }
        assert_eq!(certificates(&DER), Ok(vec![DER.to_vec()]));
    }

    #[test]
    fn what_is_no_certificate_is_named() {
        let pem = block("CERTIFICATE", &DER);
        let is = |bytes: &[u8]| certificates(bytes).unwrap_err();
        assert_eq!(is(b""), PemError::Empty);
        assert_eq!(is(b" \n"), PemError::Empty);
        assert_eq!(is(b"<!DOCTYPE html>"), PemError::WebPage);
        assert_eq!(is(b"/etc/ca.pem"), PemError::NotPem("CERTIFICATE"));
        assert_eq!(is(&vec![b' '; MAX_SIZE + 1]), PemError::TooLarge);
        for (label, error) in [
            ("TRUSTED CERTIFICATE", PemError::TrustedCertificate),
            ("PKCS7", PemError::Pkcs7),
            ("CERTIFICATE REQUEST", PemError::Request),
            ("NEW CERTIFICATE REQUEST", PemError::Request),
            ("PRIVATE KEY", PemError::IsKey),
            ("ENCRYPTED PRIVATE KEY", PemError::IsKey),
            ("X509 CRL", PemError::NotCertificate("X509 CRL".into())),
        ] {
            assert_eq!(is(block(label, &DER).as_bytes()), error, "{label}");
        }
        assert_eq!(
            is(format!("{pem}{}", block("TRUSTED CERTIFICATE", &DER)).as_bytes()),
            PemError::TrustedCertificate
        );
        let number = |number| (String::from("CERTIFICATE"), number);
        let (label, second) = number(2);
        for cut in [
            format!("{pem}{}", &pem[..pem.len() / 2]),
            format!("{pem}{}{pem}", pem.replace("-----END CERTIFICATE-----\n", "")),
            format!("{pem}{}", pem.trim_end().trim_end_matches('-')),
        ] {
            assert_eq!(is(cut.as_bytes()), PemError::Truncated { label: label.clone(), number: second });
        }
        let damaged = format!("{pem}{}", pem.replacen("MG", "M*", 1));
        assert_eq!(is(damaged.as_bytes()), PemError::Base64 { label, number: second });
        assert_eq!(is(&[0x30, 3, 2, 1, 3]), PemError::Pkcs12);
        assert_eq!(is(&[0x30, 3, 2, 1, 0]), PemError::IsKey);
        assert_eq!(is(&[0x30, 3, 6, 1, 42]), PemError::Pkcs7Der);
    }

    #[test]
    fn keys_are_read_or_named() {
        let key = |label| block(label, &DER);
        for text in [
            key("PRIVATE KEY"),
            key("EC PRIVATE KEY"),
            key("RSA PRIVATE KEY"),
            format!("{}{}", key("EC PARAMETERS"), key("EC PRIVATE KEY")),
            format!("{}{}", key("CERTIFICATE"), key("PRIVATE KEY")),
            format!("\u{feff}{}", key("PRIVATE KEY").replace('\n', "\r\n")),
        ] {
            assert_eq!(private_key(text.as_bytes()), Ok(DER.to_vec()), "{text}");
        }
        assert_eq!(private_key(&[0x30, 3, 2, 1, 0]), Ok(vec![0x30, 3, 2, 1, 0]));
        let is = |text: &str| private_key(text.as_bytes()).unwrap_err();
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n\
                   -----END RSA PRIVATE KEY-----\n";
        assert_eq!(is(old), PemError::EncryptedKey);
        assert_eq!(is(&key("ENCRYPTED PRIVATE KEY")), PemError::EncryptedKey);
        assert_eq!(private_key(&[0x30, 5, 0x30, 3, 6, 1, 42]), Err(PemError::EncryptedKey));
        assert_eq!(is(&key("OPENSSH PRIVATE KEY")), PemError::OpenSshKey);
        assert_eq!(is(&key("DSA PRIVATE KEY")), PemError::DsaKey);
        assert_eq!(is(&key("CERTIFICATE")), PemError::IsCertificate);
        assert_eq!(is(&key("PUBLIC KEY")), PemError::NotKey("PUBLIC KEY".into()));
        assert_eq!(is("secret"), PemError::NotPem("PRIVATE KEY"));
        assert_eq!(private_key(&DER), Err(PemError::IsCertificate));
        assert_eq!(private_key(&[0x30, 3, 2, 1, 3]), Err(PemError::Pkcs12Key));
    }
}
