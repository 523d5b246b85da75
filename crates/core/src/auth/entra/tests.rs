//! Tests of token verification.

use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;

const ISSUER: &str = "https://login.example/tenant/v2.0";
const NOW: i64 = 1_800_000_000;

/// An in-process issuer.
#[derive(Debug)]
struct FakeIssuer {
    key: EcdsaKeyPair,
    key_id: Mutex<String>,
    fetches: Mutex<usize>,
    unreachable: Mutex<bool>,
}

impl FakeIssuer {
    fn new() -> Arc<Self> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Arc::new(Self {
            key,
            key_id: Mutex::new("k1".to_owned()),
            fetches: Mutex::default(),
            unreachable: Mutex::default(),
        })
    }

    fn key_set(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        json!({ "keys": [
            { "kid": *self.key_id.lock().unwrap(), "kty": "EC", "crv": "P-256", "use": "sig",
              "x": part(1..33), "y": part(33..65) },
            { "kid": "for-encryption", "kty": "EC", "crv": "P-256", "use": "enc",
              "x": part(1..33), "y": part(33..65) },
            { "kid": "unknown-type", "kty": "OKP" },
        ]})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn entra(self: &Arc<Self>) -> EntraTokenVerifier {
        let settings = EntraSettings {
            issuers: vec![Issuer { issuer: ISSUER.to_owned(), tenant: Some("tenant".to_owned()) }],
            audiences: vec!["api://hub".to_owned()],
            assignments: vec![("app-1".to_owned(), Role::DataReader)],
        };
        EntraTokenVerifier::new(settings, self.clone())
    }

    fn fetches(&self) -> usize {
        *self.fetches.lock().unwrap()
    }
}

#[async_trait]
impl KeySource for FakeIssuer {
    async fn keys(&self, issuer: &str) -> Result<KeySet, KeySourceError> {
        assert_eq!(issuer, ISSUER);
        *self.fetches.lock().unwrap() += 1;
        if *self.unreachable.lock().unwrap() {
            return Err(KeySourceError("unreachable".to_owned()));
        }
        Ok(KeySet::from_json(self.key_set().to_string().as_bytes()).unwrap())
    }
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn header() -> Value {
    json!({ "alg": "ES256", "typ": "JWT", "kid": "k1" })
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "tid": "tenant", "oid": "robot", "sub": "s",
        "nbf": NOW - 10, "exp": NOW + 10, "roles": ["IoT Hub Registry Contributor"],
    })
}

fn with_member(mut value: Value, name: &str, changed: Value) -> Value {
    value[name] = changed;
    value
}

async fn verify(entra: &EntraTokenVerifier, token: &str) -> Result<EntraPrincipal, EntraError> {
    entra.verify(token, Timestamp::from_unix_millis(NOW * 1000)).await
}

#[tokio::test]
async fn a_valid_token_yields_its_subject_and_actions() {
    let issuer = FakeIssuer::new();
    let entra = issuer.entra();
    let verified = verify(&entra, &issuer.sign(&header(), &claims())).await.unwrap();
    let expires = Timestamp::from_unix_seconds(NOW + 10);
    let expected = EntraPrincipal { subject: "robot".to_owned(), actions: vec!["devices/*"], expires };
    assert_eq!(verified, expected);
    for audience in [json!("https://iothubs.azure.net/"), json!(["x", "api://hub"])] {
        let token = issuer.sign(&header(), &with_member(claims(), "aud", audience));
        assert!(verify(&entra, &token).await.is_ok());
    }
    let from_now = issuer.sign(&header(), &with_member(claims(), "nbf", json!(NOW)));
    assert!(verify(&entra, &from_now).await.is_ok(), "it is valid from that second on");
    let assigned =
        with_member(with_member(claims(), "roles", json!(["something else"])), "appid", json!("app-1"));
    let verified = verify(&entra, &issuer.sign(&header(), &assigned)).await.unwrap();
    assert_eq!(verified.actions, ["*/read"]);
    let no_roles = with_member(claims(), "roles", json!([]));
    assert!(verify(&entra, &issuer.sign(&header(), &no_roles)).await.unwrap().actions.is_empty());
}

#[tokio::test]
async fn an_invalid_token_is_refused() {
    let issuer = FakeIssuer::new();
    let entra = issuer.entra();
    let with_claim = |name, value| issuer.sign(&header(), &with_member(claims(), name, value));
    let with_header = |name, value| issuer.sign(&with_member(header(), name, value), &claims());
    for (case, token, expected) in [
        ("audience", with_claim("aud", json!("https://management.azure.com")), EntraError::Audience),
        ("no audience", with_claim("aud", json!([])), EntraError::Audience),
        ("issuer", with_claim("iss", json!("https://login.example/other/v2.0")), EntraError::Issuer),
        ("issuer with a slash", with_claim("iss", json!(format!("{ISSUER}/"))), EntraError::Issuer),
        ("tenant", with_claim("tid", json!("other")), EntraError::Tenant),
        ("no tenant", with_claim("tid", Value::Null), EntraError::Tenant),
        ("expired", with_claim("exp", json!(NOW)), EntraError::Expired),
        ("no expiry", with_claim("exp", Value::Null), EntraError::Malformed),
        ("not valid yet", with_claim("nbf", json!(NOW + 1)), EntraError::NotYetValid),
        ("roles that are not a list", with_claim("roles", json!("*")), EntraError::Malformed),
        ("algorithm none", with_header("alg", json!("none")), EntraError::Algorithm),
        ("symmetric algorithm", with_header("alg", json!("HS256")), EntraError::Algorithm),
        ("another key type", with_header("alg", json!("RS256")), EntraError::Algorithm),
        ("another key", with_header("kid", json!("k2")), EntraError::UnknownKey),
        ("an encryption key", with_header("kid", json!("for-encryption")), EntraError::UnknownKey),
        ("no key", with_header("kid", Value::Null), EntraError::Malformed),
        ("an extension", with_header("crit", json!(["exp"])), EntraError::Malformed),
        ("signed by another issuer", FakeIssuer::new().sign(&header(), &claims()), EntraError::Signature),
        ("empty", String::new(), EntraError::Malformed),
        ("too long", format!("{}.{}.x", "a".repeat(10_000), "b".repeat(10_000)), EntraError::Malformed),
    ] {
        assert_eq!(verify(&entra, &token).await, Err(expected), "{case}");
    }
    let unsigned = format!("{}.", message(&with_member(header(), "alg", json!("none")), &claims()));
    assert_eq!(verify(&entra, &unsigned).await, Err(EntraError::Algorithm));
    let unsigned = format!("{}.", message(&header(), &claims()));
    assert_eq!(verify(&entra, &unsigned).await, Err(EntraError::Signature));
}

#[tokio::test]
async fn a_token_with_any_changed_byte_is_refused() {
    let issuer = FakeIssuer::new();
    let entra = issuer.entra();
    let valid = issuer.sign(&header(), &claims());
    verify(&entra, &valid).await.unwrap();
    for index in 0..valid.len() {
        let mut changed = valid.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(verify(&entra, &changed).await.is_err(), "byte {index}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_cached_and_tokens_with_unknown_keys_do_not_trigger_fetches() {
    let issuer = FakeIssuer::new();
    let entra = issuer.entra();
    let valid = issuer.sign(&header(), &claims());
    for _ in 0..5 {
        verify(&entra, &valid).await.unwrap();
        let unknown_key = issuer.sign(&with_member(header(), "kid", json!("x")), &claims());
        assert_eq!(verify(&entra, &unknown_key).await, Err(EntraError::UnknownKey));
    }
    assert_eq!(issuer.fetches(), 1);
    // A new key is fetched once the minimum fetch interval has passed.
    *issuer.key_id.lock().unwrap() = "k2".to_owned();
    let rotated = issuer.sign(&with_member(header(), "kid", json!("k2")), &claims());
    assert_eq!(verify(&entra, &rotated).await, Err(EntraError::UnknownKey));
    tokio::time::advance(Duration::from_secs(31)).await;
    verify(&entra, &rotated).await.unwrap();
    assert_eq!(issuer.fetches(), 2);
    assert_eq!(
        verify(&entra, &valid).await,
        Err(EntraError::UnknownKey),
        "the old key is no longer in the set"
    );
}

#[tokio::test(start_paused = true)]
async fn cached_keys_are_used_for_a_week_while_the_issuer_is_unreachable() {
    let issuer = FakeIssuer::new();
    let entra = issuer.entra();
    let valid = issuer.sign(&header(), &claims());
    *issuer.unreachable.lock().unwrap() = true;
    assert_eq!(verify(&entra, &valid).await, Err(EntraError::KeysUnavailable));
    *issuer.unreachable.lock().unwrap() = false;
    tokio::time::advance(Duration::from_secs(31)).await;
    verify(&entra, &valid).await.unwrap();
    *issuer.unreachable.lock().unwrap() = true;
    tokio::time::advance(Duration::from_secs(6 * 24 * 3600)).await;
    verify(&entra, &valid).await.unwrap();
    tokio::time::advance(Duration::from_secs(2 * 24 * 3600)).await;
    assert_eq!(verify(&entra, &valid).await, Err(EntraError::UnknownKey));
}

/// An RSA key and a token signed with it, made with PyJWT.
const RSA_MODULUS: &str = "\
     39-PhyAr5he0xEEHSQIe5Wv2YF8CAfH4ZxetiQeH_ikCsvi8nCZs1fM6ak00VQ2H5DH7MQfjnuOE_FegnmWibSUR_fTivfGB\
     QUIppayRjZ97-J1Vow8hRHjHBv99sKdzG5bz_fo42Czbgl8G6HCMMgq55DsssCYX44EB6iuJL1BTSUP5sjjVCfAxTSCHWeq4\
     V5mX3pXr4bFSoko3l-8J_DwRFjvL_tj3sWKu2Y7X5bIsDiS8BfR8xqa0lkxB1jOW6LN55f8C06iwm1bDo0a3BcgeIql7GgNs\
     13c_r5oOLtNYi7nmNoidpUIiuHpm2lh4-aafI9iuaAs2nB2N4Di4kQ";
const RSA_TOKEN: &str = "\
     eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUvdGV\
     uYW50L3YyLjAiLCJhdWQiOiJodHRwczovL2lvdGh1YnMuYXp1cmUubmV0IiwidGlkIjoidGVuYW50Iiwib2lkIjoicm9ib3Q\
     iLCJleHAiOjE4MDAwMDAwMTAsInJvbGVzIjpbIklvVCBIdWIgRGF0YSBSZWFkZXIiXX0.JrYjw5mKvHGYyCExXYjzOdFgwjb\
     rCzhnnGKA4-dqSQEryOy-wQDc_6g5SjIdjOT0GIcgTZq93thDTZBAs5LCrOlsWza0bNavBOG1mwE_asp0T_MIIclLOTlDgAi\
     iY0AR8KdROdKzRaH0l3Hd12sCfNt76JAhgzAAahlb-QT_YuYC5SAzznY8fA5OB2iMBLA7hBE7NMCjlpDdG5KGXXbUKV2Pmf0\
     W6sw6zb_a4hSeSi4A2nnvB8ivcUj2AyyT74mTxryUAxiloZE8YIxedG12EZlYUDRg0GYKyKeQm3SSSoK7CAVPwLq_bIMnz-r\
     SEmDJtIKgbv-y9bgWhfZosl279g";

#[derive(Debug)]
struct RsaIssuer;

#[async_trait]
impl KeySource for RsaIssuer {
    async fn keys(&self, _: &str) -> Result<KeySet, KeySourceError> {
        let set = json!({ "keys": [{ "kid": "rsa", "kty": "RSA", "alg": "RS256", "n": RSA_MODULUS, "e": "AQAB" }] });
        Ok(KeySet::from_json(set.to_string().as_bytes()).unwrap())
    }
}

#[tokio::test]
async fn a_token_signed_with_rsa_is_verified() {
    let issuer = Issuer { issuer: ISSUER.to_owned(), tenant: None };
    let settings = EntraSettings { issuers: vec![issuer], ..EntraSettings::default() };
    let entra = EntraTokenVerifier::new(settings, Arc::new(RsaIssuer));
    assert_eq!(verify(&entra, RSA_TOKEN).await.unwrap().actions, ["*/read"]);
    let (message, _) = RSA_TOKEN.rsplit_once('.').unwrap();
    let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode([7; 256]));
    assert_eq!(verify(&entra, &forged).await, Err(EntraError::Signature));
}
