//! Files by way of Microsoft's storage client.

use serde_json::{Value, json};

use crate::script_process::{Failure, Pending, ScriptProcess};
use crate::{Hub, Script};

/// `azure.storage.blob.BlobClient`, made anew for each URL.
pub struct Storage(ScriptProcess);

impl Storage {
    /// Starts the program; it trusts what this hub's environment says.
    #[must_use]
    #[track_caller]
    pub fn start(hub: &Hub) -> Self {
        Self(ScriptProcess::start(Script::new(hub, "storage.py")))
    }

    /// Any operation of `tests/python/storage.py`.
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn call(&self, operation: &str, arguments: &Value) -> Result<Value, Failure> {
        self.0.call(operation, arguments)
    }

    /// The same in the background.
    #[track_caller]
    pub fn begin(&self, operation: &str, arguments: &Value) -> Pending {
        self.0.begin(operation, arguments)
    }

    /// `upload_blob` of bytes that `seed` stands for; the answer is their SHA-256.
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn upload(&self, url: &str, bytes: usize, seed: u32) -> Result<String, Failure> {
        let done = self.call("upload", &json!({ "url": url, "bytes": bytes, "seed": seed }))?;
        Ok(done["sha256"].as_str().unwrap_or_default().to_owned())
    }

    /// `download_blob`; the answer is the SHA-256 of the bytes.
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn download(&self, url: &str) -> Result<String, Failure> {
        let done = self.call("download", &json!({ "url": url }))?;
        Ok(done["sha256"].as_str().unwrap_or_default().to_owned())
    }
}
