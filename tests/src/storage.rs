//! Files with Microsoft's storage client.

use serde_json::{Value, json};

use crate::script_process::{Failure, Pending, ScriptProcess};
use crate::{Hub, Script};

/// A program with `azure.storage.blob.BlobClient`; it creates a new client for each URL.
pub struct Storage(ScriptProcess);

impl Storage {
    /// Starts the program in this hub's environment, so that it trusts the hub's CA.
    #[must_use]
    #[track_caller]
    pub fn start(hub: &Hub) -> Self {
        Self(ScriptProcess::start(Script::new(hub, "storage.py")))
    }

    /// Runs an operation of `tests/python/storage.py`.
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn call(&self, operation: &str, arguments: &Value) -> Result<Value, Failure> {
        self.0.call(operation, arguments)
    }

    /// Starts an operation in the background.
    #[track_caller]
    pub fn begin(&self, operation: &str, arguments: &Value) -> Pending {
        self.0.begin(operation, arguments)
    }

    /// Calls `upload_blob` with pseudo-random bytes generated from `seed`, and returns their SHA-256.
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn upload(&self, url: &str, bytes: usize, seed: u32) -> Result<String, Failure> {
        let result = self.call("upload", &json!({ "url": url, "bytes": bytes, "seed": seed }))?;
        Ok(result["sha256"].as_str().unwrap_or_default().to_owned())
    }

    /// Calls `download_blob`, and returns the SHA-256 of the bytes.
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn download(&self, url: &str) -> Result<String, Failure> {
        let result = self.call("download", &json!({ "url": url }))?;
        Ok(result["sha256"].as_str().unwrap_or_default().to_owned())
    }
}
