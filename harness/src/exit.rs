//! How the process ends: one line on stderr and a documented exit code.

use std::process::ExitCode;

use crate::report::model::State;

/// Exit codes, a contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Every target holds, or is violated by no more than a warning.
    Pass = 0,
    /// A defect of qdiscope.
    Internal = 1,
    /// The command line or a file given on it is wrong.
    Usage = 2,
    /// This environment cannot run it.
    Environment = 3,
    /// A target is violated.
    BudgetViolated = 4,
    /// A figure became worse, and that was to fail (`compare --fail-on-regression`).
    Regression = 5,
    /// Something that a target needs was not measured.
    Inconclusive = 6,
    /// The kernel differs from what it is to have (`tc diff`).
    Differs = 7,
    /// The kernel refused a change, and what was before has been restored (`tc apply`); a new tree does not do, and the old one stands
    /// again (`gate canary`).
    Refused = 8,
    /// The kernel refused a change, and what stands is neither what was before nor what is to be (`tc apply`,
    /// `gate canary`).
    HalfApplied = 9,
    /// The command that is to be observed is not executable (`trace`, `top`).
    NotExecutable = 126,
    /// The command that is to be observed is not there (`trace`, `top`).
    NotFound = 127,
    /// A signal ended the run.
    Interrupted = 130,
}

impl Exit {
    /// That of a verdict. A warning is tolerated.
    pub fn of(verdict: State) -> Self {
        match verdict {
            State::Pass | State::Warning => Self::Pass,
            State::Critical => Self::BudgetViolated,
            State::Inconclusive => Self::Inconclusive,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error on its way to the user: what was wrong, what to do, and how to exit.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the process is to end.
    pub exit: Exit,
    message: String,
}

impl Failure {
    /// The command line or a file given on it is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }

    /// This machine, or what it allows, is not enough.
    pub fn environment(message: impl Into<String>) -> Self {
        Self { exit: Exit::Environment, message: message.into() }
    }

    /// It cannot be told, for want of what was measured.
    pub fn inconclusive(message: impl Into<String>) -> Self {
        Self { exit: Exit::Inconclusive, message: message.into() }
    }

    /// The kernel did not take a change, or a command could not be started.
    pub fn refused(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// The same, and where it happened.
    #[must_use]
    pub fn at(self, place: impl std::fmt::Display) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }

    /// A defect of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self { exit: Exit::Internal, message: message.into() }
    }
}
