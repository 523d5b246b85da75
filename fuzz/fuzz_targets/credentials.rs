//! Fuzzes the parsers for texts of unauthenticated clients: tokens, connection strings, user names, topics, and the
//! body of a method call. No text may cause a panic, and an accepted text must have the same meaning after it is
//! formatted again.
#![no_main]

use ferrohub_model::blob_sas::{BlobAddress, BlobSasToken};
use ferrohub_model::file::BlobName;
use ferrohub_model::method::{MethodInvocation, MethodName};
use ferrohub_model::mqtt_username::MqttUsername;
use ferrohub_model::sas::SasToken;
use ferrohub_model::storage_account::StorageAccount;
use ferrohub_model::{
    DeviceConnectionString, IdentityId, ServiceConnectionString, SharedAccessKey, percent, topic,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = serde_json::from_slice::<MethodInvocation<'_>>(input);
    let Ok(text) = std::str::from_utf8(input) else { return };

    if let Ok(token) = SasToken::parse(text) {
        let unrelated_key = SharedAccessKey::from_bytes(b"no text is signed with this").unwrap();
        assert!(!token.is_signed_by(&unrelated_key));
        let _ = token.resource();
    }
    if let Ok(parsed) = text.parse::<DeviceConnectionString>() {
        let again: DeviceConnectionString = parsed.reveal().parse().unwrap();
        assert_eq!(again.reveal(), parsed.reveal());
    }
    if let Ok(parsed) = text.parse::<ServiceConnectionString>() {
        let again: ServiceConnectionString = parsed.reveal().parse().unwrap();
        assert_eq!(again.reveal(), parsed.reveal());
    }
    if let Ok(id) = IdentityId::parse(text) {
        assert_eq!(id.as_str(), text);
    }
    if let Ok(presented) = BlobSasToken::parse(text) {
        let unrelated_key = SharedAccessKey::from_bytes(b"no text is signed with this").unwrap();
        let blob = BlobAddress { account: "a", container: "c", blob: text };
        assert!(!presented.is_signed_by(&unrelated_key, blob));
    }
    if let Ok(name) = BlobName::parse(text) {
        let again = BlobName::parse(&percent::decode(&name.encoded()).unwrap()).unwrap();
        assert_eq!(again.as_str(), text);
    }
    let _ = text.parse::<StorageAccount>();
    let _ = MqttUsername::parse(text, "d");
    let described = format!("h/d/?{text}");
    assert!(MqttUsername::parse(&described, "d").is_ok());
    let _ = MethodName::new(text);
    let _ = topic::parse_method_response(text);
});
