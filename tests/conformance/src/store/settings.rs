//! Policies and certificate authorities.

use ferrohub_core::authorities::{DeleteAuthorityOutcome, StoredAuthority};
use ferrohub_core::policies::StoredPolicy;
use ferrohub_model::{Right, Rights, SharedAccessKey};

use super::OpenStore;

pub async fn policies_and_authorities_are_stored_by_name(open: impl OpenStore) {
    let store = open().await;
    let store = &**store;
    let policy = |name: &str, byte| StoredPolicy {
        name: name.to_owned(),
        rights: Rights::of(&[Right::ServiceConnect]),
        primary_key: SharedAccessKey::from_bytes(&[byte; 32]).unwrap(),
        secondary_key: SharedAccessKey::from_bytes(&[9; 64]).unwrap(),
    };
    store.save_policy(&policy("b", 1)).await.unwrap();
    store.save_policy(&policy("a", 2)).await.unwrap();
    store.save_policy(&policy("b", 3)).await.unwrap();
    assert_eq!(store.policies().await.unwrap(), [policy("a", 2), policy("b", 3)]);

    let authority = |verified, code: Option<&str>| StoredAuthority {
        name: "factory".to_owned(),
        certificate: vec![0x30, 0x00, 0xFF],
        verified,
        verification_code: code.map(str::to_owned),
    };
    store.save_authority(&authority(false, Some("42"))).await.unwrap();
    assert_eq!(store.authorities().await.unwrap(), [authority(false, Some("42"))]);
    store.save_authority(&authority(true, None)).await.unwrap();
    assert_eq!(store.authorities().await.unwrap(), [authority(true, None)]);
    assert_eq!(store.delete_authority("factory").await.unwrap(), DeleteAuthorityOutcome::Deleted);
    assert_eq!(store.delete_authority("factory").await.unwrap(), DeleteAuthorityOutcome::NotFound);
}
