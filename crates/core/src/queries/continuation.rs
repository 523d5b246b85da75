//! Continuation tokens: where the next page of a query begins, signed by the hub.
//!
//! A token is base64url of its content and a MAC over the content and the text of the query. So the hub accepts it only
//! with the query that it was made for, and nobody else can make one. It grants no right: the caller needs the same right
//! for each page. The content is plain: a version, the kind of the position, the number of rows before the page, and the id
//! of the row before it.

use data_encoding::BASE64URL_NOPAD;
use ferrohub_model::{IdentityId, SharedAccessKey};

use super::Position;

/// The first byte of every token.
const VERSION: u8 = 1;
/// The second byte: a page after the row of an identity.
const AFTER: u8 = 0;
/// The second byte: a page after a number of rows.
const ROW: u8 = 1;
/// The second byte: a page after the row of a job. The number of the job is before the id.
const AFTER_JOB: u8 = 2;
/// Length of the content before the id.
const FIXED: usize = 10;
/// Length of the MAC.
const MAC: usize = 32;
/// Maximum length of a token. The ids have at most 257 characters.
const MAX_LENGTH: usize = 512;
/// Tells these MACs from others with the same key.
const PURPOSE: &[u8] = b"ferrohub query continuation";

/// Where the next page of a query begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Continuation {
    pub(super) position: Position,
    /// Number of rows in all pages before.
    pub(super) returned: u64,
}

impl Continuation {
    /// Returns the token for a query, written in the normal form.
    pub(super) fn to_token(&self, query: &str, key: &SharedAccessKey) -> String {
        let (kind, job, id) = match &self.position {
            Position::After(id) => (AFTER, None, id.as_str()),
            Position::AfterJob { number, id } => (AFTER_JOB, Some(*number), id.as_str()),
            // All rows before were returned.
            Position::Row(_) => (ROW, None, ""),
        };
        let mut bytes = vec![VERSION, kind];
        bytes.extend_from_slice(&self.returned.to_be_bytes());
        bytes.extend(job.iter().flat_map(|number| number.to_be_bytes()));
        bytes.extend_from_slice(id.as_bytes());
        let mac = key.sign(&signed(&bytes, query));
        bytes.extend_from_slice(&mac);
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Returns the content of a token; `None` if it was not made for this query.
    pub(super) fn from_token(token: &str, query: &str, key: &SharedAccessKey) -> Option<Self> {
        if token.len() > MAX_LENGTH {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(token.trim_end_matches('=').as_bytes()).ok()?;
        let (content, mac) = bytes.split_last_chunk::<MAC>()?;
        if !key.verify(&signed(content, query), mac) {
            return None;
        }
        let (fixed, id) = content.split_first_chunk::<FIXED>()?;
        let [version, kind, returned @ ..] = *fixed;
        let returned = u64::from_be_bytes(returned);
        let parse = |id: &[u8]| IdentityId::parse(std::str::from_utf8(id).ok()?).ok();
        let position = match (version, kind) {
            (VERSION, AFTER) => Position::After(parse(id)?),
            (VERSION, AFTER_JOB) => {
                let (number, id) = id.split_first_chunk()?;
                Position::AfterJob { number: u64::from_be_bytes(*number), id: parse(id)? }
            }
            (VERSION, ROW) => Position::Row(returned),
            _ => return None,
        };
        Some(Self { position, returned })
    }
}

/// Returns what is signed. The length of the content separates it from the query.
fn signed(content: &[u8], query: &str) -> Vec<u8> {
    [PURPOSE, &(content.len() as u64).to_be_bytes(), content, query.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &str = "SELECT * FROM devices";

    fn after(id: &str) -> Continuation {
        Continuation { position: Position::After(IdentityId::parse(id).unwrap()), returned: 7 }
    }

    #[test]
    fn a_token_gives_its_position_back() {
        let key = SharedAccessKey::generate();
        let longest = format!("{}/{}", "d".repeat(128), "m".repeat(128));
        let row = Continuation { position: Position::Row(1 << 40), returned: 1 << 40 };
        let position = Position::AfterJob { number: 1 << 50, id: IdentityId::parse(&longest).unwrap() };
        let job = Continuation { position, returned: 3 };
        for continuation in [after("d"), after("d/m"), after(&longest), row, job] {
            let token = continuation.to_token(QUERY, &key);
            assert!(token.len() <= MAX_LENGTH, "{}", token.len());
            assert_eq!(Continuation::from_token(&token, QUERY, &key), Some(continuation));
        }
    }

    #[test]
    fn a_token_of_another_query_or_key_or_with_any_other_byte_is_refused() {
        let key = SharedAccessKey::generate();
        let token = after("d").to_token(QUERY, &key);
        assert_eq!(Continuation::from_token(&token, "SELECT * FROM devices.modules", &key), None);
        assert_eq!(Continuation::from_token(&token, QUERY, &SharedAccessKey::generate()), None);
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).unwrap();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let changed = BASE64URL_NOPAD.encode(&changed);
            assert_eq!(Continuation::from_token(&changed, QUERY, &key), None, "byte {index}");
            assert_eq!(Continuation::from_token(&token[..index], QUERY, &key), None);
        }
        for odd in ["", "=", "!", "AQ", &"A".repeat(513), &"A".repeat(100)] {
            assert_eq!(Continuation::from_token(odd, QUERY, &key), None, "{odd}");
        }
    }

    #[test]
    fn the_end_of_the_content_cannot_move_into_the_query() {
        let key = SharedAccessKey::generate();
        let token = after("d").to_token("eSELECT", &key);
        let mut bytes = BASE64URL_NOPAD.decode(token.as_bytes()).unwrap();
        bytes.insert(FIXED + 1, b'e');
        assert_eq!(Continuation::from_token(&BASE64URL_NOPAD.encode(&bytes), "SELECT", &key), None);
    }
}
