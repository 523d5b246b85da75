//! Property tests of the parsers for tokens, connection strings and names: no text causes a panic, and accepted texts
//! have the intended meaning.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

use ferrohub_model::blob_sas::{self, BlobAddress, BlobRight, BlobRights, BlobSasToken};
use ferrohub_model::connection_string::DeviceCredential;
use ferrohub_model::file::BlobName;
use ferrohub_model::method::{MethodInvocation, MethodName};
use ferrohub_model::mqtt_username::MqttUsername;
use ferrohub_model::sas::{self, SasToken};
use ferrohub_model::storage_account::StorageAccount;
use ferrohub_model::{
    DeviceConnectionString, IdentityId, ServiceConnectionString, SharedAccessKey, Timestamp, percent, topic,
};
use proptest::prelude::*;

fn key() -> SharedAccessKey {
    SharedAccessKey::from_bytes(&[7; 32]).unwrap()
}

/// Text made of pieces that the parsers look for, so that parsing often proceeds far.
fn crafted() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("SharedAccessSignature ".to_owned()),
        Just("HostName=".to_owned()),
        Just("DeviceId=".to_owned()),
        Just("SharedAccessKey=".to_owned()),
        Just("SharedAccessKeyName=".to_owned()),
        Just("$iothub/methods/".to_owned()),
        Just("POST/".to_owned()),
        Just("res/".to_owned()),
        Just("?$rid=".to_owned()),
        Just("api-version=".to_owned()),
        "(sr|sig|se|skn|sp|sv|spr)=",
        Just("sv=2020-12-06&sr=b&sp=rcw&se=2030-01-01T00:00:00Z&sig=".to_owned()),
        Just("AccountName=a;AccountKey=".to_owned()),
        Just("BlobEndpoint=https://".to_owned()),
        Just("../".to_owned()),
        "[;&=/%?#:\\\\]",
        "%[0-9a-fA-F]{0,2}",
        "[A-Za-z0-9+/=]{0,44}",
        "\\PC{0,8}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_causes_a_panic_or_authenticates(text in prop_oneof![any::<String>(), crafted()]) {
        if let Ok(token) = SasToken::parse(&text) {
            prop_assert!(!token.is_signed_by(&key()));
            let _ = token.resource();
        }
        if let Ok(parsed) = text.parse::<DeviceConnectionString>() {
            prop_assert!(parsed.reveal().parse::<DeviceConnectionString>().is_ok());
        }
        if let Ok(parsed) = text.parse::<ServiceConnectionString>() {
            prop_assert!(parsed.reveal().parse::<ServiceConnectionString>().is_ok());
        }
        if let Ok(id) = IdentityId::parse(&text) {
            prop_assert_eq!(id.as_str(), text.as_str());
        }
        if let Ok(presented) = BlobSasToken::parse(&text) {
            let blob = BlobAddress { account: "a", container: "c", blob: &text };
            prop_assert!(!presented.is_signed_by(&key(), blob));
        }
        if let Ok(name) = BlobName::parse(&text) {
            prop_assert_eq!(name.as_str(), text.as_str());
            prop_assert!(!name.as_str().split('/').skip(1).any(|part| part.is_empty() || part.ends_with('.')));
            let decoded = percent::decode(&name.encoded());
            prop_assert_eq!(decoded.as_deref(), Some(text.as_str()));
        }
        let _ = text.parse::<StorageAccount>();
        let _ = MqttUsername::parse(&text, "d");
        let _ = MethodName::new(&text);
        let _ = topic::parse_method_request(&text);
        let _ = topic::parse_method_response(&text);
        let _ = serde_json::from_str::<MethodInvocation<'_>>(&text);
    }

    #[test]
    fn a_signed_token_verifies_and_a_changed_one_does_not(
        resource in "[a-z0-9.]{1,20}(/devices/[A-Za-z0-9%#*?!(),:=@$'-]{1,20})?",
        expiry in 0..4_000_000_000_i64,
        position in any::<prop::sample::Index>(),
        character in any::<char>(),
    ) {
        let expires = Timestamp::from_unix_millis(expiry * 1000);
        let text = sas::sign(&resource, &key(), Some("policy"), expires);
        let token = SasToken::parse(&text).unwrap();
        prop_assert!(token.is_signed_by(&key()));
        prop_assert_eq!(token.expiry(), expires);
        prop_assert_eq!(token.policy(), Some("policy"));
        // A token with a changed resource, signature or expiry does not verify. The policy's name is not signed.
        let signed = text.find("&skn=").unwrap();
        let mut changed: Vec<char> = text.chars().collect();
        let at = position.index(signed);
        if changed[at] != character {
            changed[at] = character;
            let changed: String = changed.into_iter().collect();
            if let Ok(token) = SasToken::parse(&changed) {
                let same = token.expiry() == expires && token.policy() == Some("policy");
                prop_assert!(!token.is_signed_by(&key()) || same && is_respelled(&text, &changed), "{changed}");
            }
        }
    }

    /// The characters are all that [`IdentityId`] accepts.
    #[test]
    fn every_id_is_read_back_from_a_connection_string(
        device in "[A-Za-z0-9:.+%_#*?!(),=@;$'-]{1,128}",
        module in prop::option::of("[A-Za-z0-9:.+%_#*?!(),=@;$'-]{1,128}"),
    ) {
        let id = module.map_or(device.clone(), |module| format!("{device}/{module}"));
        let connection_string = DeviceConnectionString {
            host_name: "h".to_owned(),
            identity: IdentityId::parse(&id).unwrap(),
            credential: DeviceCredential::Key(key()),
            gateway_host_name: None,
        };
        prop_assert_eq!(connection_string.reveal().parse(), Ok(connection_string));
    }

    #[test]
    fn percent_encoding_is_reversible(text in any::<String>()) {
        prop_assert_eq!(percent::decode(&percent::encode(&text)), Some(text));
    }
}

/// Signatures are compared after decoding: `%2b` and `%2B` are equal.
fn is_respelled(text: &str, changed: &str) -> bool {
    text.eq_ignore_ascii_case(changed)
}

proptest! {
    #[test]
    fn a_blob_signature_is_valid_only_for_that_blob(
        names in ("[a-z0-9]{3,10}", "[a-z]{3,10}", "[ -~é]{1,30}"),
        other in ("[a-z0-9]{3,10}", "[a-z]{3,10}", "[ -~é]{1,30}"),
        second in 0i64..4_000_000_000,
        bits in 1usize..16,
        flip in any::<prop::sample::Index>(),
    ) {
        let all = [BlobRight::Read, BlobRight::Create, BlobRight::Write, BlobRight::Delete];
        let rights: Vec<BlobRight> =
            all.into_iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, right)| right).collect();
        let blob = BlobAddress { account: &names.0, container: &names.1, blob: &names.2 };
        let expiry = Timestamp::from_unix_seconds(second);
        let query = blob_sas::sign(blob, BlobRights::of(&rights), expiry, true, &key());
        let query = query.trim_start_matches('?');
        let presented = BlobSasToken::parse(query).unwrap();
        prop_assert!(presented.is_signed_by(&key(), blob));
        prop_assert_eq!((presented.expiry(), presented.rights()), (expiry, BlobRights::of(&rights)));
        let other_blob = BlobAddress { account: &other.0, container: &other.1, blob: &other.2 };
        prop_assert_eq!(presented.is_signed_by(&key(), other_blob), other_blob == blob);
        // A query with one changed character means the same, or does not verify.
        let mut changed: Vec<char> = query.chars().collect();
        let at = flip.index(changed.len());
        changed[at] = if changed[at] == '0' { '1' } else { '0' };
        let changed: String = changed.into_iter().collect();
        if let Ok(changed) = BlobSasToken::parse(&changed) && changed.is_signed_by(&key(), blob) {
            prop_assert_eq!((changed.expiry(), changed.rights()), (presented.expiry(), presented.rights()));
        }
    }
}
