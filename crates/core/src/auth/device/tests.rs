use ferrohub_model::{IdentityId, Rights, SharedAccessKey, sas};
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

use super::super::thumbprint_sha256;
use super::*;
use crate::policies::{Policy, PolicySource};
use crate::registry::Thumbprint;

const HOST: &str = "hub.example";

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_seconds(second)
}

fn key() -> SharedAccessKey {
    SharedAccessKey::generate()
}

fn keys(primary: &SharedAccessKey, secondary: &SharedAccessKey) -> Authentication {
    Authentication::Sas { primary: primary.clone(), secondary: secondary.clone() }
}

fn identity(id: &str, authentication: Authentication) -> Identity {
    Identity {
        id: IdentityId::parse(id).unwrap(),
        generation_id: "1".to_owned(),
        etag: "e".to_owned(),
        status: Status::Enabled,
        status_reason: None,
        status_updated: at(0),
        authentication,
        iot_edge: false,
        device_scope: None,
        parent_scopes: Vec::new(),
        managed_by: None,
        connection_state_updated: at(0),
        last_activity: at(0),
        messages: 0,
    }
}

/// What a test authenticates against, at second 100.
#[derive(Default)]
struct Hub {
    policies: Policies,
    authorities: Authorities,
}

impl Hub {
    fn with_policy(name: &str, rights: &[Right]) -> (Self, Policy) {
        let policy = Policy {
            name: name.into(),
            rights: Rights::of(rights),
            primary_key: key(),
            secondary_key: key(),
            source: PolicySource::Store,
        };
        let hub = Self::default();
        hub.policies.insert(policy.clone());
        (hub, policy)
    }

    async fn authenticate(
        &self,
        identity: &Identity,
        device: Option<&Identity>,
        token: Option<&str>,
        certificate: Option<&PeerCertificate>,
    ) -> Result<VerifiedCredential, DeviceAuthError> {
        let Self { policies, authorities } = self;
        let verifier = Verifier { host: HOST, policies, authorities, now: at(100) };
        authenticate(&Claim { identity, device }, token, certificate, &verifier).await
    }

    async fn with_token(
        &self,
        identity: &Identity,
        token: &str,
    ) -> Result<VerifiedCredential, DeviceAuthError> {
        self.authenticate(identity, None, Some(token), None).await
    }
}

fn verified(credential: Credential, second: i64) -> Result<VerifiedCredential, DeviceAuthError> {
    Ok(VerifiedCredential { credential, expires: at(second) })
}

#[tokio::test]
async fn a_device_authenticates_with_either_of_its_keys_until_the_token_expires() {
    let (hub, primary, secondary) = (Hub::default(), key(), key());
    let device = identity("d", keys(&primary, &secondary));
    for key in [&primary, &secondary] {
        let token = |resource: &str, second| sas::sign(resource, key, None, at(second));
        let credential = Credential::DeviceKey(key.fingerprint());
        assert_eq!(
            hub.with_token(&device, &token("hub.example/devices/d", 101)).await,
            verified(credential, 101)
        );
        for (token, error) in [
            (token("hub.example/devices/d", 100), DeviceAuthError::Expired(at(100))),
            (token("hub.example/devices/e", 101), DeviceAuthError::WrongResource),
            (token("hub.example/devices/d/modules/m", 101), DeviceAuthError::WrongResource),
            (token("other.example/devices/d", 101), DeviceAuthError::WrongResource),
            (token("/devices/d", 101), DeviceAuthError::WrongResource),
        ] {
            assert_eq!(hub.with_token(&device, &token).await, Err(error), "{token}");
        }
    }
    let with_other_key = sas::sign("hub.example/devices/d", &key(), None, at(200));
    assert_eq!(hub.with_token(&device, &with_other_key).await, Err(DeviceAuthError::BadSignature));
    let malformed = hub.with_token(&device, "password").await;
    assert!(matches!(malformed, Err(DeviceAuthError::Malformed(_))));
}

#[tokio::test]
async fn an_identity_without_keys_is_refused_with_a_token() {
    let hub = Hub::default();
    let token = sas::sign("hub.example/devices/d", &key(), None, at(200));
    for authentication in [
        Authentication::None,
        Authentication::CertificateAuthority,
        Authentication::SelfSigned { primary: None, secondary: None },
    ] {
        let device = identity("d", authentication);
        assert_eq!(hub.with_token(&device, &token).await, Err(DeviceAuthError::WrongAuthenticationType));
    }
}

#[tokio::test]
async fn a_disabled_identity_or_device_is_refused() {
    let (hub, key) = (Hub::default(), key());
    let enabled = |id| identity(id, keys(&key, &key));
    let disabled = |id| Identity { status: Status::Disabled, ..enabled(id) };
    let (device, module) = ("hub.example/devices/d", "hub.example/devices/d/modules/m");
    let token = |resource: &str| sas::sign(resource, &key, None, at(200));
    let refused = hub.with_token(&disabled("d"), &token(device)).await;
    assert_eq!(refused, Err(DeviceAuthError::Disabled));
    for (of_module, of_device, error) in [
        (enabled("d/m"), Some(enabled("d")), None),
        (disabled("d/m"), Some(enabled("d")), Some(DeviceAuthError::Disabled)),
        (enabled("d/m"), Some(disabled("d")), Some(DeviceAuthError::Disabled)),
        (enabled("d/m"), None, Some(DeviceAuthError::UnknownIdentity)),
    ] {
        let token = token(module);
        let outcome = hub.authenticate(&of_module, of_device.as_ref(), Some(&token), None).await;
        assert_eq!(outcome.err(), error);
    }
}

#[tokio::test]
async fn a_module_may_use_the_key_of_its_device_unless_it_has_certificates() {
    let (hub, own, of_device) = (Hub::default(), key(), key());
    let device = identity("d", keys(&of_device, &key()));
    let resource = "hub.example/devices/d/modules/m";
    let sign = |key: &SharedAccessKey| sas::sign(resource, key, None, at(200));
    let parent = || verified(Credential::ParentDeviceKey(of_device.fingerprint()), 200);
    let with_keys = identity("d/m", keys(&own, &key()));
    let certificates = Authentication::SelfSigned { primary: None, secondary: None };
    let without_keys = identity("d", certificates.clone());
    for (module, device, key, expected) in [
        (&with_keys, &device, &own, verified(Credential::DeviceKey(own.fingerprint()), 200)),
        (&with_keys, &device, &of_device, parent()),
        (&identity("d/m", Authentication::None), &device, &of_device, parent()),
        (&with_keys, &device, &self::key(), Err(DeviceAuthError::BadSignature)),
        (&with_keys, &without_keys, &of_device, Err(DeviceAuthError::BadSignature)),
        (
            &identity("d/m", Authentication::None),
            &without_keys,
            &of_device,
            Err(DeviceAuthError::WrongAuthenticationType),
        ),
        (&identity("d/m", certificates), &device, &of_device, Err(DeviceAuthError::WrongAuthenticationType)),
    ] {
        let outcome = hub.authenticate(module, Some(device), Some(&sign(key)), None).await;
        assert_eq!(outcome, expected);
    }
}

#[tokio::test]
async fn a_policy_with_the_right_stands_in_for_the_key_of_an_identity() {
    let (hub, policy) = Hub::with_policy("device", &[Right::DeviceConnect]);
    let device = identity("d", keys(&key(), &key()));
    let name = Some("device");
    for key in [&policy.primary_key, &policy.secondary_key] {
        for resource in [HOST, "hub.example/devices/d"] {
            let token = sas::sign(resource, key, name, at(101));
            let credential = Credential::Policy { name: "device".into() };
            assert_eq!(hub.with_token(&device, &token).await, verified(credential, 101));
        }
    }
    let key = &policy.primary_key;
    for (token, error) in [
        (sas::sign(HOST, key, name, at(100)), DeviceAuthError::Expired(at(100))),
        (sas::sign(HOST, key, Some("other"), at(101)), DeviceAuthError::UnknownPolicy),
        (sas::sign(HOST, &self::key(), name, at(101)), DeviceAuthError::BadSignature),
        (sas::sign("hub.example/devices/e", key, name, at(101)), DeviceAuthError::WrongResource),
        (sas::sign("other.example", key, name, at(101)), DeviceAuthError::WrongResource),
    ] {
        assert_eq!(hub.with_token(&device, &token).await, Err(error));
    }
    for authentication in [
        Authentication::None,
        Authentication::CertificateAuthority,
        Authentication::SelfSigned { primary: None, secondary: None },
    ] {
        let device = identity("d", authentication);
        let outcome = hub.with_token(&device, &sas::sign(HOST, key, name, at(101))).await;
        assert_eq!(outcome, Err(DeviceAuthError::WrongAuthenticationType));
    }
    let (hub, policy) = Hub::with_policy("service", &[Right::ServiceConnect, Right::RegistryWrite]);
    let token = sas::sign(HOST, &policy.primary_key, Some("service"), at(101));
    assert_eq!(hub.with_token(&device, &token).await, Err(DeviceAuthError::NoRight));
}

/// A self-signed certificate that expires at this moment, and its thumbprint.
fn certificate(year: i32) -> (PeerCertificate, Thumbprint) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "d");
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(year, 1, 1);
    let signed = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let thumbprint = Thumbprint::parse(&thumbprint_sha256(signed.der())).unwrap();
    (PeerCertificate::new(&[signed.der().clone()]).unwrap(), thumbprint)
}

#[tokio::test]
async fn a_certificate_is_accepted_if_its_thumbprint_is_listed_and_it_is_valid() {
    let hub = Hub::default();
    let (presented, thumbprint) = certificate(1971);
    let (_, other) = certificate(1971);
    let listed = |primary: Option<&Thumbprint>, secondary: Option<&Thumbprint>| {
        let (primary, secondary) = (primary.cloned(), secondary.cloned());
        identity("d", Authentication::SelfSigned { primary, secondary })
    };
    let accepted = || verified(Credential::Thumbprint, 365 * 24 * 3600);
    for device in [listed(Some(&thumbprint), None), listed(Some(&other), Some(&thumbprint))] {
        assert_eq!(hub.authenticate(&device, None, None, Some(&presented)).await, accepted());
        // An empty password is none.
        assert_eq!(hub.authenticate(&device, None, Some(""), Some(&presented)).await, accepted());
        let with_token = hub.authenticate(&device, None, Some("x"), Some(&presented)).await;
        assert!(matches!(with_token, Err(DeviceAuthError::Malformed(_))), "a token takes precedence");
        assert_eq!(hub.authenticate(&device, None, Some(""), None).await, Err(DeviceAuthError::NoCredential));
    }
    for device in [listed(None, None), listed(Some(&other), None)] {
        let refused = hub.authenticate(&device, None, None, Some(&presented)).await;
        assert_eq!(refused, Err(CertificateError::Thumbprint.into()));
    }
    let (expired, thumbprint) = certificate(1970);
    let refused = hub.authenticate(&listed(Some(&thumbprint), None), None, None, Some(&expired)).await;
    assert!(matches!(refused, Err(DeviceAuthError::Certificate(CertificateError::Validity { .. }))));
    for authentication in [Authentication::None, keys(&key(), &key())] {
        let refused = hub.authenticate(&identity("d", authentication), None, None, Some(&presented)).await;
        assert_eq!(refused, Err(DeviceAuthError::WrongAuthenticationType));
    }
    // No authority is registered.
    let device = identity("d", Authentication::CertificateAuthority);
    let refused = hub.authenticate(&device, None, None, Some(&presented)).await;
    assert!(matches!(refused, Err(DeviceAuthError::Certificate(_))));
}

#[test]
fn every_reason_is_a_word_of_its_own() {
    let malformed = SasToken::parse("x").unwrap_err();
    for (error, reason) in [
        (DeviceAuthError::UnknownIdentity, "unknown_identity"),
        (DeviceAuthError::Disabled, "disabled"),
        (DeviceAuthError::NoCredential, "no_credential"),
        (DeviceAuthError::Malformed(malformed), "malformed_token"),
        (DeviceAuthError::WrongAuthenticationType, "wrong_authentication_type"),
        (DeviceAuthError::BadSignature, "bad_signature"),
        (DeviceAuthError::Expired(at(0)), "expired"),
        (DeviceAuthError::WrongResource, "wrong_resource"),
        (DeviceAuthError::UnknownPolicy, "unknown_policy"),
        (DeviceAuthError::NoRight, "no_right"),
        (DeviceAuthError::Certificate(CertificateError::Thumbprint), "certificate"),
    ] {
        assert_eq!(error.reason(), reason);
    }
}
