//! What a bisection says, as types: what `qdiscope bisect --json` prints.
//!
//! A figure that there is not is `null`, never zero. A breaking change raises [`SCHEMA_VERSION`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decision::Worse;
use crate::compare::model::Better;
use crate::exit::Exit;

/// The version of this layout.
pub const SCHEMA_VERSION: u32 = 1;

/// A search for the commit that made a metric worse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bisection {
    /// Version of this document's layout.
    pub schema_version: u32,
    /// Version of qdiscope that searched.
    pub qdiscope_version: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did not end with a commit.
    pub reason: Option<String>,
    /// The first bad commit where it was found; where half of the change is passed at one that does not carry most of it, or is not
    /// confirmed, that.
    pub first_bad: Option<Commit>,
    /// What was measured again, by fresh runs: the first bad commit; where several are in question the last of them.
    pub after: Option<Commit>,
    /// Against what: its (first) parent; where several are in question the good commit before them.
    pub before: Option<Commit>,
    /// By how much `after` differs from `before`.
    pub change: Option<Change>,
    /// How much of the change from good to bad that is, percent, by logarithms.
    pub share_percent: Option<f64>,
    /// The change from good to bad.
    pub whole: Option<Change>,
    /// What was said to be good.
    pub good: Commit,
    /// What was said to be bad.
    pub bad: Commit,
    /// How many commits were in question at first: those behind bad and not behind good, bad counted.
    pub commits: usize,
    /// Those that remain in question, newest first. Empty where one was found, or half of the change is passed at one; and where there is
    /// nothing to look for.
    pub candidates: Vec<Commit>,
    /// What decided. Null where nothing was measured.
    pub metric: Option<Metric>,
    /// From how much worse on a change matters, percent.
    pub threshold_percent: f64,
    /// All intervals hold together with this confidence; what is left of 100 is the chance of a wrong answer.
    pub confidence_percent: f64,
    /// The command that was measured.
    pub command: String,
    /// The command that built what is measured.
    pub build: Option<String>,
    /// Of the order within blocks.
    pub seed: u64,
    /// Commits that were tried, in order.
    pub steps: Vec<Step>,
    /// Runs of the command that count, of both sides.
    pub runs: u32,
    /// How long it took, builds too.
    pub seconds: f64,
    /// What else is to be known about it.
    pub notes: Vec<String>,
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A commit was found, and fresh runs confirm that it is worse than its parent.
    Found,
    /// No single commit carries most of the change.
    Gradual,
    /// One of several commits, which cannot be told apart.
    Several,
    /// A commit was found, and fresh runs do not confirm that it is worse than its parent.
    Unconfirmed,
    /// Bad is not worse than good.
    NoRegression,
    /// Bad is better than good.
    Improvement,
    /// It cannot be told whether bad is worse than good.
    Inconclusive,
    /// The time was up.
    TimeUp,
    /// A signal ended it.
    Interrupted,
}

impl Outcome {
    /// How the process ends.
    pub fn exit(self) -> Exit {
        match self {
            Self::Found => Exit::Pass,
            Self::Interrupted => Exit::Interrupted,
            _ => Exit::Inconclusive,
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Found => "found",
            Self::Gradual => "gradual",
            Self::Several => "one of several",
            Self::Unconfirmed => "unconfirmed",
            Self::NoRegression => "no regression",
            Self::Improvement => "improvement",
            Self::Inconclusive => "inconclusive",
            Self::TimeUp => "time is up",
            Self::Interrupted => "interrupted",
        })
    }
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commit {
    /// Its hash, in full.
    pub hash: String,
    /// Who wrote it.
    pub author: String,
    /// When it was written, RFC 3339.
    pub date: String,
    /// The first line of its message.
    pub subject: String,
}

impl Commit {
    /// The hash, short.
    pub fn short(&self) -> &str {
        self.hash.get(..9).unwrap_or(&self.hash)
    }
}

/// A metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Metric {
    /// By its name in budgets; of a command `wall_time_us`, `cpu_time_us` or `peak_rss_bytes`.
    pub name: String,
    /// The workload or stage, `run` or `command`.
    pub workload: String,
    /// What it is counted in.
    pub unit: String,
    /// Which way it gets better.
    pub better: Better,
}

/// By how much one commit differs from another, measured in turns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// By how much the values are greater, percent (Hodges and Lehmann).
    pub change_percent: f64,
    /// Where that lies. Null: of too few runs.
    pub interval_percent: Option<[f64; 2]>,
    /// The confidence of this interval by itself: so high that all of them hold together.
    pub interval_confidence_percent: f64,
    /// The probability of a difference as great, had both the same law. Null: of too few runs.
    pub p: Option<f64>,
    /// How much more often a value is worse than better than one of the other: −1 to 1 (Cliff).
    pub effect: f64,
    /// Runs a side.
    pub runs: u32,
    /// What it is held against: values, one a run.
    pub baseline_values: Vec<f64>,
    /// The commit's values.
    pub candidate_values: Vec<f64>,
}

impl Change {
    /// What was found at a level.
    pub fn new(worse: &Worse, level: f64, baseline_values: Vec<f64>, candidate_values: Vec<f64>) -> Self {
        Self {
            change_percent: worse.change_percent(),
            interval_percent: worse.interval_percent(),
            interval_confidence_percent: (1.0 - level) * 100.0,
            p: worse.p.is_finite().then_some(worse.p),
            effect: worse.effect,
            runs: u32::try_from(candidate_values.len()).unwrap_or(u32::MAX),
            baseline_values,
            candidate_values,
        }
    }
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As good, more than as bad.
    Good,
    /// As bad, more than as good.
    Bad,
    /// It could not be told within the most runs, and another commit was tried.
    Undecided,
    /// It could not be measured, and another commit was tried.
    Skipped,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Undecided => "undecided",
            Self::Skipped => "skipped",
        })
    }
}

/// A commit that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Which one.
    pub commit: Commit,
    /// What became of it.
    pub verdict: Verdict,
    /// Why it was skipped or is undecided.
    pub reason: Option<String>,
    /// By how much it differs from good. Null where it was not measured.
    pub change: Option<Change>,
}
