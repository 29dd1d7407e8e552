//! Why a trial could not be made.

use std::{io, path::PathBuf, process::ExitStatus};

use super::INTERRUPTED;
use crate::error::Error as TaskError;

/// Why a trial could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Task(#[from] TaskError),
    #[error("`{command}` failed ({status}): {words}")]
    Failed { command: String, status: ExitStatus, words: String },
    #[error("the answer of `{command}` is not understood: {reason}")]
    Answer { command: String, reason: String },
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is there already; name a new folder", .0.display())]
    NotNew(PathBuf),
    #[error(
        "a delay of {delay_ns} ns took the operation from {without_us:.2} to {with_us:.2} µs: nothing to calibrate by"
    )]
    Calibration { delay_ns: u64, without_us: f64, with_us: f64 },
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Task(error) => error.exit_code(),
            Self::Interrupted => INTERRUPTED,
            _ => 1,
        }
    }
}

/// For `map_err`.
pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { path, source }
}
