//! TLS: the server certificate, and client certificates, which are requested but not required.

mod client_certificates;
mod handshake_failure;
mod private_ca;
mod server_certificate;
mod stream;

pub(crate) use handshake_failure::{HandshakeError, plaintext};
pub use private_ca::{CertificateFiles, PkiError, PrivateCa};
pub use server_certificate::{RequiredHost, ServerCertificate, server_config};
pub(crate) use stream::TlsStream;
