//! Why a certificate is not accepted.

use ferrohub_model::Timestamp;

/// Why a certificate is not accepted. "It" is the certificate that was presented.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The DER encoding is not a valid certificate.
    #[error("it cannot be parsed")]
    Unreadable,
    /// The identity does not list the certificate's thumbprint.
    #[error("its thumbprint is not one of the identity's thumbprints")]
    Thumbprint,
    /// The current time is outside the certificate's validity period.
    #[error("it is expired or not yet valid: it is valid from {from} to {to}")]
    Validity {
        /// Not before.
        from: Timestamp,
        /// Not after.
        to: Timestamp,
    },
    /// The subject has no common name, several, or one that cannot be read.
    #[error("its subject must have exactly one common name, which is the id of the identity")]
    NoCommonName,
    /// The common name is not the id of the identity.
    #[error("its common name {0:?} is not the id of the identity")]
    CommonName(String),
    /// The common name of a proof of possession is not the verification code.
    #[error("its common name is not the verification code")]
    VerificationCode,
    /// An X.509 version 1 certificate has no extensions.
    #[error(
        "it is an X.509 version 1 certificate, which no authority can vouch for; issue it as version 3, for example \
         with openssl x509 -req … -extfile FILE and basicConstraints=CA:FALSE in FILE, or register the device by \
         thumbprint"
    )]
    Version1,
    /// An extension is critical and unknown.
    #[error(
        "its extension {0} is marked critical and is not known to this hub; issue it without \"critical\", or register \
         the device by thumbprint"
    )]
    Critical(String),
    /// A device presented a CA certificate.
    #[error("it is a CA certificate (basicConstraints CA:TRUE); the certificate of a device has CA:FALSE")]
    IsAuthority,
    /// The certificate chain does not lead to a CA of this hub.
    #[error("no verified certificate authority of this hub issued it: {issuer:?}, the issuer of the last certificate \
             of its chain, is not one{}", if *.alone { "; if that is an intermediate CA, the device must send its \
             certificate as well" } else { "" })]
    UnknownAuthority {
        /// The issuer where the chain stops.
        issuer: String,
        /// Whether the device sent no other certificate.
        alone: bool,
    },
    /// A CA with the issuer's name is not verified.
    #[error(
        "the certificate authority {0} with the name of its issuer is not verified yet: run ferrohub ca verify {0}"
    )]
    NotVerified(String),
    /// A CA with the issuer's name is outside its validity period.
    #[error("the certificate authority {0} with the name of its issuer is expired or not yet valid")]
    AuthorityValidity(String),
    /// An intermediate certificate does not have the key usage.
    #[error(
        "the intermediate certificate {0:?} may not issue certificates: its keyUsage lacks keyCertSign; issue it with \
         keyUsage=critical,keyCertSign"
    )]
    IntermediateUsage(String),
    /// An intermediate certificate is not a CA certificate.
    #[error(
        "the intermediate certificate {0:?} may not issue certificates: it has no basicConstraints CA:TRUE"
    )]
    IntermediateNotAuthority(String),
    /// An intermediate certificate is outside its validity period.
    #[error("the intermediate certificate {0:?} is expired or not yet valid")]
    IntermediateValidity(String),
    /// An intermediate certificate cannot be used.
    #[error("the intermediate certificate {0:?} cannot be parsed, or has an unknown critical extension")]
    IntermediateUnreadable(String),
    /// More intermediate certificates than the hub searches.
    #[error("the device sends more than {0} intermediate certificates")]
    ChainTooLong(usize),
    /// A CA limits the number of CAs below it.
    #[error("an authority above it allows fewer authorities below itself (pathlen) than the chain has")]
    PathLength,
    /// A name is outside the name constraints of a CA.
    #[error("an authority above it may not issue certificates for its names (nameConstraints)")]
    NameConstraints,
    /// The signature is not the issuer's.
    #[error("its signature, or that of an intermediate certificate, is not made with the key of its issuer")]
    Signature,
    /// The algorithm of a signature is not supported.
    #[error(
        "it, or an intermediate certificate, is signed in a way that this hub does not accept (SHA-1, RSA below 2048 \
         bits, P-521); use SHA-256 or better with RSA, P-256, P-384 or Ed25519"
    )]
    Algorithm,
    /// Another reason of webpki.
    #[error("its chain cannot be verified: {0}")]
    Chain(String),
    /// The verification did not finish.
    #[error("its verification was interrupted")]
    Interrupted,
    /// The certificate is not a CA certificate.
    #[error("it is not a CA certificate: basicConstraints CA:TRUE is missing")]
    NotAnAuthority,
    /// A version 1 certificate cannot be a CA certificate.
    #[error(
        "it is an X.509 version 1 certificate; a CA certificate needs version 3 with basicConstraints=critical,CA:TRUE"
    )]
    AuthorityVersion1,
    /// The CA certificate does not have the key usage.
    #[error("it may not issue certificates: its keyUsage lacks keyCertSign")]
    AuthorityUsage,
}
