//! The loads.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What the watched process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// Change one of 1,000 classes, one message a system call, by one thread
    Change,
    /// Add a class to 1,000 others, and delete it
    Add,
    /// The same by eight threads at once
    Concurrent,
    /// Another process, which nobody watches, makes system calls that do nothing (`getppid`)
    Syscall,
    /// Refused requests: 300,000 a second, and more than the ring buffer holds while nobody reads it
    Rate,
}

/// Classes that the qdisc has besides those that are added.
pub(super) const POPULATION: u16 = 1_000;

/// Threads of [`Load::Concurrent`].
pub(super) const THREADS: u16 = 8;

/// What [`Load::Rate`] offers; requests a second.
pub(super) const RATE: u32 = 300_000;

impl Load {
    /// The name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Add => "add",
            Self::Concurrent => "concurrent",
            Self::Syscall => "syscall",
            Self::Rate => "rate",
        }
    }

    /// A column's title; `None`: has no column, but goals of its own.
    pub(super) fn title(self) -> Option<&'static str> {
        match self {
            Self::Change => Some("change"),
            Self::Add => Some("add + delete"),
            Self::Concurrent => Some("8 threads"),
            Self::Syscall => Some("others' syscalls"),
            Self::Rate => None,
        }
    }

    /// Whether its cost is a difference in nanoseconds, not a ratio.
    pub(super) fn is_difference(self) -> bool {
        self == Self::Syscall
    }

    /// How long a slice of a window is; milliseconds. A contestant's periodic work (our reader comes every 5 ms) is to fall into each, and eight
    /// unfair threads need longer to even out.
    pub(super) fn slice_ms(self) -> u64 {
        match self {
            Self::Concurrent => 20,
            _ => 5,
        }
    }
}
