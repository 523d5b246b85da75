//! Reads the certificate authorities of `[[device_ca]]`.

use std::collections::HashSet;
use std::fs;

use anyhow::{Context as _, bail};
use ferrohub_core::auth::Authority;
use ferrohub_model::pem;
use tracing::info;

use crate::config::AuthorityConfig;

/// Reads the files. Every certificate of a file becomes an authority: `name`, `name-2` and so on.
pub(super) fn read(entries: &[AuthorityConfig]) -> anyhow::Result<Vec<Authority>> {
    let mut authorities = Vec::new();
    let mut names = HashSet::new();
    for entry in entries {
        let path = entry.file.display();
        let stem = entry.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name = entry.name.clone().unwrap_or(stem);
        let bytes = fs::read(&entry.file).with_context(|| format!("cannot read {path}"))?;
        let certificates = pem::certificates(&bytes).with_context(|| path.to_string())?;
        let count = certificates.len();
        let mut known = HashSet::new();
        for (number, der) in (1..).zip(certificates) {
            if !known.insert(der.clone()) {
                continue;
            }
            let name = if number == 1 { name.clone() } else { format!("{name}-{number}") };
            let authority = Authority::new(&name, der, true, true).with_context(|| match count {
                1 => path.to_string(),
                _ => format!("{path}: certificate number {number} of {count}"),
            })?;
            if !names.insert(name.clone()) {
                bail!("{path}: there is another device_ca with the name {name}; give each a name of its own");
            }
            authorities.push((authority, entry));
        }
    }
    let log = |(authority, entry): (Authority, &AuthorityConfig)| {
        let (name, subject, file) = (&authority.name, &authority.subject, entry.file.display());
        info!(%name, subject, %file, "trusting a certificate authority for devices");
        authority
    };
    Ok(authorities.into_iter().map(log).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn entry(name: Option<&str>, file: &Path) -> AuthorityConfig {
        AuthorityConfig { name: name.map(str::to_owned), file: file.to_owned() }
    }

    #[test]
    fn a_file_without_a_certificate_authority_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("factory.pem");
        for (content, reason) in [
            ("", "it is empty"),
            ("<html>", "it is a web page"),
            ("-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n", "openssl pkcs7"),
            ("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "it cannot be parsed"),
        ] {
            fs::write(&path, content).unwrap();
            let error = format!("{:#}", read(&[entry(None, &path)]).unwrap_err());
            assert!(error.contains("factory.pem") && error.contains(reason), "{error}");
        }
        let missing = format!("{:#}", read(&[entry(None, Path::new("/nowhere/x.pem"))]).unwrap_err());
        assert!(missing.contains("/nowhere/x.pem"), "{missing}");
    }
}
