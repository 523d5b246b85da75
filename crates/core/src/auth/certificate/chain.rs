//! Verification of a certificate chain, with a bound on its cost.
//!
//! webpki tries every path from the leaf to an authority. With several certificates of one name there are very many, and
//! an unauthenticated client chooses the certificates. So webpki gets a line: at most one certificate per name, each the
//! issuer of the one before. Then there is one path, with at most one signature per certificate and per authority that
//! has the name of its issuer.

use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::Timestamp;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, VerifiedPath};
use x509_parser::prelude::X509Certificate;

use super::name::shown;
use super::{Authority, CertificateError, parse, period, validity};

/// Maximum number of intermediate certificates that a device may send.
pub(super) const MAX_INTERMEDIATES: usize = 4;

type Algorithms<'a> = &'a [&'a dyn SignatureVerificationAlgorithm];

/// A chain that leads to a verified authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issued {
    /// The name of the authority.
    pub(super) authority: Arc<str>,
    /// The earliest end of validity of the authority and the intermediate certificates.
    pub(super) end: Timestamp,
}

/// An intermediate certificate that may issue certificates.
struct Link<'a> {
    der: &'a CertificateDer<'a>,
    certificate: EndEntityCert<'a>,
}

/// An intermediate certificate that may not issue certificates.
struct Unusable {
    /// The subject as in DER, without the outer header.
    subject: Vec<u8>,
    reason: CertificateError,
}

/// Verifies that `chain`, the leaf first, leads to one of the `authorities` that is verified and valid.
pub(super) fn verify(
    chain: &[CertificateDer<'_>],
    authorities: &[&Authority],
    now: Timestamp,
    algorithms: Algorithms<'_>,
) -> Result<Issued, CertificateError> {
    let (leaf_der, rest) = chain.split_first().ok_or(CertificateError::Unreadable)?;
    let leaf = leaf(leaf_der)?;
    let sent: Vec<&CertificateDer<'_>> = rest
        .iter()
        // Devices may send the authority along.
        .filter(|der| authorities.iter().all(|authority| authority.certificate != **der))
        .collect();
    if sent.len() > MAX_INTERMEDIATES {
        return Err(CertificateError::ChainTooLong(MAX_INTERMEDIATES));
    }
    let mut links = Vec::new();
    let mut unusable = Vec::new();
    for der in sent {
        match link(der, now)? {
            Ok(link) => links.push(link),
            Err(reason) => unusable.push(reason),
        }
    }
    let trusted: Vec<&Authority> =
        authorities.iter().copied().filter(|a| a.verified && a.is_valid_at(now)).collect();
    let line = line(leaf.issuer(), &links, &trusted);
    let issuers: Vec<&Authority> = trusted
        .iter()
        .copied()
        .filter(|authority| {
            let subject = authority.anchor.subject.as_ref();
            leaf.issuer() == subject || line.iter().any(|link| link.certificate.issuer() == subject)
        })
        .collect();
    if issuers.is_empty() {
        return Err(missing_issuer(leaf_der, &leaf, &links, &unusable, authorities));
    }
    let anchors: Vec<TrustAnchor<'_>> = issuers.iter().map(|authority| authority.anchor.clone()).collect();
    let intermediates: Vec<CertificateDer<'_>> = line.iter().map(|link| link.der.clone()).collect();
    let path = verify_path(&leaf, &intermediates, &anchors, now, algorithms)?;
    let authority = anchors
        .iter()
        .zip(&issuers)
        .find_map(|(anchor, authority)| std::ptr::eq(anchor, path.anchor()).then_some(*authority))
        .ok_or_else(|| CertificateError::Chain("no authority".into()))?;
    let mut end = authority.validity.1;
    let mut length = 0;
    for intermediate in path.intermediate_certificates() {
        let der = intermediate.der();
        end = end.min(period(&parse(&der)?).1);
        length += 1;
    }
    // webpki does not know the constraints of an authority itself.
    if authority.path_length.is_some_and(|longest| length > longest) {
        return Err(CertificateError::PathLength);
    }
    Ok(Issued { authority: authority.name.clone(), end })
}

/// Verifies that `authority` itself issued `leaf`, whether or not the authority is verified.
pub(super) fn verify_issued_by(
    leaf_der: &CertificateDer<'_>,
    authority: &Authority,
    now: Timestamp,
) -> Result<(), CertificateError> {
    let leaf = leaf(leaf_der)?;
    validity(&parse(leaf_der)?, now)?;
    if leaf.issuer() != authority.anchor.subject.as_ref() {
        return Err(missing_issuer(leaf_der, &leaf, &[], &[], &[]));
    }
    let anchors = std::slice::from_ref(&authority.anchor);
    verify_path(&leaf, &[], anchors, now, webpki::ALL_VERIFICATION_ALGS).map(|_| ())
}

/// Parses a leaf, which must not be a CA certificate.
fn leaf<'a>(der: &'a CertificateDer<'a>) -> Result<EndEntityCert<'a>, CertificateError> {
    let parsed = parse(der)?;
    let leaf = EndEntityCert::try_from(der).map_err(|error| match error {
        webpki::Error::UnsupportedCertVersion => CertificateError::Version1,
        webpki::Error::UnsupportedCriticalExtension => {
            CertificateError::Critical(critical_extension(&parsed))
        }
        _ => CertificateError::Unreadable,
    })?;
    // TLS took the key from one parser, and the signatures are verified over what the other one reads.
    if leaf.subject_public_key_info().as_ref() != parsed.public_key().raw {
        return Err(CertificateError::Unreadable);
    }
    if parsed.is_ca() {
        return Err(CertificateError::IsAuthority);
    }
    Ok(leaf)
}

/// Returns the OID of the first critical extension that webpki does not know.
fn critical_extension(certificate: &X509Certificate<'_>) -> String {
    const KNOWN: [&str; 6] = ["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.31", "2.5.29.37"];
    certificate
        .extensions()
        .iter()
        .filter(|extension| extension.critical)
        .map(|extension| extension.oid.to_id_string())
        .find(|oid| !KNOWN.contains(&oid.as_str()))
        .map_or_else(String::new, |oid| shown(&oid))
}

/// Returns whether an intermediate certificate may issue certificates.
fn link<'a>(
    der: &'a CertificateDer<'a>,
    now: Timestamp,
) -> Result<Result<Link<'a>, Unusable>, CertificateError> {
    let parsed = parse(der)?;
    let subject = || shown(&parsed.subject().to_string());
    let reason = match (EndEntityCert::try_from(der), parsed.key_usage()) {
        _ if !parsed.is_ca() => CertificateError::IntermediateNotAuthority(subject()),
        (Err(_), _) | (_, Err(_)) => CertificateError::IntermediateUnreadable(subject()),
        // webpki does not look at it.
        (_, Ok(Some(usage))) if !usage.value.key_cert_sign() => {
            CertificateError::IntermediateUsage(subject())
        }
        _ if validity(&parsed, now).is_err() => CertificateError::IntermediateValidity(subject()),
        (Ok(certificate), _) => return Ok(Ok(Link { der, certificate })),
    };
    let subject = content(parsed.subject().as_raw()).to_vec();
    Ok(Err(Unusable { subject, reason }))
}

/// Returns the content of a DER element, which is the form of names in webpki.
fn content(element: &[u8]) -> &[u8] {
    use x509_parser::prelude::FromDer as _;
    x509_parser::asn1_rs::Any::from_der(element).map_or(&[], |(_, element)| element.data)
}

/// Returns the certificates that lead from `issuer` to an authority: at most one per name, in the order of the path.
/// The order in which they were sent does not matter, except between two of one name.
fn line<'l, 'a>(issuer: &[u8], links: &'l [Link<'a>], trusted: &[&Authority]) -> Vec<&'l Link<'a>> {
    // Those from which an authority can be reached, by name. A certificate that an unrelated CA issued is none of them.
    let mut leading: Vec<&Link<'_>> = Vec::new();
    for _ in links {
        for link in links {
            let issuer = link.certificate.issuer();
            let is_known = leading.iter().any(|known| std::ptr::eq(*known, link));
            let leads = trusted.iter().any(|authority| authority.anchor.subject.as_ref() == issuer)
                || leading.iter().any(|known| known.certificate.subject() == issuer);
            if leads && !is_known {
                leading.push(link);
            }
        }
    }
    let mut line: Vec<&Link<'_>> = Vec::new();
    let mut issuer = issuer;
    while let Some(next) = links.iter().find(|link| {
        link.certificate.subject() == issuer
            && leading.iter().any(|known| std::ptr::eq(*known, *link))
            && line.iter().all(|earlier| earlier.certificate.subject() != issuer)
    }) {
        line.push(next);
        issuer = next.certificate.issuer();
    }
    line
}

/// Returns why no certificate in the chain was issued by a trusted authority.
fn missing_issuer(
    leaf_der: &CertificateDer<'_>,
    leaf: &EndEntityCert<'_>,
    links: &[Link<'_>],
    unusable: &[Unusable],
    authorities: &[&Authority],
) -> CertificateError {
    let (mut last, mut issuer) = (leaf_der, leaf.issuer());
    // Follows the names upwards. The number of steps is limited, because names may form a circle.
    for _ in 0..=links.len() {
        if let Some(found) = unusable.iter().find(|certificate| certificate.subject == issuer) {
            return found.reason.clone();
        }
        if let Some(authority) = authorities.iter().find(|a| a.anchor.subject.as_ref() == issuer) {
            let name = authority.name.to_string();
            return match authority.verified {
                true => CertificateError::AuthorityValidity(name),
                false => CertificateError::NotVerified(name),
            };
        }
        match links.iter().find(|link| link.certificate.subject() == issuer) {
            Some(link) => (last, issuer) = (link.der, link.certificate.issuer()),
            None => break,
        }
    }
    let issuer = parse(last).map_or_else(|_| String::new(), |parsed| shown(&parsed.issuer().to_string()));
    CertificateError::UnknownAuthority { issuer, alone: links.is_empty() && unusable.is_empty() }
}

/// Accepts any extended key usage. Device certificates are made with many tools: many have no extended key usage, some
/// only server authentication. Only the chain matters, as in Azure.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

fn verify_path<'p>(
    leaf: &'p EndEntityCert<'p>,
    intermediates: &'p [CertificateDer<'p>],
    anchors: &'p [TrustAnchor<'_>],
    now: Timestamp,
    algorithms: Algorithms<'_>,
) -> Result<VerifiedPath<'p>, CertificateError> {
    let seconds = u64::try_from(now.unix_seconds()).unwrap_or(0);
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    leaf.verify_for_usage(algorithms, anchors, intermediates, time, AnyUsage, None, None).map_err(|error| {
        use webpki::Error;
        match error {
            Error::CaUsedAsEndEntity => CertificateError::IsAuthority,
            Error::InvalidSignatureForPublicKey => CertificateError::Signature,
            Error::UnsupportedSignatureAlgorithmContext(_)
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => CertificateError::Algorithm,
            Error::PathLenConstraintViolated => CertificateError::PathLength,
            Error::NameConstraintViolation => CertificateError::NameConstraints,
            other => CertificateError::Chain(shown(&format!("{other:?}"))),
        }
    })
}
