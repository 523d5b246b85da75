//! `ferrohub ca export`: the certificate that devices and services must trust to connect to this hub.

use std::fs;

use anyhow::{Context as _, bail};
use ferrohub_core::auth::{certificate_subject_and_issuer, thumbprint_sha256};
use ferrohub_gateway::tls::PrivateCa;
use ferrohub_model::pem;
use serde_json::json;

use crate::config::Config;
use crate::output::{Output, note, print_line};

/// Prints the certificate to standard output, and its SHA-256 to standard error.
pub(super) fn run(config: &Config, output: Output) -> anyhow::Result<()> {
    let path = match &config.tls.certificate {
        Some(path) => path.clone(),
        None => PrivateCa::new(&config.data_dir.join("tls"), Vec::new()).certificate_path(),
    };
    let bytes = fs::read(&path).with_context(|| match config.tls.certificate {
        Some(_) => format!("cannot read {}", path.display()),
        None => format!(
            "cannot read {}; the hub creates it at its first start, and --data-dir names the folder",
            path.display()
        ),
    })?;
    let certificates = pem::certificates(&bytes).with_context(|| path.display().to_string())?;
    let mut issuer = String::new();
    let mut found = None;
    for der in certificates {
        let (subject, issued_by) =
            certificate_subject_and_issuer(&der).with_context(|| path.display().to_string())?;
        if subject == issued_by {
            found = Some(der);
        }
        issuer = issued_by;
    }
    let Some(der) = found else {
        bail!(
            "the hub's certificate in {} is from {issuer:?}, whose certificate is not in the file; clients need the \
             certificate of that authority, if their system does not trust it",
            path.display()
        );
    };
    let sha256 = thumbprint_sha256(&der);
    let text = pem::encode_certificates(&[der]);
    match output {
        Output::Json => {
            print_line(&serde_json::to_string_pretty(&json!({ "certificate": text, "sha256": sha256 }))?)
        }
        Output::Table => {
            print_line(&text)?;
            note(&format!("SHA-256 {sha256}"));
            Ok(())
        }
    }
}
