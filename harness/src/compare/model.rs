//! What a comparison says, as types: what `qdiscope compare --json` writes.
//!
//! A figure that there is not is `null`, never zero. A breaking change raises [`SCHEMA_VERSION`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of this layout.
pub const SCHEMA_VERSION: u32 = 1;

/// Two sides, compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Version of this document's layout.
    pub schema_version: u32,
    /// Version of qdiscope that compared.
    pub qdiscope_version: String,
    /// Over all rows: a regression if one of them is, by a probability that counts how many were asked (`p_adjusted`); else inconclusive
    /// where `doubts` are; else an improvement if a row is.
    pub verdict: Verdict,
    /// How much it matters: the worst of the rows that made it a regression.
    pub severity: Severity,
    /// Whether it is a regression that matters: test, effect size and interval agree, all rows counted, and the change is beyond its
    /// threshold; and, where that was asked for, fresh runs say the same.
    pub alarm: bool,
    /// Why it cannot be told whether there is a regression, or another one than those that were found.
    pub doubts: Vec<String>,
    /// What else is to be known about it.
    pub notes: Vec<String>,
    /// A signal ended the measuring early: what is here are the runs until then.
    pub interrupted: bool,
    /// The confidence of each interval; what is left of 100 is the chance of a false alarm over all rows.
    pub confidence_percent: f64,
    /// What differs between the runs that would have to be the same. Not empty only where it was compared by force.
    pub differences: Vec<String>,
    /// Whether both sides were measured in turns, so that what drifts met both alike.
    pub in_turns: bool,
    /// How the runs were made, where the comparison made them.
    pub interleaved: Option<Interleaved>,
    /// What is compared with.
    pub baseline: Side,
    /// What is compared.
    pub candidate: Side,
    /// A row for each metric of each workload.
    pub rows: Vec<Row>,
    /// The same again with fresh runs, after an alarm, where that was asked for.
    pub confirmation: Option<Box<Self>>,
}

/// Runs of two commands in turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Interleaved {
    /// Of the order within the blocks.
    pub seed: u64,
    /// Blocks, in each of which each command ran once.
    pub blocks: u32,
    /// Blocks that were asked for.
    pub blocks_asked: u32,
    /// Blocks before those, which do not count.
    pub warm_up_blocks: u32,
}

/// One side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// As it was named on the command line: a folder, or a command.
    pub name: String,
    /// Its runs, in the order in which they were made.
    pub runs: Vec<String>,
    /// Versions of qdiscope that measured, which may differ: they may be what is compared.
    pub versions: Vec<String>,
    /// Runs that are not compared, and why not.
    pub left_out: Vec<String>,
}

/// What became of the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is worse.
    Regression,
    /// It is better.
    Improvement,
    /// No difference was found. There may still be one, as great as the interval has room for.
    NoChange,
    /// It cannot be told.
    Inconclusive,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Regression => "regression",
            Self::Improvement => "improvement",
            Self::NoChange => "no-change",
            Self::Inconclusive => "inconclusive",
        })
    }
}

/// How much a regression matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// There is none, or it is smaller than the warning threshold.
    None,
    /// From the warning threshold on.
    Warning,
    /// From the critical threshold on.
    Critical,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

/// Which way a metric gets better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// As throughput does.
    Higher,
    /// As latency does.
    Lower,
}

/// One metric, compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// The workload or stage, `run` for a metric of the whole run, `command` for one of a command.
    pub workload: String,
    /// The metric, by its name in budgets; of a command `wall_time_us`, `cpu_time_us` or `peak_rss_bytes`.
    pub metric: String,
    /// What it is counted in.
    pub unit: String,
    /// Which way it gets better.
    pub better: Better,
    /// The middle of the baseline's values. Null where one of them was not measured.
    pub baseline: Option<Middle>,
    /// The middle of the candidate's.
    pub candidate: Option<Middle>,
    /// By how much the candidate's values are greater, percent of the baseline's (Hodges and Lehmann). Null where there is no ratio, as of zero.
    pub change_percent: Option<f64>,
    /// Where that lies, with the document's confidence.
    pub interval_percent: Option<[f64; 2]>,
    /// By how much, in the metric's unit, where there is no ratio.
    pub change: Option<f64>,
    /// Where that lies.
    pub interval: Option<[f64; 2]>,
    /// The probability of a difference as great, had both sides the same law. Null where there are too few values.
    pub p: Option<f64>,
    /// The same, with all rows counted that might differ (Holm).
    pub p_adjusted: Option<f64>,
    /// How much more often a value of the candidate is above one of the baseline than below: −1 to 1 (Cliff).
    pub effect: Option<f64>,
    /// What this row says by itself.
    pub verdict: Verdict,
    /// Whether a regression or an improvement is one with all rows counted, too.
    pub holds_among_all: bool,
    /// How much a regression matters.
    pub severity: Severity,
    /// From how much worse on it is a warning, percent.
    pub warning_percent: f64,
    /// From how much worse on it is critical, percent.
    pub critical_percent: f64,
    /// Why it is inconclusive.
    pub reason: Option<String>,
    /// The baseline's values, one a run; null for what was not measured.
    pub baseline_values: Vec<Option<f64>>,
    /// The candidate's.
    pub candidate_values: Vec<Option<f64>>,
}

/// The middle of a side's values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Middle {
    /// Half of the values lie below it.
    pub median: f64,
    /// Where the median of all runs that might be made lies with 95 % confidence (order statistics, as in a sign test). Null of fewer than six.
    pub interval: Option<[f64; 2]>,
}
