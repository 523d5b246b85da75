use async_trait::async_trait;
use ferrohub_model::{Right, Rights, SharedAccessKey, sas};

use super::super::{EntraSettings, KeySet, KeySource, KeySourceError};
use super::*;
use crate::policies::PolicySource;

const HOST: &str = "hub.example";

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_seconds(second)
}

fn policy(name: &str, rights: &[Right]) -> Policy {
    Policy {
        name: name.into(),
        rights: Rights::of(rights),
        primary_key: SharedAccessKey::generate(),
        secondary_key: SharedAccessKey::generate(),
        source: PolicySource::Store,
    }
}

fn policies(of: &[&Policy]) -> Policies {
    let policies = Policies::default();
    for policy in of {
        policies.insert((*policy).clone());
    }
    policies
}

/// Authenticates at second 100. Returns the principal and the second of its expiry, or the reason of the refusal.
async fn authenticate(header: Option<&str>, policies: &Policies) -> Result<(Principal, i64), &'static str> {
    match authenticate_service(header, HOST, policies, None, at(100)).await {
        Ok(VerifiedService { principal, scope: TokenScope::Hub, expires: Some(expires) }) => {
            Ok((principal, expires.unix_seconds()))
        }
        Ok(other) => panic!("{other:?}"),
        Err(AuthorizationError { reason, error }) => {
            // Nobody learns the reason from the answer.
            assert_eq!((error.code, &*error.message), (ErrorCode::IotHubUnauthorizedAccess, "Unauthorized"));
            Err(reason)
        }
    }
}

async fn refusal(header: &str, policies: &Policies) -> &'static str {
    authenticate(Some(header), policies).await.unwrap_err()
}

#[tokio::test]
async fn a_token_signed_with_either_key_of_a_policy_is_accepted_until_it_expires() {
    let service = policy("service", &[Right::ServiceConnect]);
    let policies = policies(&[&service, &policy("other", &[])]);
    for key in [&service.primary_key, &service.secondary_key] {
        let token = sas::sign(HOST, key, Some("service"), at(101));
        // The second time, the token is recognised.
        for _ in 0..2 {
            let (principal, expires) = authenticate(Some(&token), &policies).await.unwrap();
            let Principal::Policy(found) = principal else { panic!("not a policy") };
            assert_eq!((&*found.name, expires), ("service", 101));
        }
        let other = authenticate_service(Some(&token), HOST, &policies, None, at(101)).await;
        assert_eq!(other.err().map(|error| error.reason), Some("expired"));
    }
}

#[tokio::test]
async fn a_token_is_recognised_without_a_second_verification_but_not_another_one() {
    let service = policy("service", &[]);
    let policies = policies(&[&service]);
    let token = |seconds| sas::sign(HOST, &service.primary_key, Some("service"), at(seconds));
    authenticate(Some(&token(200)), &policies).await.unwrap();
    assert!(policies.cached_policy(&digest(&token(200)), at(100)).is_some());
    assert!(policies.cached_policy(&digest(&token(201)), at(100)).is_none());
    assert_ne!(digest(""), TokenDigest::default());
    let forged = token(200).replace("se=200", "se=900");
    assert_eq!(refusal(&forged, &policies).await, "bad_signature");
    assert!(policies.cached_policy(&digest(&forged), at(100)).is_none());
}

#[tokio::test]
async fn every_refusal_has_its_reason() {
    let service = policy("service", &[]);
    let policies = policies(&[&service]);
    let signed =
        |resource: &str, policy, expires| sas::sign(resource, &service.primary_key, policy, at(expires));
    let with_other_key = sas::sign(HOST, &SharedAccessKey::generate(), Some("service"), at(200));
    for (header, reason) in [
        ("", "malformed"),
        ("SharedAccessSignature", "malformed"),
        ("Basic eDp5", "malformed"),
        ("Bearer x.y.z", "entra_disabled"),
        ("bearer x.y.z", "entra_disabled"),
        (&signed(HOST, None, 200), NO_POLICY),
        (&signed(HOST, Some("unknown"), 200), "unknown_policy"),
        (&signed(HOST, Some("Service"), 200), "unknown_policy"),
        (&with_other_key, "bad_signature"),
        (&signed(HOST, Some("service"), 100), "expired"),
        (&signed("other.example", Some("service"), 200), "wrong_resource"),
        (&signed("hub.example/devices/d", Some("service"), 200), "wrong_resource"),
        (&signed("/devices/d", Some("service"), 200), "wrong_resource"),
        (&signed("", Some("service"), 200), "malformed"),
    ] {
        assert_eq!(refusal(header, &policies).await, reason, "{header}");
    }
    assert_eq!(authenticate(None, &policies).await.unwrap_err(), "no_token");
}

/// An issuer that publishes no keys.
#[derive(Debug)]
struct NoKeys;

#[async_trait]
impl KeySource for NoKeys {
    async fn keys(&self, _: &str) -> Result<KeySet, KeySourceError> {
        Err(KeySourceError("no keys".to_owned()))
    }
}

#[tokio::test]
async fn a_bearer_token_is_verified_by_entra_and_never_taken_for_a_sas_token() {
    let settings = EntraSettings { issuers: Vec::new(), audiences: Vec::new(), assignments: Vec::new() };
    let entra = EntraTokenVerifier::new(settings, Arc::new(NoKeys));
    let service = policy("service", &[]);
    let policies = policies(&[&service]);
    let token = sas::sign(HOST, &service.primary_key, Some("service"), at(200));
    for (header, reason) in
        [("BEARER x", Some("malformed")), (&*format!("Bearer {token}"), Some("malformed")), (&*token, None)]
    {
        let outcome = authenticate_service(Some(header), HOST, &policies, Some(&entra), at(100)).await;
        assert_eq!(outcome.err().map(|error| error.reason), reason, "{header}");
    }
}

fn may(rights: &[Right], operation: Operation) -> bool {
    Principal::Policy(Arc::new(policy("p", rights))).may(operation)
}

#[test]
fn a_policy_needs_all_rights_of_one_set() {
    assert!(may(&[Right::RegistryRead], Operation::GetDevice));
    assert!(!may(&[Right::RegistryWrite, Right::ServiceConnect, Right::DeviceConnect], Operation::GetDevice));
    assert!(!may(&[], Operation::GetDevice));
    // Each of two sets is enough.
    assert!(may(&[Right::ServiceConnect], Operation::GetServiceStatistics));
    assert!(may(&[Right::RegistryRead], Operation::GetServiceStatistics));
    assert!(!may(&[Right::DeviceConnect], Operation::GetServiceStatistics));
    // One set with every right.
    assert!(may(&Right::ALL, Operation::ListPolicies));
    for missing in Right::ALL {
        let others: Vec<Right> = Right::ALL.into_iter().filter(|right| *right != missing).collect();
        assert!(!may(&others, Operation::ListPolicies), "{missing:?}");
    }
    // No policy may do what is for devices only.
    assert!(!may(&Right::ALL, Operation::SendEvent));
}

#[test]
fn an_entra_principal_needs_the_data_action() {
    let principal =
        |actions: &[&'static str]| Principal::Entra { subject: "s".to_owned(), actions: actions.to_vec() };
    assert!(principal(&["twins/read", "devices/read"]).may(Operation::GetDevice));
    assert!(principal(&["*"]).may(Operation::GetDevice));
    assert!(!principal(&["devices/write"]).may(Operation::GetDevice));
    assert!(!principal(&[]).may(Operation::GetDevice));
    assert!(!principal(&["*"]).may(Operation::ReadEvents), "there is no data action");
    // All of several.
    let [first, second, ..] = Operation::ChangeIdentities.data_actions() else { panic!("not several") };
    assert!(principal(&["devices/*"]).may(Operation::ChangeIdentities));
    assert!(!principal(&[first]).may(Operation::ChangeIdentities));
    assert!(!principal(&[second]).may(Operation::ChangeIdentities));
}

/// The key with which clients of event hubs sign: the text of this one.
fn text_of(key: &SharedAccessKey) -> SharedAccessKey {
    SharedAccessKey::from_bytes(key.to_base64().as_bytes()).unwrap()
}

#[tokio::test]
async fn a_token_for_events_may_be_signed_with_the_text_of_a_key_and_another_one_may_not() {
    let service = policy("service", &[Right::ServiceConnect]);
    let policies = policies(&[&service]);
    let resource = "sb://hub.example/hub/ConsumerGroups/g";
    for key in [&service.primary_key, &service.secondary_key] {
        for key in [key, &text_of(key)] {
            let token = sas::sign(resource, key, Some("service"), at(101));
            let verified = authenticate_service(Some(&token), HOST, &policies, None, at(100)).await;
            let VerifiedService { principal, scope, expires } = verified.ok().unwrap();
            assert!(matches!(principal, Principal::Policy(policy) if &*policy.name == "service"));
            assert_eq!(expires, Some(at(101)));
            assert_eq!(scope, TokenScope::Events(vec!["consumergroups".to_owned(), "g".to_owned()]));
            // It is not taken for one of the whole hub the next time.
            assert!(policies.cached_policy(&digest(&token), at(100)).is_none());
        }
        let token = sas::sign(HOST, &text_of(key), Some("service"), at(101));
        assert_eq!(refusal(&token, &policies).await, "bad_signature");
    }
    let with_other_key = sas::sign(resource, &SharedAccessKey::generate(), Some("service"), at(101));
    assert_eq!(refusal(&with_other_key, &policies).await, "bad_signature");
}

#[test]
fn a_key_of_a_policy_covers_events_only() {
    let service = policy("service", &[Right::ServiceConnect]);
    let policies = policies(&[&service]);
    let authenticate =
        |name: &str, key: &str| authenticate_policy_key(name, key, &policies).map_err(|error| error.reason);
    for key in [&service.primary_key, &service.secondary_key] {
        let VerifiedService { principal, scope, expires } =
            authenticate("service", &key.to_base64()).unwrap();
        assert!(matches!(principal, Principal::Policy(policy) if &*policy.name == "service"));
        assert_eq!((scope, expires), (TokenScope::Events(Vec::new()), None));
    }
    let key = service.primary_key.to_base64();
    for (name, key, reason) in [
        ("other", &*key, "unknown_policy"),
        ("service", "no base64", "malformed"),
        ("service", &*SharedAccessKey::generate().to_base64(), "bad_signature"),
    ] {
        assert_eq!(authenticate(name, key).err(), Some(reason));
    }
}
