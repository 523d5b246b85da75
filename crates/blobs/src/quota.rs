//! The quota of the folder, which includes files that are being written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ferrohub_core::blobs::BlobError;

/// The bytes that a folder uses, and their limit. Clones share the count.
#[derive(Debug, Clone)]
pub(crate) struct Quota {
    used: Arc<AtomicU64>,
    limit: u64,
}

impl Quota {
    pub(crate) fn new(limit: u64) -> Self {
        Self { used: Arc::default(), limit }
    }

    /// Adds bytes that are already stored, even if they exceed the limit.
    pub(crate) fn add_existing(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns an empty reservation.
    pub(crate) fn reservation(&self) -> Reservation {
        Reservation { quota: self.clone(), bytes: 0 }
    }

    /// Releases the bytes of a removed file.
    pub(crate) fn release(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Returns whether at least one more byte is available.
    pub(crate) fn has_room(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.limit
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Bytes reserved for one file. Dropping the reservation releases them, unless it was committed.
#[derive(Debug)]
pub(crate) struct Reservation {
    quota: Quota,
    bytes: u64,
}

impl Reservation {
    /// Reserves `bytes` more.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), BlobError> {
        let limit = self.quota.limit;
        let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= limit);
        match self.quota.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(_) => Err(BlobError::Full),
        }
    }

    /// Keeps the bytes in the quota.
    pub(crate) fn commit(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.quota.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_committed_are_released() {
        let quota = Quota::new(10);
        let mut reservation = quota.reservation();
        reservation.grow(6).unwrap();
        assert!(matches!(quota.reservation().grow(5), Err(BlobError::Full)));
        assert!(matches!(reservation.grow(u64::MAX), Err(BlobError::Full)));
        drop(reservation);
        assert_eq!(quota.used(), 0);
        let mut reservation = quota.reservation();
        reservation.grow(10).unwrap();
        reservation.commit();
        assert_eq!(quota.used(), 10);
        quota.release(4);
        assert_eq!(quota.used(), 6);
    }
}
