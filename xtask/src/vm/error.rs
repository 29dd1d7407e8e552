//! Why a virtual machine could not be had, each in a line that says what to do.

use std::{io, path::PathBuf, process::ExitStatus};

/// Why a virtual machine could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Cargo failed, root is missing, or no test matches.
    #[error(transparent)]
    Task(#[from] crate::error::Error),
    /// Packages could not be installed.
    #[error(transparent)]
    Packages(#[from] crate::packages::Error),
    /// The list of kernels cannot be used.
    #[error("xtask/kernels.toml: {0}")]
    Kernels(String),
    /// There is no such kernel in the list.
    #[error("there is no kernel {wanted} in xtask/kernels.toml; there are {known}")]
    NoSuchKernel { wanted: String, known: String },
    /// `vm test` without saying where.
    #[error("which kernel? --kernel takes {0}; `cargo xtask vm matrix` runs all")]
    WhichKernel(String),
    /// A name in the list of tests for every guest is no test's.
    #[error("no test is called {0} any more: edit the list in xtask/src/vm/selection.rs")]
    Stale(&'static str),
    /// The kernels are of another architecture.
    #[error("the kernels are for x86_64, and this machine is {0}: run it on an x86_64 machine")]
    Architecture(&'static str),
    /// A program is missing.
    #[error("there is no {program} here; add --install, or install the Debian package {package}")]
    Missing { program: String, package: &'static str },
    /// The machine's apt has no Debian mirror.
    #[error(
        "apt has no Debian archive among this machine's sources: {0}; run it on Debian, or in a container of it"
    )]
    NoMirror(String),
    /// The archive has no kernel of this series any more.
    #[error(
        "kernel {series} was not run: Debian's suite {suite} has none of it any more; edit xtask/kernels.toml"
    )]
    LeftTheArchive { series: String, suite: String },
    /// What was downloaded or cached is not what the signed index names.
    #[error("{}: {reason}; remove {} and run it again", .path.display(), .remove.display())]
    Corrupt { path: PathBuf, reason: String, remove: PathBuf },
    /// A kernel package is not laid out as expected.
    #[error("{package} is not understood: {reason}; the tried versions are in xtask/kernels.toml")]
    Package { package: String, reason: String },
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    /// A program could not be started.
    #[error("cannot run {program}: {source}")]
    Start { program: String, source: io::Error },
    /// A program failed; it has said why itself.
    #[error("`{command}` failed ({status})")]
    Failed { command: String, status: ExitStatus },
    /// The result that a guest sent cannot be read.
    #[error("{}: not a result of `qdiscope bench`: {reason}", .path.display())]
    Result { path: PathBuf, reason: String },
    /// SIGINT, SIGTERM or SIGHUP.
    #[error("interrupted; no guest is left")]
    Interrupted,
    /// A guest came to a bad end.
    #[error("kernel {series}: {fault}; its console is in {}", .console.display())]
    Guest { series: String, fault: String, console: PathBuf },
}

/// An error about a file.
pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { path, source }
}

impl Error {
    /// The exit code that tells a script what happened; see the crate's documentation.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Task(error) => error.exit_code(),
            Self::NoSuchKernel { .. } | Self::WhichKernel(_) => 2,
            Self::Interrupted => 130,
            _ => 1,
        }
    }
}
