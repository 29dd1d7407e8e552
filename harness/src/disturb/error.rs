//! Why a disturbance cannot be had.

use std::io;

use crate::exit::Failure;

/// What went wrong with a disturbance.
#[derive(Debug, thiserror::Error)]
pub enum DisturbError {
    /// Its description makes no sense.
    #[error("{kind}: {reason}")]
    Invalid {
        /// The kind of disturbance.
        kind: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// This kernel, or what we may do here, does not have it.
    #[error("{what}: {source}; {hint}")]
    Unavailable {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// The system call by which RTNL is held returned without, or others got it meanwhile.
    #[error(
        "RTNL is not held on this kernel while a page of the answer to ETHTOOL_GSTRINGS is missing; nothing else is tried in its place"
    )]
    NotHeld,
    /// The process that holds RTNL, or keeps the cgroup, failed.
    #[error("the {name} ended: {reason}")]
    Child {
        /// Which.
        name: &'static str,
        /// Its words.
        reason: String,
    },
    /// It began, and something failed then.
    #[error("{what}: {source}")]
    Failed {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl DisturbError {
    pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Failed { what, source }
    }

    pub(super) fn unavailable(what: impl Into<String>, hint: &'static str) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Unavailable { what, source, hint }
    }
}

impl From<DisturbError> for Failure {
    fn from(error: DisturbError) -> Self {
        match error {
            DisturbError::Invalid { .. } => Self::usage(error.to_string()),
            _ => Self::environment(error.to_string()),
        }
    }
}
