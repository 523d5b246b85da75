//! Service SAS for one blob, as Azure Storage defines it (version 2020-12-06): a query that grants its holder some
//! rights to one blob until it expires.
//!
//! Devices get such a query as the `sasToken` of an upload. The hub signs it with the key of a storage account, or with
//! its own key if it stores the files itself. In the second case, the hub also verifies the queries of clients. The
//! signature covers everything that is granted: rights, expiry, account, container, blob and protocol. The hub refuses
//! fields that it never writes, such as a start time or other response headers.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::key::SharedAccessKey;
use crate::percent;
use crate::timestamp::Timestamp;

/// The version of the string to sign. Newer versions differ only in fields that the hub never writes.
pub const SAS_VERSION: &str = "2020-12-06";
/// Longest accepted query in bytes.
pub const MAX_QUERY_LENGTH: usize = 4096;

/// The blob that a signature is valid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobAddress<'a> {
    /// The storage account.
    pub account: &'a str,
    /// The container in the account.
    pub container: &'a str,
    /// The name of the blob in the container, not percent-encoded.
    pub blob: &'a str,
}

/// A right to a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobRight {
    /// Read the blob and its properties.
    Read,
    /// Write a blob that does not exist yet.
    Create,
    /// Write a blob, whether it exists or not.
    Write,
    /// Delete the blob.
    Delete,
    /// List the blobs of a container. Only the signature of a container grants it.
    List,
}

/// What a signature is valid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    Blob,
    /// Every blob of the container.
    Container,
}

impl Resource {
    fn letter(self) -> &'static str {
        match self {
            Self::Blob => "b",
            Self::Container => "c",
        }
    }
}

impl BlobRight {
    /// All rights with their letters, in the order of a token.
    const ALL: [(Self, char); 5] =
        [(Self::Read, 'r'), (Self::Create, 'c'), (Self::Write, 'w'), (Self::Delete, 'd'), (Self::List, 'l')];

    fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Create => 2,
            Self::Write => 4,
            Self::Delete => 8,
            Self::List => 16,
        }
    }
}

/// A set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlobRights(u8);

impl BlobRights {
    /// Returns the set of exactly these rights.
    #[must_use]
    pub fn of(rights: &[BlobRight]) -> Self {
        Self(rights.iter().fold(0, |bits, right| bits | right.bit()))
    }

    /// Returns whether `right` is in the set.
    #[must_use]
    pub fn contains(self, right: BlobRight) -> bool {
        self.0 & right.bit() != 0
    }

    /// Parses the letters; `None` if there are none, or one is unknown, duplicated or out of order.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut order = BlobRight::ALL.iter();
        let mut bits = 0;
        for letter in text.chars() {
            let (right, _) = order.find(|(_, known)| *known == letter)?;
            bits |= right.bit();
        }
        (bits != 0).then_some(Self(bits))
    }
}

impl fmt::Display for BlobRights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let granted = BlobRight::ALL.iter().filter(|(right, _)| self.contains(*right));
        granted.map(|(_, letter)| letter).try_for_each(|letter| write!(f, "{letter}"))
    }
}

/// Returns a signed query for `blob`, valid until `expiry` (in whole seconds), including the question mark.
#[must_use]
pub fn sign(
    blob: BlobAddress<'_>,
    rights: BlobRights,
    expiry: Timestamp,
    https_only: bool,
    key: &SharedAccessKey,
) -> String {
    signed_query(Resource::Blob, blob, rights, expiry, https_only, key)
}

/// Returns a signed query for all blobs of a container, like [`sign`].
#[must_use]
pub fn sign_container(
    account: &str,
    container: &str,
    rights: BlobRights,
    expiry: Timestamp,
    https_only: bool,
    key: &SharedAccessKey,
) -> String {
    let address = BlobAddress { account, container, blob: "" };
    signed_query(Resource::Container, address, rights, expiry, https_only, key)
}

fn signed_query(
    resource: Resource,
    blob: BlobAddress<'_>,
    rights: BlobRights,
    expiry: Timestamp,
    https_only: bool,
    key: &SharedAccessKey,
) -> String {
    let (rights, expiry) = (rights.to_string(), expiry_text(expiry));
    let protocol = if https_only { "https" } else { "" };
    let signed = string_to_sign(resource, blob, &rights, &expiry, protocol);
    let signature = STANDARD.encode(key.sign(signed.as_bytes()));
    let letter = resource.letter();
    let mut query = format!("?sv={SAS_VERSION}&sr={letter}&sp={rights}&se={}", percent::Encoded(&expiry));
    if https_only {
        query.push_str("&spr=https");
    }
    query.push_str("&sig=");
    percent::encode_into(&signature, &mut query);
    query
}

fn expiry_text(expiry: Timestamp) -> String {
    Timestamp::from_unix_seconds(expiry.unix_seconds()).to_string()
}

fn string_to_sign(
    resource: Resource,
    blob: BlobAddress<'_>,
    rights: &str,
    expiry: &str,
    protocol: &str,
) -> String {
    let BlobAddress { account, container, blob } = blob;
    let blob = match resource {
        Resource::Blob => format!("/{blob}"),
        Resource::Container => String::new(),
    };
    let letter = resource.letter();
    // Empty lines: start; identifier, address; snapshot, encryption scope, five response headers.
    format!(
        "{rights}\n\n{expiry}\n/blob/{account}/{container}{blob}\n\n\n{protocol}\n{SAS_VERSION}\n{letter}\n\n\n\n\n\n\n"
    )
}

/// Why a query is not a valid signature. Never contains the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlobSasError {
    /// Longer than [`MAX_QUERY_LENGTH`].
    #[error("the query is longer than {MAX_QUERY_LENGTH} bytes")]
    TooLong,
    /// A required field is missing.
    #[error("the signature lacks the field {0}")]
    Missing(&'static str),
    /// A field occurs twice.
    #[error("the signature has the field {0} twice")]
    Duplicate(&'static str),
    /// A field is malformed, or has a value that the hub never writes.
    #[error("the signature's field {0} is not valid")]
    Malformed(&'static str),
    /// A field of a kind of signature that the hub does not support.
    #[error("this kind of shared access signature is not supported")]
    Unsupported,
}

/// Fields of other kinds of signatures. They are refused, because ignoring a restriction would grant more than was
/// signed.
const UNSUPPORTED_FIELDS: [&str; 24] = [
    "st", "sip", "si", "ss", "srt", "ses", "sdd", "skoid", "sktid", "skt", "ske", "sks", "skv", "skdutid",
    "sduoid", "saoid", "suoid", "scid", "srh", "srq", "rscc", "rscd", "rsce", "rsct",
];

/// A parsed query of a client. Do not trust its fields before [`BlobSasToken::is_signed_by`] has returned true.
#[derive(Clone, PartialEq, Eq)]
pub struct BlobSasToken {
    resource: Resource,
    rights: BlobRights,
    rights_text: String,
    expiry: Timestamp,
    expiry_text: String,
    protocol: &'static str,
    signature: Vec<u8>,
}

impl BlobSasToken {
    /// Parses the signature's fields in a query (without the question mark); ignores all other fields.
    pub fn parse(query: &str) -> Result<Self, BlobSasError> {
        if query.len() > MAX_QUERY_LENGTH {
            return Err(BlobSasError::TooLong);
        }
        let [mut sv, mut sr, mut sp, mut se, mut spr, mut sig] = [const { None::<String> }; 6];
        for part in query.split('&') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (slot, name) = match name {
                "sv" => (&mut sv, "sv"),
                "sr" => (&mut sr, "sr"),
                "sp" => (&mut sp, "sp"),
                "se" => (&mut se, "se"),
                "spr" => (&mut spr, "spr"),
                "sig" => (&mut sig, "sig"),
                name if UNSUPPORTED_FIELDS.contains(&name) || name == "rscl" => {
                    return Err(BlobSasError::Unsupported);
                }
                _ => continue,
            };
            let value = percent::decode(value).ok_or(BlobSasError::Malformed(name))?;
            if slot.replace(value).is_some() {
                return Err(BlobSasError::Duplicate(name));
            }
        }
        let signature = sig.ok_or(BlobSasError::Missing("sig"))?;
        let signature = STANDARD.decode(signature).map_err(|_| BlobSasError::Malformed("sig"))?;
        if sv.ok_or(BlobSasError::Missing("sv"))? != SAS_VERSION {
            return Err(BlobSasError::Malformed("sv"));
        }
        let resource = match sr.ok_or(BlobSasError::Missing("sr"))?.as_str() {
            "b" => Resource::Blob,
            "c" => Resource::Container,
            _ => return Err(BlobSasError::Malformed("sr")),
        };
        let rights_text = sp.ok_or(BlobSasError::Missing("sp"))?;
        let rights = BlobRights::parse(&rights_text).ok_or(BlobSasError::Malformed("sp"))?;
        if resource == Resource::Blob && rights.contains(BlobRight::List) {
            return Err(BlobSasError::Malformed("sp"));
        }
        let expiry_text = se.ok_or(BlobSasError::Missing("se"))?;
        let expiry = Timestamp::parse(&expiry_text).ok_or(BlobSasError::Malformed("se"))?;
        let protocol = match spr.as_deref() {
            None => "",
            Some("https") => "https",
            Some(_) => return Err(BlobSasError::Malformed("spr")),
        };
        Ok(Self { resource, rights, rights_text, expiry, expiry_text, protocol, signature })
    }

    /// Returns whether a query contains a signature.
    #[must_use]
    pub fn is_present(query: &str) -> bool {
        query.split('&').any(|part| part.starts_with("sig="))
    }

    /// Returns whether `key` signed this query for `blob`. Takes constant time for a given query.
    #[must_use]
    pub fn is_signed_by(&self, key: &SharedAccessKey, blob: BlobAddress<'_>) -> bool {
        let text = string_to_sign(self.resource, blob, &self.rights_text, &self.expiry_text, self.protocol);
        key.verify(text.as_bytes(), &self.signature)
    }

    /// Returns whether the query is for every blob of a container. The name in the address of its blob then has no
    /// effect on [`BlobSasToken::is_signed_by`].
    #[must_use]
    pub fn is_for_container(&self) -> bool {
        self.resource == Resource::Container
    }

    /// Returns the expiry time.
    #[must_use]
    pub fn expiry(&self) -> Timestamp {
        self.expiry
    }

    /// Returns the granted rights.
    #[must_use]
    pub fn rights(&self) -> BlobRights {
        self.rights
    }
}

impl fmt::Debug for BlobSasToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobSasToken")
            .field("rights", &self.rights_text)
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: BlobAddress<'_> = BlobAddress { account: "a", container: "c", blob: "d 1/f.txt" };

    fn key() -> SharedAccessKey {
        SharedAccessKey::from_bytes(&[7; 64]).unwrap()
    }

    fn signed() -> String {
        let rights = BlobRights::of(&[BlobRight::Write, BlobRight::Read, BlobRight::Create]);
        sign(BLOB, rights, Timestamp::from_unix_millis(1_800_000_000_999), true, &key())
    }

    fn parse(query: &str) -> Result<BlobSasToken, BlobSasError> {
        BlobSasToken::parse(query.trim_start_matches('?'))
    }

    #[test]
    fn a_signed_query_is_parsed_and_verified() {
        let sas = parse(&signed()).unwrap();
        assert!(sas.is_signed_by(&key(), BLOB));
        assert_eq!(sas.expiry(), Timestamp::from_unix_seconds(1_800_000_000));
        assert_eq!(sas.rights().to_string(), "rcw");
        assert!(!sas.rights().contains(BlobRight::Delete));
        // Clients add fields of their own, and do not keep the order.
        let mut fields: Vec<String> =
            signed().trim_start_matches('?').split('&').map(str::to_owned).collect();
        fields.reverse();
        let query = format!("comp=block&{}&blockid=AA%3D%3D", fields.join("&"));
        assert!(parse(&query).unwrap().is_signed_by(&key(), BLOB));
    }

    #[test]
    fn the_signature_of_a_container_is_for_each_of_its_blobs_and_no_other() {
        let rights = BlobRights::of(&[BlobRight::Read, BlobRight::List]);
        let until = Timestamp::from_unix_seconds(1_800_000_000);
        let query = sign_container("a", "c", rights, until, true, &key());
        let sas = parse(&query).unwrap();
        assert!(sas.is_for_container() && sas.rights().contains(BlobRight::List), "{query}");
        assert!(
            sas.is_signed_by(&key(), BLOB) && sas.is_signed_by(&key(), BlobAddress { blob: "x", ..BLOB })
        );
        assert!(!sas.is_signed_by(&key(), BlobAddress { container: "d", ..BLOB }));
        let as_blob = parse(&query.replace("sr=c", "sr=b").replace("sp=rl", "sp=r")).unwrap();
        assert!(!as_blob.is_signed_by(&key(), BLOB));
        let as_container = parse(&signed().replace("sr=b", "sr=c")).unwrap();
        assert!(!as_container.is_signed_by(&key(), BLOB));
    }

    #[test]
    fn a_changed_grant_does_not_verify() {
        let query = signed();
        for (from, to) in [
            ("sp=rcw", "sp=rcwd"),
            ("sp=rcw", "sp=r"),
            ("2027-01-15", "2028-01-15"),
            ("&spr=https", ""),
            ("08%3A00%3A00Z", "08%3A00%3A01Z"),
        ] {
            let changed = query.replace(from, to);
            assert_ne!(changed, query, "{from}");
            assert!(!parse(&changed).unwrap().is_signed_by(&key(), BLOB), "{to}");
        }
        let sas = parse(&query).unwrap();
        for other in [
            BlobAddress { account: "b", ..BLOB },
            BlobAddress { container: "d", ..BLOB },
            BlobAddress { blob: "d 1/f.tx", ..BLOB },
            // Text that moves from one component to another.
            BlobAddress { account: "a/c", container: "d 1", blob: "f.txt\n" },
        ] {
            assert!(!sas.is_signed_by(&key(), other), "{other:?}");
        }
        assert!(!sas.is_signed_by(&SharedAccessKey::from_bytes(&[8; 64]).unwrap(), BLOB));
    }

    #[test]
    fn fields_and_values_that_the_hub_never_writes_are_refused() {
        let query = signed();
        for (changed, error) in [
            (query.replace("sv=2020-12-06", "sv=2018-03-28"), BlobSasError::Malformed("sv")),
            (query.replace("sr=b", "sr=d"), BlobSasError::Malformed("sr")),
            (query.replace("sp=rcw", "sp=rcwl"), BlobSasError::Malformed("sp")),
            (query.replace("sp=rcw", "sp=wcr"), BlobSasError::Malformed("sp")),
            (query.replace("sp=rcw", "sp="), BlobSasError::Malformed("sp")),
            (query.replace("sp=rcw&", ""), BlobSasError::Missing("sp")),
            (query.replace("spr=https", "spr=https,http"), BlobSasError::Malformed("spr")),
            (format!("{query}&sp=rcwd"), BlobSasError::Duplicate("sp")),
            (format!("{query}&st=2020-01-01"), BlobSasError::Unsupported),
            (format!("{query}&rscl=x"), BlobSasError::Unsupported),
            (query.replace("sig=", "sig=%"), BlobSasError::Malformed("sig")),
            ("comp=block".to_owned(), BlobSasError::Missing("sig")),
            ("a".repeat(MAX_QUERY_LENGTH + 1), BlobSasError::TooLong),
        ] {
            assert_eq!(parse(&changed).unwrap_err(), error, "{changed}");
        }
    }
}
