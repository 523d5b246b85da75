//! Fuzzes the documents that the hub receives: device JSON, changes of twins, key sets of token issuers, certificates
//! of peers and of authorities. No document may cause a panic, and an accepted device or twin must be returned
//! unchanged.
#![no_main]

use ferrohub_core::auth::{Authority, KeySet, PeerCertificate};
use ferrohub_core::registry::{IfMatch, apply_device, to_device};
use ferrohub_core::twins::{TwinDocument, TwinLimits, UpdateMode};
use ferrohub_model::device::Device;
use ferrohub_model::twin::{TwinChange, parse_properties};
use ferrohub_model::{IdentityId, Timestamp};
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::CertificateDer;

fuzz_target!(|input: &[u8]| {
    let now = Timestamp::from_unix_millis(1_800_000_000_000);

    if let Ok(device) = serde_json::from_slice::<Device>(input) {
        let id = IdentityId::parse("fuzzed").unwrap();
        if let Ok(identity) = apply_device(&id, &device, None, now) {
            let returned = to_device(&identity, false);
            // A GET followed by a PUT changes only the etag of the identity.
            let again = apply_device(&id, &returned, Some(&identity), now).unwrap();
            assert_eq!(again.authentication, identity.authentication);
            assert_eq!(again.status, identity.status);
        }
    }
    if let Ok(change) = serde_json::from_slice::<TwinChange>(input) {
        let limits = TwinLimits::default();
        if let Ok(twin) = TwinDocument::default().with_change(UpdateMode::Merge, &change, now, &limits) {
            // A GET followed by a PUT changes only the version of the twin.
            let returned = TwinChange::desired(twin.desired.for_service()).and_tags(twin.tags.clone());
            let again = twin.with_change(UpdateMode::Replace, &returned, now, &limits).unwrap();
            assert_eq!(again.tags, twin.tags);
            assert_eq!(again.desired.values, twin.desired.values);
        }
    }
    if let Ok(patch) = parse_properties(input) {
        let _ = TwinDocument::default().with_reported(&patch, None, now, &TwinLimits::default());
    }
    let _ = KeySet::from_json(input);
    if let Some(peer) = PeerCertificate::new(&[CertificateDer::from(input)]) {
        let _ = peer.check_validity(now);
    }
    if let Ok(authority) = Authority::new("fuzzed", input.to_vec(), false, false) {
        let _ = authority.verify_proof_of_possession(input, now);
    }
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = IfMatch::parse(text).matches("etag");
    }
});
