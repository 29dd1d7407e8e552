//! What a guest is to do, and what it sends back: shared by the host's side and by the guest's first process.
//!
//! The guest sends a tar stream. For each task that ended: `TASK/stdout`, `TASK/stderr`, the files that it was to keep below
//! `TASK/files/`, and `TASK/ending.json`; when nothing more comes, `end.json`. So a guest that dies on the way has sent what
//! it had, and what ended before its end can be told from what did not.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// Where the job description lies in the guest.
pub(crate) const JOB_FILE: &str = "/job.json";
/// The name of the virtio port that results go to.
pub(crate) const PORT: &str = "qdiscope.results";
/// The last entry of the stream.
pub(crate) const END: &str = "end.json";
/// The entry that says how a task ended.
pub(crate) const ENDING: &str = "ending.json";
/// What the guest's own lines on the console begin with.
pub(crate) const MARK: &str = "guest: ";

/// Everything that one guest does, from its start until it powers off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Run one after the other.
    pub(crate) tasks: Vec<Task>,
    /// How many seconds after the start of the guest no task may run any more, so that there is time to send results.
    pub(crate) seconds: u64,
    /// A shell on the console after the tasks.
    pub(crate) shell: bool,
}

/// One program to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Also the folder of its results: letters, digits, `-`, `_` and `.`.
    pub(crate) name: String,
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    /// How long it may take.
    pub(crate) seconds: u64,
    /// A folder that is made for it before it begins, and sent back with all that is in it.
    pub(crate) keep: Option<String>,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ending {
    pub(crate) how: How,
    /// For how long it ran.
    pub(crate) milliseconds: u64,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum How {
    Exit(i32),
    Signal(i32),
    /// It was killed after so many seconds.
    TimedOut(u64),
    /// It could not be started, or its end was not seen.
    Failed(String),
}

/// The last entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// `uname -r`.
    pub(crate) kernel: String,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::TimedOut(seconds) => write!(f, "killed, because it had not ended after {seconds} s"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}
