//! TLS: the server certificate, and client certificates, which are requested but not required.

mod client_certificates;
mod private_ca;
mod server_certificate;
mod stream;

pub(crate) use client_certificates::refusal;
pub use private_ca::{CertificateFiles, PkiError, PrivateCa};
pub use server_certificate::{RequiredHost, ServerCertificate, server_config};
pub(crate) use stream::TlsStream;
