//! Connection strings of Azure Storage accounts: `DefaultEndpointsProtocol=…;AccountName=…;AccountKey=…`.

use std::fmt;
use std::str::FromStr;

use crate::key::{InvalidKey, SharedAccessKey};

/// Why a text is not the connection string of a storage account. Never contains a value, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageAccountError {
    /// A part is not `Name=value`.
    #[error("a part of the storage connection string is not Name=value")]
    Part,
    /// A part is missing.
    #[error("the storage connection string has no {0}")]
    Missing(&'static str),
    /// A part occurs twice.
    #[error("the storage connection string has {0} twice")]
    Duplicate(&'static str),
    /// A part has a value that is not valid.
    #[error("the {0} of the storage connection string is not valid")]
    Invalid(&'static str),
    /// The key is not valid.
    #[error("the AccountKey of the storage connection string is not valid: {0}")]
    Key(#[from] InvalidKey),
}

/// An account of Azure Storage, and its blob endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct StorageAccount {
    /// The account's name.
    pub name: String,
    /// The key that signs for the account.
    pub key: SharedAccessKey,
    /// Whether the blob endpoint uses HTTPS.
    pub https: bool,
    /// Host of the blob endpoint, with a port if it is not the default. For an emulator also the first path segment.
    pub blob_host: String,
}

impl FromStr for StorageAccount {
    type Err = StorageAccountError;

    fn from_str(text: &str) -> Result<Self, StorageAccountError> {
        use StorageAccountError as E;
        let [mut protocol, mut name, mut key, mut suffix, mut blobs] = [None::<&str>; 5];
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (field, value) = part.split_once('=').ok_or(E::Part)?;
            let (field, value) = (field.trim_end(), value.trim_start());
            let (slot, field) = match field.to_ascii_lowercase().as_str() {
                "defaultendpointsprotocol" => (&mut protocol, "DefaultEndpointsProtocol"),
                "accountname" => (&mut name, "AccountName"),
                "accountkey" => (&mut key, "AccountKey"),
                "endpointsuffix" => (&mut suffix, "EndpointSuffix"),
                "blobendpoint" => (&mut blobs, "BlobEndpoint"),
                // Endpoints of queues, tables and files.
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(E::Duplicate(field));
            }
        }
        let name = name.filter(|name| !name.is_empty()).ok_or(E::Missing("AccountName"))?;
        if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            return Err(E::Invalid("AccountName"));
        }
        let key = SharedAccessKey::from_base64(key.ok_or(E::Missing("AccountKey"))?)?;
        let endpoint = match blobs {
            Some(endpoint) => endpoint.to_owned(),
            None => {
                let suffix = suffix.unwrap_or("core.windows.net");
                format!("{}://{name}.blob.{suffix}", protocol.unwrap_or("https"))
            }
        };
        let (https, host) = match endpoint.split_once("://") {
            Some(("https", host)) => (true, host),
            Some(("http", host)) => (false, host),
            _ => return Err(E::Invalid("BlobEndpoint")),
        };
        let host = host.trim_end_matches('/');
        let is_not_allowed = |c: char| c.is_whitespace() || c.is_control() || "?#@\\\"<>".contains(c);
        if host.is_empty() || host.contains(is_not_allowed) || host.starts_with('/') {
            return Err(E::Invalid("BlobEndpoint"));
        }
        Ok(Self { name: name.to_owned(), key, https, blob_host: host.to_owned() })
    }
}

impl fmt::Debug for StorageAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageAccount")
            .field("name", &self.name)
            .field("https", &self.https)
            .field("blob_host", &self.blob_host)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn connection_strings_of_the_portal_and_of_emulators_are_parsed() {
        let read = |text: &str| {
            text.parse::<StorageAccount>().map(|account| (account.https, account.blob_host, account.name))
        };
        let azure = format!(
            "DefaultEndpointsProtocol=https;AccountName=acc1;AccountKey={KEY};EndpointSuffix=core.windows.net"
        );
        assert_eq!(read(&azure), Ok((true, "acc1.blob.core.windows.net".to_owned(), "acc1".to_owned())));
        let emulator = format!(
            "AccountName=dev;AccountKey={KEY};BlobEndpoint=http://127.0.0.1:10000/dev/;QueueEndpoint=http://x;"
        );
        assert_eq!(read(&emulator), Ok((false, "127.0.0.1:10000/dev".to_owned(), "dev".to_owned())));
        use StorageAccountError as E;
        for (text, error) in [
            (String::new(), E::Missing("AccountName")),
            ("AccountName=a".to_owned(), E::Missing("AccountKey")),
            ("AccountName=a;AccountKey=AAAA".to_owned(), E::Key(InvalidKey::Length(3))),
            (format!("AccountName=a/b;AccountKey={KEY}"), E::Invalid("AccountName")),
            (format!("AccountName=a;AccountName=b;AccountKey={KEY}"), E::Duplicate("AccountName")),
            (format!("AccountName=a;AccountKey={KEY};BlobEndpoint=ftp://x"), E::Invalid("BlobEndpoint")),
            (format!("AccountName=a;AccountKey={KEY};BlobEndpoint=https://u@x"), E::Invalid("BlobEndpoint")),
            ("AccountName".to_owned(), E::Part),
        ] {
            assert_eq!(read(&text), Err(error), "{text}");
        }
        let account: StorageAccount = azure.parse().unwrap();
        assert!(!format!("{account:?}").contains("AAEC"));
    }
}
