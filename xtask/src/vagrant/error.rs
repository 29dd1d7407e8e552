//! Why the machine could not be checked or brought up.

use std::{io, path::PathBuf, time::Duration};

/// Why the machine could not be checked or brought up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Cargo could not tell where the workspace is, or build what is carried in.
    #[error(transparent)]
    Cargo(#[from] crate::error::Error),
    /// Packages could not be installed.
    #[error(transparent)]
    Packages(#[from] crate::packages::Error),
    /// A program that is needed is not there.
    #[error("{program} is not installed; run: cargo xtask vagrant {task} --install")]
    Missing { program: &'static str, task: &'static str },
    /// The package sources name no Debian archive to build a box from.
    #[error("apt knows no Debian archive to build a box from (apt-get indextargets); run: apt-get update")]
    NoMirror,
    /// Another one is at it.
    #[error("another `cargo xtask vagrant verify` works in {}; wait for its end", .folder.display())]
    Busy { folder: PathBuf },
    /// A file or folder could not be read or written.
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    /// A program could not be started.
    #[error("cannot run {program}: {source}")]
    Start { program: String, source: io::Error },
    /// A step failed.
    #[error("{step} failed ({reason}); see {}", .log.display())]
    Step { step: &'static str, reason: String, log: PathBuf },
    /// A step did not come to its end in time.
    #[error("{step} did not end within {} s; see {}", .limit.as_secs(), .log.display())]
    Slow { step: &'static str, limit: Duration, log: PathBuf },
    /// What was done in a world failed, and has said why itself.
    #[error("it failed ({0})")]
    Told(std::process::ExitStatus),
    /// SIGINT, SIGTERM or SIGHUP.
    #[error("interrupted; the machine and all that belongs to it are gone")]
    Interrupted,
    /// The run in the machine has no such result.
    #[error("{}: {reason}", .path.display())]
    Result { path: PathBuf, reason: String },
    /// The run used other probes than its kernel gives.
    #[error("the guest's kernel must give probes of kind {expected}, and the run used {found}; see {}", .path.display())]
    Probes { expected: &'static str, found: String, path: PathBuf },
    /// `vagrant destroy` did not take everything with it.
    #[error("vagrant destroy left behind: {0}")]
    Leftovers(String),
    /// The host is not as it was.
    #[error("the host is not as it was before: {0}")]
    Traces(String),
}

impl Error {
    /// The exit code that tells a script what happened; see the crate's documentation.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Cargo(error) => error.exit_code(),
            Self::Interrupted => 130,
            _ => 1,
        }
    }
}

/// For `map_err`: an error about a file.
pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { path, source }
}
