//! The state file of the development issuer in the data folder.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ferrohub_model::Guid;
use ferrohub_model::random::random_bytes;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde::{Deserialize, Serialize};

use crate::DevelopmentCredentials;

#[derive(Serialize, Deserialize)]
struct Document {
    tenant: String,
    client_id: String,
    client_secret: String,
    /// PKCS #8, base64.
    signing_key: String,
}

pub(super) struct State {
    document: Document,
    key: Vec<u8>,
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("entra-development.json")
}

impl State {
    pub(super) fn read(data_dir: &Path) -> io::Result<Self> {
        let document: Document = serde_json::from_slice(&fs::read(path(data_dir))?)?;
        let key = STANDARD
            .decode(&document.signing_key)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Self { document, key })
    }

    /// Reads the state file, or creates it if it is missing.
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        match Self::read(data_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => return read,
        }
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| io::Error::other("the operating system provides no random numbers"))?;
        let document = Document {
            tenant: Guid::random().version_4().to_string(),
            client_id: Guid::random().version_4().to_string(),
            client_secret: URL_SAFE_NO_PAD.encode(random_bytes::<32>()),
            signing_key: STANDARD.encode(key.as_ref()),
        };
        let partial = data_dir.join("entra-development.new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(&serde_json::to_vec_pretty(&document)?)?;
        file.sync_all()?;
        fs::rename(&partial, path(data_dir))?;
        Ok(Self { document, key: key.as_ref().to_vec() })
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn credentials(&self) -> DevelopmentCredentials {
        DevelopmentCredentials {
            tenant: self.document.tenant.clone(),
            client_id: self.document.client_id.clone(),
            client_secret: self.document.client_secret.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_state_file_is_created_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        assert!(State::read(folder.path()).is_err());
        let made = State::open(folder.path()).unwrap();
        let mode = fs::metadata(path(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = State::open(folder.path()).unwrap();
        assert_eq!(made.document.client_secret, again.document.client_secret);
        assert_eq!(made.key, again.key);
        assert_ne!(made.document.tenant, made.document.client_id);
    }
}
