//! Few descriptors: `ulimit -Sn`, for a time.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A lower soft limit of open descriptors; the one from before comes back when this is dropped. What is open stays open.
///
/// The hard limit stays as it is, for without `CAP_SYS_RESOURCE` there is no way back (setrlimit(2)). One at a time: two that overlap
/// bring back each other's.
#[derive(Debug)]
pub struct DescriptorLimit {
    before: u64,
}

impl DescriptorLimit {
    /// Sets the soft limit, to the hard one at most.
    pub fn start(limit: u64) -> io::Result<Self> {
        let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, limit.min(hard), hard)?;
        Ok(Self { before })
    }
}

impl Drop for DescriptorLimit {
    fn drop(&mut self) {
        if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
            // It was allowed before.
            let _ = setrlimit(Resource::RLIMIT_NOFILE, self.before.min(hard), hard);
        }
    }
}
