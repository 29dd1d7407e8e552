//! What can go wrong.

use std::io;

use aya::{maps::MapError, programs::ProgramError};
use thiserror::Error;

use crate::lockdown;

/// Why requests cannot be followed here, in one line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{reason}{}", advice.as_ref().map(|advice| format!(" ({advice})")).unwrap_or_default())]
pub struct Unavailable {
    /// What was tried and what the kernel said.
    pub reason: String,
    /// What would help, where that is known.
    pub advice: Option<String>,
}

impl Unavailable {
    /// With advice where the reason is a missing privilege, and with the kernel's lockdown where that may be behind it.
    pub(crate) fn because(reason: String) -> Self {
        let reason = match lockdown::mode() {
            Some(mode) if mode == lockdown::CONFIDENTIALITY && !reason.contains("lockdown") => {
                format!(
                    "{reason}; kernel lockdown is at {mode}, and then BPF may not read the kernel's memory"
                )
            }
            _ => reason,
        };
        // SAFETY: no arguments, no failure.
        let root = unsafe { libc::geteuid() } == 0;
        let advice =
            (!root && reason.contains("Operation not permitted")).then(|| "run it as root".to_owned());
        Self { reason, advice }
    }
}

/// Attached probes could not be read or controlled.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused an operation on a map.
    #[error("a map of the probes cannot be read or written: {0}")]
    Map(#[from] MapError),
    /// The kernel refused an operation on a program.
    #[error("{}", one_line(.0))]
    Program(#[from] ProgramError),
    /// The list of CPUs could not be read.
    #[error("cannot read {0}: {1}")]
    Cpus(&'static str, #[source] io::Error),
    /// Sampling was not asked for when the probes were attached, or is running already.
    #[error("sampling cannot be started: {0}")]
    Sampling(String),
    /// A part of the compiled probes is missing: the object and this loader do not belong together.
    #[error("the compiled probes have no `{0}`")]
    Missing(&'static str),
}

/// How much of the verifier's log a reason carries.
const VERIFIER_LINES: usize = 4;
const VERIFIER_CHARACTERS: usize = 400;

/// A program error as one line of bounded length. The verifier's log can be megabytes, and its end is what tells.
pub(crate) fn one_line(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let tail = verifier_tail(&log);
            if tail.is_empty() {
                format!("the kernel refuses to load the program: {io_error}")
            } else {
                format!("the kernel refuses to load the program: {io_error}; verifier: {tail}")
            }
        }
        ProgramError::SyscallError(error) => format!("{} fails: {}", error.call, error.io_error),
        other => with_causes(other),
    }
}

/// An error and its causes as one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        // Some errors say their cause themselves.
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}

fn verifier_tail(log: &str) -> String {
    let lines: Vec<&str> = log
        .lines()
        .map(|line| line.trim_matches(|c: char| c.is_whitespace() || c == '\0'))
        // The statistics come last and say nothing about the cause.
        .filter(|line| {
            !line.is_empty() && !line.starts_with("processed ") && !line.starts_with("verification time")
        })
        .collect();
    let tail = lines[lines.len().saturating_sub(VERIFIER_LINES)..].join(" | ");
    let skip = tail.chars().count().saturating_sub(VERIFIER_CHARACTERS);
    tail.chars().skip(skip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifiers_last_lines_are_kept_and_its_statistics_are_not() {
        let log = "0: (b7) r0 = 0\n1: x\n2: y\n3: z\nR1 invalid mem access 'scalar'\nprocessed 5 insns\n\0";
        assert_eq!(verifier_tail(log), "1: x | 2: y | 3: z | R1 invalid mem access 'scalar'");
    }

    #[test]
    fn a_long_line_is_cut_at_its_start() {
        let log = format!("{}end", "x".repeat(10_000));
        let tail = verifier_tail(&log);
        assert_eq!(tail.chars().count(), VERIFIER_CHARACTERS);
        assert!(tail.ends_with("end"));
    }

    #[test]
    fn causes_are_said_once() {
        let cause = io::Error::other("no such device");
        let error = Error::Cpus("the list", cause);
        assert_eq!(with_causes(&error), "cannot read the list: no such device");
        let missing = ProgramError::KProbeError(aya::programs::kprobe::KProbeError::FileError {
            filename: "type".into(),
            io_error: io::Error::other("gone"),
        });
        assert_eq!(one_line(&missing), "`type`: gone");
    }

    #[test]
    fn unavailable_is_one_line() {
        let bare = Unavailable { reason: "no tracefs".to_owned(), advice: None };
        assert_eq!(bare.to_string(), "no tracefs");
        let advised = Unavailable { advice: Some("mount it".to_owned()), ..bare };
        assert_eq!(advised.to_string(), "no tracefs (mount it)");
    }
}
