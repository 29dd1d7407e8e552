//! A trend, as a document.

use serde::Serialize;

use crate::history::{Row, Series};

/// The version of this layout.
pub const SCHEMA_VERSION: u32 = 1;

/// The history of one figure in one environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trend {
    /// Version of this document's layout.
    pub schema_version: u32,
    /// Which figure.
    pub series: Series,
    /// In which environment; null of no run.
    pub environment: Option<String>,
    /// The oldest first.
    pub values: Vec<Value>,
    /// Where it changed its level.
    pub steps: Vec<Step>,
    /// Whether it drifts beside that; null where nothing says so.
    pub drift: Option<DriftOf>,
    /// How the newest value lies among those of its level; null of fewer than two.
    pub newest: Option<Newest>,
}

/// A value, and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Value {
    /// What was measured.
    #[serde(flatten)]
    pub of: CommitOf,
    /// The value.
    pub value: f64,
}

/// A run and its commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommitOf {
    /// The run.
    pub run: String,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// When its commit was written, RFC 3339, where that is known.
    pub author_date: Option<String>,
    /// Its commit's hash, where that is known.
    pub commit: Option<String>,
    /// The first line of its message.
    pub subject: Option<String>,
    /// Whether there were changes that nobody had committed.
    pub dirty: Option<bool>,
}

impl CommitOf {
    pub(crate) fn of(run: &Row) -> Self {
        let commit = run.commit.as_ref();
        Self {
            run: run.id.clone(),
            started_at: run.started_at.to_string(),
            author_date: commit.and_then(|commit| commit.author_date).map(|date| date.to_string()),
            commit: commit.map(|commit| commit.hash.clone()),
            subject: commit.and_then(|commit| commit.subject.clone()),
            dirty: commit.and_then(|commit| commit.dirty),
        }
    }

    /// `0123456789 Halve it`, with `+` where there were changes beside it; the run where no commit is known.
    pub fn name(&self) -> String {
        let Some(hash) = &self.commit else { return format!("run {}", self.run) };
        let short = hash.get(..9).unwrap_or(hash);
        let dirty = if self.dirty == Some(true) { "+" } else { "" };
        let subject = self.subject.as_ref().map(|subject| format!(" {subject:?}")).unwrap_or_default();
        format!("{short}{dirty}{subject}")
    }
}

/// A change of the level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The first value of the new level, counted from 0.
    pub at: usize,
    /// The median before; beside a drift, what it has become until then.
    pub from: f64,
    /// The median after; beside a drift, what it begins with.
    pub to: f64,
    /// The change as a share of the level before; null from zero.
    pub change: Option<f64>,
    /// The probability of as great a difference anywhere, had nothing changed.
    pub p: f64,
    /// Whether it is a change for the worse.
    pub worse: bool,
    /// Whether a later step has taken most of it back.
    pub over: bool,
    /// The first value of the level that has taken it back, counted from 0; null where none has.
    pub over_at: Option<usize>,
    /// The last run before it.
    pub last_before: CommitOf,
    /// The first after: what changed it came with this commit, or with one between the two.
    pub first_after: CommitOf,
}

/// A gradual change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DriftOf {
    /// From the first value to the last, steps left out: a share, or an amount where it is not relative.
    pub change: f64,
    /// Whether it is a share.
    pub relative: bool,
    /// Whether it is for the worse.
    pub worse: bool,
}

/// The newest value in the terms of those who alarm by them. None of these is a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Newest {
    /// The value.
    pub value: f64,
    /// The median of the values before it, since the last step.
    pub level: f64,
    /// How many standard deviations (by the median absolute deviation) it is away from that; null where they do not vary.
    pub z_score: Option<f64>,
    /// The share by which it is greater.
    pub change: Option<f64>,
    /// The share by which it is greater than the value before it.
    pub against_run_before: Option<f64>,
}
