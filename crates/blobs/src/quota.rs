//! How much of the folder is taken, the files that are being written included.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ferrohub_core::blobs::BlobError;

/// Bytes of a folder.
#[derive(Debug, Clone)]
pub(crate) struct Quota {
    taken: Arc<AtomicU64>,
    limit: u64,
}

impl Quota {
    pub(crate) fn new(limit: u64) -> Self {
        Self { taken: Arc::default(), limit }
    }

    /// What is there already counts, even if it is more than the limit.
    pub(crate) fn found(&self, bytes: u64) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A share that holds nothing yet.
    pub(crate) fn share(&self) -> Share {
        Share { quota: self.clone(), bytes: 0 }
    }

    /// What a file held is free again.
    pub(crate) fn free(&self, bytes: u64) {
        let less = |taken: u64| Some(taken.saturating_sub(bytes));
        let _ = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Whether a byte more has room.
    pub(crate) fn has_room(&self) -> bool {
        self.taken.load(Ordering::Relaxed) < self.limit
    }

    #[cfg(test)]
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Bytes that one file takes; given back unless they are kept.
#[derive(Debug)]
pub(crate) struct Share {
    quota: Quota,
    bytes: u64,
}

impl Share {
    /// Takes more.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), BlobError> {
        let limit = self.quota.limit;
        let more = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= limit);
        match self.quota.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(_) => Err(BlobError::Full),
        }
    }

    /// They stay taken.
    pub(crate) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.quota.free(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_is_given_back() {
        let quota = Quota::new(10);
        let mut share = quota.share();
        share.grow(6).unwrap();
        assert!(matches!(quota.share().grow(5), Err(BlobError::Full)));
        assert!(matches!(share.grow(u64::MAX), Err(BlobError::Full)));
        drop(share);
        assert_eq!(quota.taken(), 0);
        let mut share = quota.share();
        share.grow(10).unwrap();
        share.keep();
        assert_eq!(quota.taken(), 10);
        quota.free(4);
        assert_eq!(quota.taken(), 6);
    }
}
