//! SASL PLAIN (RFC 4616): the user is a shared access policy of the hub, the password a SAS token.

/// What a user name of a policy ends with, before the first label of the hub's name.
const POLICY_SUFFIX: &str = "@sas.root.";

/// The policy and the token in the response of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PlainCredentials<'a> {
    pub(super) policy: &'a str,
    pub(super) token: &'a str,
}

impl<'a> PlainCredentials<'a> {
    /// Parses an initial response: authorization identity, user and password, with zero bytes between them. `None` if it
    /// has another form or the user is not `{policy}@sas.root.{hub}`.
    pub(super) fn parse(response: &'a [u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(response).ok()?.split('\0');
        let (_, user, token) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let (policy, _) = user.split_once(POLICY_SUFFIX)?;
        Some(Self { policy, token })
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
            let expected = PlainCredentials { policy: &policy, token: &token };
            proptest::prop_assert_eq!(PlainCredentials::parse(written.as_bytes()), Some(expected));
        }
    }

    #[test]
    fn a_policy_and_its_token_are_read() {
        let parsed = PlainCredentials::parse(b"\0service@sas.root.hub\0SharedAccessSignature sr=h");
        assert_eq!(parsed, Some(PlainCredentials { policy: "service", token: "SharedAccessSignature sr=h" }));
        for other in
            [&b""[..], b"\0service\0t", b"\0a@sas.root.h", b"\0a@sas.root.h\0t\0x", b"\0a@sas.root.h\0\xff"]
        {
            assert_eq!(PlainCredentials::parse(other), None, "{other:?}");
        }
    }
}
