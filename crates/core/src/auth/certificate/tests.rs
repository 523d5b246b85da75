use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::string::{BmpString, Ia5String, PrintableString, TeletexString, UniversalString};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, DnValue, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

use super::chain::{self, MAX_INTERMEDIATES};
use super::*;

type Der = CertificateDer<'static>;
type Ca = CertifiedIssuer<'static, KeyPair>;

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000)
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn params(common_name: impl Into<DnValue>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn root(name: &str) -> Ca {
    Ca::self_signed(ca_params(name), key()).unwrap()
}

fn below(issuer: &Ca, params: CertificateParams) -> Ca {
    Ca::signed_by(params, key(), issuer).unwrap()
}

fn leaf(issuer: &Issuer<'_, KeyPair>, params: CertificateParams) -> Der {
    params.signed_by(&key(), issuer).unwrap().der().clone()
}

fn authority(name: &str, ca: &Ca) -> Authority {
    Authority::new(name, ca.der().to_vec(), true, true).unwrap()
}

fn verify(chain: &[&Der], authorities: &[&Authority]) -> Result<String, CertificateError> {
    let chain: Vec<Der> = chain.iter().map(|der| (*der).clone()).collect();
    chain::verify(&chain, authorities, now(), webpki::ALL_VERIFICATION_ALGS)
        .map(|issued| issued.authority.to_string())
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

/// The same certificate as version 1: without version and extensions. The signature does not fit any more.
fn version_1(der: &[u8]) -> Der {
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
    sequence(&[&sequence(&kept), signature].concat()).into()
}

#[test]
fn a_common_name_is_read_in_every_encoding() {
    let root = root("Root");
    let name = |value: DnValue| {
        let der = leaf(&root, params(value));
        super::name::common_name(&parse(&der).unwrap()).map(|name| name.into_owned())
    };
    for value in [
        DnValue::Utf8String("dev-1".into()),
        DnValue::PrintableString(PrintableString::try_from("dev-1").unwrap()),
        DnValue::Ia5String(Ia5String::try_from("dev-1").unwrap()),
        DnValue::TeletexString(TeletexString::try_from("dev-1").unwrap()),
        DnValue::BmpString(BmpString::try_from("dev-1").unwrap()),
        DnValue::UniversalString(UniversalString::try_from("dev-1").unwrap()),
    ] {
        assert_eq!(name(value.clone()).as_deref(), Ok("dev-1"), "{value:?}");
    }
    let odd = BmpString::from_utf16be(vec![0, b'a', 0, b'b']).unwrap();
    assert_eq!(name(DnValue::BmpString(odd)).as_deref(), Ok("ab"));
    assert_eq!(name(DnValue::Utf8String("dev-1\0".into())).as_deref(), Ok("dev-1\0"), "as it is");
    let der = leaf(&root, CertificateParams::default());
    let two = {
        let mut params = params("dev-1");
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "dev-1");
        leaf(&root, params)
    };
    for der in [der, two] {
        let name = super::name::common_name(&parse(&der).unwrap()).map(|name| name.into_owned());
        assert!(matches!(
            name.as_deref(),
            Err(CertificateError::NoCommonName) | Ok("rcgen self signed cert")
        ));
    }
}

#[test]
fn chains_are_accepted_in_any_order() {
    let root = root("Root");
    let upper = below(&root, ca_params("Upper"));
    let lower_key = key();
    let lower = Ca::signed_by(ca_params("Lower"), lower_key, &upper).unwrap();
    // The upper one has a second certificate from a root that this hub does not know.
    let unrelated = Ca::self_signed(ca_params("Unrelated"), key()).unwrap();
    let cross = ca_params("Upper").signed_by(upper.key(), &unrelated).unwrap().der().clone();
    // An earlier certificate of the lower one has expired.
    let expired = {
        let mut params = ca_params("Lower");
        params.not_after = date_time_ymd(2021, 1, 1);
        params.signed_by(&key(), &upper).unwrap().der().clone()
    };
    let own = authority("fleet", &root);
    let device = leaf(&lower, params("dev-1"));
    let direct = leaf(&root, params("dev-1"));
    for chain in [
        vec![&direct],
        vec![&direct, root.der()],
        vec![&device, lower.der(), upper.der()],
        vec![&device, upper.der(), lower.der()],
        vec![&device, lower.der(), upper.der(), root.der()],
        vec![&device, &cross, upper.der(), lower.der()],
        vec![&device, &expired, lower.der(), upper.der()],
    ] {
        assert_eq!(verify(&chain, &[&own]), Ok("fleet".into()), "{}", chain.len());
    }
}

#[test]
fn the_earliest_end_of_the_chain_counts() {
    let root = root("Root");
    let mut short = ca_params("Short");
    short.not_after = date_time_ymd(2040, 1, 1);
    let short = below(&root, short);
    let chain = [leaf(&short, params("dev-1")), short.der().clone()];
    let own = authority("fleet", &root);
    let issued = chain::verify(&chain, &[&own], now(), webpki::ALL_VERIFICATION_ALGS).unwrap();
    assert_eq!(issued.end, Timestamp::from_unix_seconds(date_time_ymd(2040, 1, 1).unix_timestamp()));
}

#[test]
fn a_chain_that_is_not_accepted_is_refused_with_its_reason() {
    let root = root("Root");
    let own = authority("fleet", &root);
    let device = || params("dev-1");
    let with_intermediate = |params: CertificateParams| {
        let intermediate = below(&root, params);
        vec![leaf(&intermediate, device()), intermediate.der().clone()]
    };
    let critical = {
        let mut params = device();
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions = vec![extension];
        params
    };
    let no_sign = {
        let mut params = ca_params("Middle");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params
    };
    let old = {
        let mut params = ca_params("Middle");
        params.not_after = date_time_ymd(2021, 1, 1);
        params
    };
    let middle = below(&root, ca_params("Middle"));
    let twin = Ca::self_signed(ca_params("Root"), key()).unwrap();
    let unrelated = Ca::self_signed(ca_params("Unrelated"), key()).unwrap();
    let long: Vec<Der> = {
        let mut chain = vec![middle.der().clone()];
        let mut last = middle;
        for n in 0..MAX_INTERMEDIATES {
            last = below(&last, ca_params(&format!("Middle {n}")));
            chain.push(last.der().clone());
        }
        chain.push(leaf(&last, device()));
        chain.reverse();
        chain
    };
    let middle = below(&root, ca_params("Middle"));
    let subject = || "CN=Middle".to_owned();
    for (chain, reason) in [
        (vec![version_1(&leaf(&root, device()))], CertificateError::Version1),
        (vec![leaf(&root, critical)], CertificateError::Critical("1.2.3.4".into())),
        (vec![leaf(&root, ca_params("dev-1"))], CertificateError::IsAuthority),
        (with_intermediate(no_sign), CertificateError::IntermediateUsage(subject())),
        (with_intermediate(params("Middle")), CertificateError::IntermediateNotAuthority(subject())),
        (with_intermediate(old), CertificateError::IntermediateValidity(subject())),
        (
            vec![leaf(&middle, device()), version_1(middle.der())],
            CertificateError::IntermediateNotAuthority(subject()),
        ),
        (
            vec![leaf(&middle, device())],
            CertificateError::UnknownAuthority { issuer: subject(), alone: true },
        ),
        (
            vec![leaf(&below(&unrelated, ca_params("Middle")), device()), unrelated.der().clone()],
            CertificateError::UnknownAuthority { issuer: subject(), alone: false },
        ),
        (
            vec![leaf(&unrelated, device())],
            CertificateError::UnknownAuthority { issuer: "CN=Unrelated".into(), alone: true },
        ),
        (vec![leaf(&twin, device())], CertificateError::Signature),
        (long, CertificateError::ChainTooLong(MAX_INTERMEDIATES)),
        (vec![Der::from(vec![1, 2, 3])], CertificateError::Unreadable),
        (Vec::new(), CertificateError::Unreadable),
    ] {
        let chain: Vec<&Der> = chain.iter().collect();
        assert_eq!(verify(&chain, &[&own]), Err(reason.clone()), "{reason}");
    }
}

#[test]
fn an_authority_that_may_not_vouch_is_named() {
    let root = root("Root");
    let device = leaf(&root, params("dev-1"));
    let unverified = Authority { verified: false, ..authority("fleet", &root) };
    assert_eq!(verify(&[&device], &[&unverified]), Err(CertificateError::NotVerified("fleet".into())));
    assert!(matches!(verify(&[&device], &[]), Err(CertificateError::UnknownAuthority { .. })));
    let mut old = ca_params("Root");
    old.not_after = date_time_ymd(2021, 1, 1);
    let old = Ca::self_signed(old, key()).unwrap();
    let device = leaf(&old, params("dev-1"));
    let expired = authority("fleet", &old);
    assert_eq!(verify(&[&device], &[&expired]), Err(CertificateError::AuthorityValidity("fleet".into())));
}

#[test]
fn the_path_length_of_an_authority_counts() {
    for (limit, accepted) in [(0, false), (1, true)] {
        let mut params_of_root = ca_params("Root");
        params_of_root.is_ca = IsCa::Ca(BasicConstraints::Constrained(limit));
        let root = Ca::self_signed(params_of_root, key()).unwrap();
        let own = authority("fleet", &root);
        assert!(verify(&[&leaf(&root, params("dev-1"))], &[&own]).is_ok());
        let middle = below(&root, ca_params("Middle"));
        let result = verify(&[&leaf(&middle, params("dev-1")), middle.der()], &[&own]);
        assert_eq!(result, if accepted { Ok("fleet".into()) } else { Err(CertificateError::PathLength) });
    }
}

#[test]
fn what_may_not_issue_certificates_is_no_authority() {
    let root = root("Root");
    let new = |der: &Der| Authority::new("fleet", der.to_vec(), true, true).err();
    assert_eq!(new(root.der()), None);
    assert_eq!(new(&leaf(&root, params("dev-1"))), Some(CertificateError::NotAnAuthority));
    assert_eq!(new(&version_1(root.der())), Some(CertificateError::AuthorityVersion1));
    let mut no_sign = ca_params("Root");
    no_sign.key_usages = vec![KeyUsagePurpose::CrlSign];
    assert_eq!(new(&leaf(&root, no_sign)), Some(CertificateError::AuthorityUsage));
    // What `openssl req -x509` makes has no key usage at all.
    let mut no_usage = ca_params("Root");
    no_usage.key_usages = Vec::new();
    assert_eq!(new(&leaf(&root, no_usage)), None);
}

#[test]
fn a_proof_of_possession_must_be_issued_for_the_code() {
    let root = root("Root");
    let mut own = authority("fleet", &root);
    own.verification_code = Some("C0DE".into());
    let proof = |der: &Der| own.verify_proof_of_possession(der, now());
    assert_eq!(proof(&leaf(&root, params("C0DE"))), Ok(()));
    assert_eq!(proof(&leaf(&root, params("c0de"))), Err(CertificateError::VerificationCode));
    assert_eq!(proof(&version_1(&leaf(&root, params("C0DE")))), Err(CertificateError::Version1));
    let twin = Ca::self_signed(ca_params("Root"), key()).unwrap();
    assert_eq!(proof(&leaf(&twin, params("C0DE"))), Err(CertificateError::Signature));
    let middle = below(&root, ca_params("Middle"));
    assert!(proof(&leaf(&middle, params("C0DE"))).is_err());
}

/// A signature algorithm that counts how often it is used.
#[derive(Debug)]
struct Counting {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    count: &'static AtomicUsize,
}

impl SignatureVerificationAlgorithm for Counting {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.algorithm.verify_signature(key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

/// Returns the result, and how many signatures were verified.
fn counted(chain: &[Der], authorities: &[&Authority]) -> (bool, usize) {
    let count: &'static AtomicUsize = Box::leak(Box::default());
    let algorithms: Vec<Counting> = webpki::ALL_VERIFICATION_ALGS
        .iter()
        .map(|algorithm| Counting { algorithm: *algorithm, count })
        .collect();
    let algorithms: Vec<&dyn SignatureVerificationAlgorithm> =
        algorithms.iter().map(|algorithm| algorithm as &dyn SignatureVerificationAlgorithm).collect();
    let result = chain::verify(chain, authorities, now(), &algorithms);
    (result.is_ok(), count.load(Ordering::Relaxed))
}

/// A client can send many certificates of one name, which have very many possible paths.
#[test]
fn the_search_for_an_authority_is_bounded() {
    let authorities: Vec<Authority> =
        (0..100).map(|n| format!("Root {n}")).map(|name| authority(&name, &root(&name))).collect();
    let authorities: Vec<&Authority> = authorities.iter().collect();
    for name in ["Root 1", "Other"] {
        let attacker = Issuer::new(ca_params(name), key());
        for sent in [MAX_INTERMEDIATES, 7] {
            let mut chain = vec![leaf(&attacker, params("dev-1"))];
            chain.extend((0..sent).map(|_| leaf(&attacker, ca_params(name))));
            let (accepted, signatures) = counted(&chain, &authorities);
            assert!(!accepted && signatures <= 2, "{name}, {sent}: {signatures}");
        }
    }
    // Each certificate has the name of an authority and names another one as its issuer.
    let issuer = |n: usize| Issuer::new(ca_params(&format!("Root {n}")), key());
    let mut chain = vec![leaf(&issuer(0), params("dev-1"))];
    chain.extend((0..MAX_INTERMEDIATES).map(|n| leaf(&issuer(n + 1), ca_params(&format!("Root {n}")))));
    let (accepted, signatures) = counted(&chain, &authorities);
    assert!(!accepted && signatures <= 5, "{signatures}");
}

#[test]
fn authorities_are_found_listed_and_replaced() {
    let authorities = Authorities::default();
    let names = || authorities.all().iter().map(|authority| authority.name.to_string()).collect::<String>();
    for name in ["b", "a"] {
        authorities.insert(authority(name, &root(name)));
    }
    assert_eq!((names().as_str(), &*authorities.get("a").unwrap().name), ("ab", "a"));
    assert!(authorities.get("c").is_none());
    let generation = authorities.generation();
    authorities.replace(vec![authority("c", &root("c"))]);
    assert!(names() == "c" && authorities.get("a").is_none() && authorities.generation() > generation);
}

#[test]
fn a_chain_may_have_the_maximum_number_of_intermediates() {
    let root = root("Root");
    let mut last = below(&root, ca_params("Middle 0"));
    let mut chain = vec![last.der().clone()];
    for n in 1..MAX_INTERMEDIATES {
        last = below(&last, ca_params(&format!("Middle {n}")));
        chain.push(last.der().clone());
    }
    chain.push(leaf(&last, params("dev-1")));
    chain.reverse();
    let chain: Vec<&Der> = chain.iter().collect();
    assert!(verify(&chain, &[&authority("fleet", &root)]).is_ok());
}

#[tokio::test]
async fn a_connection_verifies_its_chain_once() {
    let root = root("Root");
    let authorities = Authorities::default();
    authorities.insert(authority("fleet", &root));
    let generation = authorities.generation();
    let verifications = || authorities.verifications.load(Ordering::Relaxed);
    let peer = PeerCertificate::new(&[leaf(&root, params("dev-1"))]).unwrap();
    assert!(matches!(
        authorities.verify(&peer, "dev-2", now()).await,
        Err(CertificateError::CommonName(name)) if name == "dev-1"
    ));
    assert_eq!(verifications(), 0, "the name comes first, which costs no signature");
    let all = (0..50).map(|_| {
        let peer = peer.clone();
        async move { peer }
    });
    for peer in futures_util::future::join_all(all).await {
        assert_eq!(&*authorities.verify(&peer, "dev-1", now()).await.unwrap().0, "fleet");
    }
    let concurrent = (0..50).map(|_| authorities.verify(&peer, "dev-1", now()));
    assert!(futures_util::future::join_all(concurrent).await.iter().all(Result::is_ok));
    assert_eq!(verifications(), 1);
    // After a change of the authorities the result no longer counts.
    authorities.remove("fleet");
    assert!(authorities.generation() > generation);
    assert!(matches!(
        authorities.verify(&peer, "dev-1", now()).await,
        Err(CertificateError::UnknownAuthority { .. })
    ));
    assert!(authorities.verify(&peer, "dev-1", now()).await.is_err());
    assert_eq!(verifications(), 2, "a refusal is remembered, too");
    authorities.insert(authority("fleet", &root));
    assert!(authorities.verify(&peer, "dev-1", now()).await.is_ok());
    assert_eq!(verifications(), 3);
}

#[tokio::test]
async fn a_remembered_result_ends_with_the_validity_of_the_chain() {
    let mut short = ca_params("Root");
    short.not_after = date_time_ymd(2040, 1, 1);
    let root = Ca::self_signed(short, key()).unwrap();
    let authorities = Authorities::default();
    authorities.insert(authority("fleet", &root));
    let peer = PeerCertificate::new(&[leaf(&root, params("dev-1"))]).unwrap();
    assert!(authorities.verify(&peer, "dev-1", now()).await.is_ok());
    let end = Timestamp::from_unix_seconds(date_time_ymd(2040, 1, 1).unix_timestamp());
    let _ = authorities.verify(&peer, "dev-1", end).await;
    assert_eq!(authorities.verifications.load(Ordering::Relaxed), 2, "the result ends at that moment");
    let later = Timestamp::from_unix_seconds(date_time_ymd(2041, 1, 1).unix_timestamp());
    let refused = authorities.verify(&peer, "dev-1", later).await;
    assert_eq!(refused, Err(CertificateError::AuthorityValidity("fleet".into())));
}

#[test]
fn a_thumbprint_is_the_sha_1_or_sha_256_digest_of_the_leaf_alone() {
    let ca = root("the root");
    let leaf = leaf(&ca, params("the leaf"));
    let peer = PeerCertificate::new(&[leaf.clone(), ca.der().clone()]).unwrap();
    let thumbprint = |algorithm, der: &[u8]| {
        Thumbprint::parse(&HEXUPPER.encode(digest::digest(algorithm, der).as_ref())).unwrap()
    };
    for algorithm in [&digest::SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA256] {
        assert!(peer.has_thumbprint(&thumbprint(algorithm, &leaf)));
        assert!(!peer.has_thumbprint(&thumbprint(algorithm, ca.der())));
    }
}

#[test]
fn subject_and_issuer_are_those_of_the_certificate() {
    let ca = root("the root");
    let leaf = leaf(&ca, params("the leaf"));
    let (subject, issuer) = certificate_subject_and_issuer(&leaf).unwrap();
    assert_eq!((subject.as_str(), issuer.as_str()), ("CN=the leaf", "CN=the root"));
    assert!(certificate_subject_and_issuer(b"no certificate").is_err());
}
