//! The limit of open files of this process (`RLIMIT_NOFILE`): every connection takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How the operator raises the limit.
pub(crate) const REMEDY: &str = "raise the limit of open files: LimitNOFILE= in the systemd unit, or ulimit -n in the shell that starts the hub";

/// Raises the soft limit to the hard limit. Returns the limit; `usize::MAX` if there is none.
pub(crate) fn raise_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // The soft limit is only low for programs that use select(2). Some systems refuse an infinite one.
    let raised =
        current == maximum || setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let limit = if raised { maximum } else { current };
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Returns the number of files that the process has open. `None` if the system does not say.
pub(crate) fn count() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count())
}
