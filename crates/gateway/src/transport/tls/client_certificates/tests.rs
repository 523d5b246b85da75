use std::io;
use std::sync::Arc;

use rcgen::{
    CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, PKCS_RSA_SHA256,
};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::TlsConnector;

use super::super::TlsStream;
use super::*;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// ring makes no RSA keys.
const RSA_2048: &str = include_str!("rsa2048.key");

/// Runs a handshake in which the client presents `chain` and signs with `key`. Returns the certificates that the server
/// knows afterwards.
async fn handshake(
    version: &'static SupportedProtocolVersion,
    chain: &[CertificateDer<'static>],
    key: &KeyPair,
) -> io::Result<Vec<CertificateDer<'static>>> {
    let provider = Arc::new(default_provider());
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(Arc::new(OptionalClientAuth::new(provider.clone())))
        .with_single_cert(
            vec![own.cert.der().clone()],
            PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let key = any_supported_type(&PrivateKeyDer::try_from(key.serialize_der()).unwrap()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_webpki_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain.to_vec(), key))));
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let (_client, server) =
        tokio::join!(connector.connect(name, near), TlsStream::accept(far, Arc::new(server)));
    Ok(server?.peer_certificates().unwrap_or_default().to_vec())
}

/// Returns the tag, the content and the rest of the first DER element.
fn element(der: &[u8]) -> (u8, &[u8], &[u8]) {
    let (header, length) = match der[1] {
        short @ 0..128 => (2, usize::from(short)),
        long => {
            let bytes = usize::from(long & 127);
            (2 + bytes, der[2..2 + bytes].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    };
    (der[0], &der[header..header + length], &der[header + length..])
}

fn sequence(content: &[u8]) -> Vec<u8> {
    let header = match content.len() {
        length @ 0..128 => vec![0x30, u8::try_from(length).unwrap()],
        length @ 128..256 => vec![0x30, 0x81, u8::try_from(length).unwrap()],
        length => [&[0x30, 0x82][..], &u16::try_from(length).unwrap().to_be_bytes()].concat(),
    };
    [&header, content].concat()
}

/// The same certificate as version 1: without version and extensions. The signature no longer fits, which the
/// handshake does not look at.
fn version_1(der: &[u8]) -> Vec<u8> {
    let (_, certificate, _) = element(der);
    let (_, mut fields, signature) = element(certificate);
    let mut kept = Vec::new();
    while !fields.is_empty() {
        let (tag, _, rest) = element(fields);
        if tag != 0xa0 && tag != 0xa3 {
            kept.extend_from_slice(&fields[..fields.len() - rest.len()]);
        }
        fields = rest;
    }
    sequence(&[&sequence(&kept), signature].concat())
}

fn keys() -> Vec<(&'static str, KeyPair)> {
    let generate = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    vec![
        ("P-256", generate(&PKCS_ECDSA_P256_SHA256)),
        ("P-384", generate(&PKCS_ECDSA_P384_SHA384)),
        ("Ed25519", generate(&PKCS_ED25519)),
        ("RSA-2048", KeyPair::from_pem_and_sign_algo(RSA_2048, &PKCS_RSA_SHA256).unwrap()),
    ]
}

fn extension(oid: &[u64], content: &[u8], critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(critical);
    extension
}

/// Certificates that clients present, of every kind that webpki cannot read, and one that it can.
fn certificates(key: &KeyPair) -> Vec<(&'static str, CertificateDer<'static>)> {
    let with = |extensions: Vec<CustomExtension>| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "device");
        params.custom_extensions = extensions;
        params.self_signed(key).unwrap().der().clone()
    };
    let plain = with(Vec::new());
    vec![
        ("version 1", version_1(&plain).into()),
        ("version 3", plain),
        ("unknown critical extension", with(vec![extension(&[1, 2, 3, 4], &[5, 0], true)])),
        ("malformed subjectAltName", with(vec![extension(&[2, 5, 29, 17], &[0x30, 3, 0x99, 9, 1], false)])),
    ]
}

#[tokio::test]
async fn only_the_key_of_a_certificate_matters_in_the_handshake() {
    for (algorithm, key) in keys() {
        for (kind, certificate) in certificates(&key) {
            for version in VERSIONS {
                let known = handshake(version, std::slice::from_ref(&certificate), &key).await;
                let known = known.unwrap_or_else(|error| panic!("{kind}, {algorithm}, {version:?}: {error}"));
                assert_eq!(known, std::slice::from_ref(&certificate), "{kind}, {algorithm}, {version:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_client_without_the_private_key_of_its_certificate_is_refused() {
    for (algorithm, key) in keys() {
        // RSA has only one key here: there, another kind of key signs.
        let other = match algorithm {
            "P-384" => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
            "Ed25519" => KeyPair::generate_for(&PKCS_ED25519).unwrap(),
            _ => KeyPair::generate().unwrap(),
        };
        for (kind, certificate) in certificates(&key) {
            for version in VERSIONS {
                let error = handshake(version, std::slice::from_ref(&certificate), &other).await.unwrap_err();
                let reason = refusal(&error).unwrap_or_else(|| panic!("{error}")).reason;
                assert_eq!(reason, "certificate_key", "{kind}, {algorithm}, {version:?}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn an_rsa_key_that_is_too_short_is_named() {
    let certificate = CertificateDer::from(include_bytes!("rsa1024.der").to_vec());
    let key = KeyPair::from_pem_and_sign_algo(RSA_2048, &PKCS_RSA_SHA256).unwrap();
    for version in VERSIONS {
        let error = handshake(version, std::slice::from_ref(&certificate), &key).await.unwrap_err();
        let refusal = refusal(&error).unwrap();
        assert_eq!(refusal.reason, "certificate_key");
        assert!(refusal.error.contains("RSA below 2048 bits"), "{refusal:?}");
    }
}

#[tokio::test]
async fn what_is_no_certificate_is_refused() {
    let key = KeyPair::generate().unwrap();
    let (_, valid) = certificates(&key).remove(1);
    for (kind, der) in [
        ("nothing", Vec::new()),
        ("text", b"certificate".to_vec()),
        ("cut off", valid[..valid.len() - 1].to_vec()),
        ("more behind it", [&valid, &[0][..]].concat()),
    ] {
        for version in VERSIONS {
            let error = handshake(version, &[CertificateDer::from(der.clone())], &key).await.unwrap_err();
            // rustls itself refuses an empty certificate.
            let reason = refusal(&error).map(|refusal| refusal.reason);
            let expected = if kind == "nothing" { reason } else { Some("certificate_unreadable") };
            assert_eq!(reason, expected, "{kind}, {version:?}: {error}");
        }
    }
}

#[tokio::test]
async fn more_than_eight_certificates_are_refused() {
    let key = KeyPair::generate().unwrap();
    let (_, certificate) = certificates(&key).remove(1);
    let chain = vec![certificate; MAX_CHAIN + 1];
    for version in VERSIONS {
        assert_eq!(handshake(version, &chain[1..], &key).await.unwrap().len(), MAX_CHAIN);
        let error = handshake(version, &chain, &key).await.unwrap_err();
        assert_eq!(refusal(&error).unwrap().reason, "certificate_chain", "{error}");
    }
}
