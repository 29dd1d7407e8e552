//! What an overhead measurement found, as `--json` writes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::load::Load;

/// The measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Overhead {
    /// 1. Raised when a reader of the former format would misread it.
    pub format: u32,
    /// `uname -r`.
    pub kernel: String,
    /// The CPU's own name.
    pub cpu: Option<String>,
    /// CPUs.
    pub cores: usize,
    /// What limits these figures' worth, in words: emulation, a busy machine.
    pub remarks: Vec<String>,
    /// Windows a contestant that count.
    pub rounds: u32,
    /// How long a window is; ms.
    pub window_ms: u64,
    /// The loads that were run.
    pub loads: Vec<Load>,
    /// The contestants, measured or absent.
    pub contestants: Vec<Outcome>,
    /// The goals for our own probes.
    pub goals: Vec<Goal>,
}

/// What one contestant costs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// As in `--only`.
    pub name: String,
    /// What it does, in a few words.
    pub does: String,
    /// Why it was not measured.
    pub absent: Option<String>,
    /// By load: time with it by time without (`syscall`: ns that each call takes longer).
    pub cost: BTreeMap<Load, Summary>,
    /// Time of an operation without it; median over the rounds, ns.
    pub without_ns: BTreeMap<Load, f64>,
    /// CPU time of our reader for each event; ns.
    pub reader_ns_per_event: Option<Summary>,
    /// The runs at a given rate, of our probes only.
    pub rate: Vec<Counted>,
    /// The runs in which nobody read, of our probes only.
    pub flood: Vec<Counted>,
}

/// Rounds, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Their median.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
    /// Where the true median lies with 93 % confidence or more; absent of fewer than five rounds.
    pub interval: Option<[f64; 2]>,
    /// How many.
    pub rounds: usize,
}

/// Requests sent, and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// Requests sent.
    pub sent: u64,
    /// Of them a second.
    pub per_second: f64,
    /// Events read.
    pub events: u64,
    /// Lost, by the probes' own counters.
    pub lost: u64,
}

/// A goal and how it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// The contestant that it was judged for.
    pub contestant: String,
    /// What is to hold.
    pub goal: String,
    /// What was measured, in words.
    pub measured: String,
    /// Whether it holds.
    pub verdict: Verdict,
}

/// How a goal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not.
    Missed,
    /// It was not measured, or the rounds differ by more than it would need.
    Undecided,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Holds => "holds",
            Self::Missed => "MISSED",
            Self::Undecided => "undecided",
        })
    }
}
