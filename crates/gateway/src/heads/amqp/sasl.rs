//! SASL PLAIN (RFC 4616): the user is a shared access policy of the hub, the password a SAS token. Readers of events may send
//! a key of the policy instead, as to an event hub on Azure.

/// What a user name of a policy ends with, before the first label of the hub's name.
const POLICY_SUFFIX: &str = "@sas.root.";

/// The policy in the response of a client, and what proves it.
#[derive(PartialEq, Eq)]
pub(super) struct PlainCredentials<'a> {
    pub(super) policy: &'a str,
    pub(super) proof: PlainProof<'a>,
}

/// The password.
#[derive(PartialEq, Eq)]
pub(super) enum PlainProof<'a> {
    Token(&'a str),
    Key(&'a str),
}

impl<'a> PlainCredentials<'a> {
    /// Parses an initial response: authorization identity, user and password, with zero bytes between them. The user is
    /// `{policy}@sas.root.{hub}` with a token, or `{policy}` with a key. `None` if it has another form.
    pub(super) fn parse(response: &'a [u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(response).ok()?.split('\0');
        let (_, user, password) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        Some(match user.split_once(POLICY_SUFFIX) {
            Some((policy, _)) => Self { policy, proof: PlainProof::Token(password) },
            None => Self { policy: user, proof: PlainProof::Key(password) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_bytes_are_credentials_or_not(response: Vec<u8>, policy in "[a-z]{0,5}", token in "[ -~]{0,20}") {
            let _ = PlainCredentials::parse(&response);
            let written = format!("\0{policy}@sas.root.hub\0{token}");
            let expected = PlainCredentials { policy: &policy, proof: PlainProof::Token(&token) };
            proptest::prop_assert!(PlainCredentials::parse(written.as_bytes()) == Some(expected));
            let written = format!("\0{policy}\0{token}");
            let expected = PlainCredentials { policy: &policy, proof: PlainProof::Key(&token) };
            proptest::prop_assert!(PlainCredentials::parse(written.as_bytes()) == Some(expected));
        }
    }

    #[test]
    fn a_policy_and_its_token_are_read() {
        let parsed = PlainCredentials::parse(b"\0service@sas.root.hub\0SharedAccessSignature sr=h");
        let proof = PlainProof::Token("SharedAccessSignature sr=h");
        assert!(parsed == Some(PlainCredentials { policy: "service", proof }));
        let parsed = PlainCredentials::parse(b"\0service\0a2V5");
        assert!(parsed == Some(PlainCredentials { policy: "service", proof: PlainProof::Key("a2V5") }));
        for other in [&b""[..], b"\0a@sas.root.h", b"\0a@sas.root.h\0t\0x", b"\0a@sas.root.h\0\xff"] {
            assert!(PlainCredentials::parse(other).is_none(), "{other:?}");
        }
    }
}
