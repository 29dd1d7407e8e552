//! How a test ends before its end.

use std::io;

use libtest_mimic::Failed;
use nix::errno::Errno;
use support::Skip;

/// A test that may find out on its way that this machine cannot run it.
pub(crate) type Test = fn() -> Result<(), Stop>;

/// Why a test went no further.
pub(crate) enum Stop {
    /// This machine cannot run it.
    Skip(Skip),
    /// What it is about does not hold.
    Failed(Failed),
}

impl Stop {
    /// The test could not be run here, and no setting up would change that.
    pub(crate) fn forced(reason: String) -> Self {
        Self::Skip(Skip { reason, forced: true })
    }

    /// What the test is about does not hold.
    pub(crate) fn failed(message: String) -> Self {
        Self::Failed(message.into())
    }
}

impl From<Failed> for Stop {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno.into())
    }
}

impl From<tc_adapter::Error> for Stop {
    fn from(error: tc_adapter::Error) -> Self {
        Self::Failed(error.into())
    }
}
