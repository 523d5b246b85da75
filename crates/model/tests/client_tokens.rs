//! The tokens of real clients, byte for byte: each is accepted for the identity that it names.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

use ferrohub_model::sas::SasToken;
use ferrohub_model::{IdentityId, SharedAccessKey};

/// A token, the identity that sends it, and whether the identity is a module that signs with its device's key.
struct Row<'a> {
    client: &'a str,
    id: IdentityId,
    token: SasToken<'a>,
    uses_device_key: bool,
}

fn rows() -> Vec<Row<'static>> {
    let lines = include_str!("client_tokens.tsv").lines().filter(|line| !line.starts_with('#'));
    let row = |line: &'static str| {
        let mut columns = line.split('\t');
        let client = columns.next().unwrap();
        let id = IdentityId::parse(columns.next().unwrap()).unwrap();
        let token = SasToken::parse(columns.next().unwrap()).unwrap();
        Row { client, id, token, uses_device_key: client.starts_with('*') }
    };
    lines.map(row).collect()
}

#[test]
fn the_token_of_every_client_is_accepted_for_its_identity() {
    let [own, of_device] = [0u8, 32]
        .map(|first| SharedAccessKey::from_bytes(&(first..first + 32).collect::<Vec<u8>>()).unwrap());
    assert_eq!(rows().len(), 42);
    for Row { client, id, token, uses_device_key } in rows() {
        assert!(token.is_signed_by(&own) != uses_device_key, "{client} {id}");
        assert!(token.is_signed_by(&of_device) == uses_device_key, "{client} {id}");
        assert_eq!(token.policy(), None, "{client}");
        let resource = token.resource().unwrap();
        assert!(resource.is_on_host("hub.example"), "{client} {id}");
        assert!(resource.matches_own_key_of(&id), "{client} {id}: {token:?}");
    }
}

/// The device's own modules are no other identities: a prefix of their path is theirs, too, and the key decides.
#[test]
fn the_token_of_a_client_names_no_other_device() {
    let others = ["dev", "dev11", "A:b", "Ab", "Aa:b@c#d+e=f$gAh!i(j)k*l'm2", "api-version=2016-11-14"];
    for Row { client, token, .. } in rows() {
        let resource = token.resource().unwrap();
        if resource.is_hub() {
            continue;
        }
        for other in others {
            assert!(!resource.matches_own_key_of(&IdentityId::parse(other).unwrap()), "{client} {other}");
        }
    }
}
