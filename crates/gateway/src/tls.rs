//! TLS: the server's certificate, and client certificates that are asked for but never required.

mod client_certificates;
mod private_ca;
mod server_certificate;
mod stream;

pub use private_ca::{CertificateFiles, PkiError, PrivateCa};
pub use server_certificate::{ServerCertificate, server_config};
pub(crate) use stream::TlsStream;
