//! Errors of accept(2): what the listener does about them, and one line in the log per episode.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ferrohub_core::metrics::{Outcomes, count};
use rustix::io::Errno;
use tokio::time::Instant;
use tracing::{debug, warn};

/// An episode of errors has ended when there was none for this long.
const EPISODE_GAP: Duration = Duration::from_secs(60);

/// What an error of accept(2) is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcceptFailure {
    /// The process or the system has no file descriptor left.
    OutOfFiles,
    /// The peer closed the connection before it was accepted.
    PeerGone,
    /// Anything else, such as a lack of memory.
    Other,
}

impl AcceptFailure {
    fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE) => Self::OutOfFiles,
            Some(Errno::CONNABORTED | Errno::CONNRESET | Errno::PROTO | Errno::INTR) => Self::PeerGone,
            _ => Self::Other,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::OutOfFiles => "out_of_files",
            Self::PeerGone => "peer_gone",
            Self::Other => "other",
        }
    }
}

/// Counts the errors of all listeners, and logs the first of each episode.
#[derive(Debug)]
pub(crate) struct AcceptErrors {
    failures: Outcomes,
    /// The time of the last error of each kind that is a warning.
    last: Mutex<[Option<Instant>; 2]>,
}

impl AcceptErrors {
    pub(crate) fn new(failures: Outcomes) -> Self {
        Self { failures, last: Mutex::default() }
    }

    /// Counts and logs an error. Returns what it is about.
    pub(crate) fn record(&self, error: &io::Error) -> AcceptFailure {
        let failure = AcceptFailure::of(error);
        let reason = failure.reason();
        count(&self.failures, reason);
        match failure {
            AcceptFailure::OutOfFiles if self.begins_episode(0) => warn!(
                %error, reason,
                "cannot accept connections; the hub closes the oldest unauthenticated ones to go on. Raise the limit \
                 of open files: LimitNOFILE= in the systemd unit, or ulimit -n in the shell that starts the hub"
            ),
            AcceptFailure::Other if self.begins_episode(1) => {
                warn!(%error, reason, "cannot accept connections; the hub tries again");
            }
            _ => debug!(%error, reason, "cannot accept a connection"),
        }
        failure
    }

    fn begins_episode(&self, kind: usize) -> bool {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.get_mut(kind).and_then(|last| last.replace(now));
        before.is_none_or(|before| now.duration_since(before) > EPISODE_GAP)
    }
}

#[cfg(test)]
mod tests {
    use ferrohub_core::metrics::counter;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_episode_ends_when_there_was_no_error_for_a_while() {
        let failures = Outcomes::default();
        let errors = AcceptErrors::new(failures.clone());
        assert!(errors.begins_episode(0));
        for _ in 0..5 {
            tokio::time::sleep(EPISODE_GAP / 2).await;
            assert!(!errors.begins_episode(0));
        }
        assert!(errors.begins_episode(1), "another kind");
        tokio::time::sleep(EPISODE_GAP * 2).await;
        assert!(errors.begins_episode(0));
        for errno in [Errno::MFILE, Errno::NFILE, Errno::CONNABORTED, Errno::NOBUFS] {
            let _ = errors.record(&errno.into());
        }
        let counted = ["out_of_files", "peer_gone", "other"].map(|reason| counter(&failures, reason).get());
        assert_eq!(counted, [2, 1, 1]);
    }
}
