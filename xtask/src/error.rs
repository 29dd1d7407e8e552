//! Why a task could not be done, and the exit code that says so.

use std::{io, path::PathBuf};

/// Why a task could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A program could not be started at all.
    #[error("cannot run {program}: {source}")]
    Start { program: String, source: io::Error },
    /// The output of a running program could not be read or passed on.
    #[error("lost the output of {program}: {source}")]
    Output { program: String, source: io::Error },
    /// Cargo ran and failed; it has said why itself.
    #[error("`{command}` failed ({status})")]
    Cargo { command: String, status: std::process::ExitStatus },
    /// Cargo answered something this task does not understand.
    #[error("cargo's answer is not understood: {0}")]
    CargoAnswer(String),
    /// Cargo built the package, but named no executable of this name.
    #[error("cargo built no executable named {0}")]
    NoExecutable(String),
    /// Root is needed, and there is neither root nor a `sudo` that grants it.
    #[error("root is needed and {reason}; as root, run: {command}")]
    Privileges { reason: String, command: String },
    /// A test executable did not list its tests.
    #[error("{} --list failed ({status})", .executable.display())]
    List { executable: PathBuf, status: std::process::ExitStatus },
    /// A fuzz target found something.
    #[error("{target} failed ({status}); the input that did it is in {}", .artifacts.display())]
    Fuzz { target: String, status: std::process::ExitStatus, artifacts: PathBuf },
    /// What the task needs could not be installed.
    #[error(transparent)]
    Install(#[from] crate::packages::Error),
    /// A folder for results could not be made.
    #[error("cannot make {}: {source}", .path.display())]
    Folder { path: PathBuf, source: io::Error },
    /// The filter left no test to run; most likely it is misspelt.
    #[error("no test matches {0:?}")]
    NoTest(String),
}

impl Error {
    /// The exit code that tells a script what happened; see the crate's documentation.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Privileges { .. } => 3,
            Self::Cargo { status, .. } => status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
            _ => 1,
        }
    }
}
