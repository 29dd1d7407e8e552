//! Two sides, each of several runs, held against each other. Pure: runs go in, a [`model::Comparison`] comes out, and of that a table.
//!
//! One value a run and metric: how much runs differ by themselves is what a difference is held against, not how much requests do. The test is
//! that of [`crate::stats::two_samples`]. Each row says what the statistics say of it by itself; over all rows the probabilities are
//! adjusted by [`crate::stats::holm`], for of twenty rows one alarms by chance. What then holds is a regression; it is an alarm where
//! it is also beyond the threshold of its kind of metric ([`crate::gate::change`]).
//!
//! **Architecture invariant:** runs of unequal environments have no verdict but *inconclusive*.

mod doubt;
mod execution;
pub mod markdown;
mod measured;
pub mod model;
mod order;
mod row;
mod series;
mod side;
pub mod table;
mod verdict;
mod words;

pub use execution::{EXECUTION_VERSION, Execution};
pub use measured::{Measured, measured};
pub use series::Selection;
pub use side::{Runs, Side};
pub use verdict::{confirmed, exit, unconfirmed};
pub(crate) use words::tenths as percent;

use crate::stats::two_samples::{Certainty, Order};
use model::{Comparison, SCHEMA_VERSION, Severity, Verdict};
use row::Setting;
use side::Whole;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which metrics.
    pub selection: Selection,
    /// How sure an alarm has to be.
    pub certainty: Certainty,
    /// From how much worse on is a warning, for all metrics, as a share; `None`: by the kind of metric.
    pub threshold: Option<f64>,
    /// Compare runs of different environments, too.
    pub force: bool,
}

/// Why two sides are not compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing on a side.
    #[error("{name}: no run that is whole{}", if .left_out.is_empty() { String::new() } else { format!(" ({})", .left_out.join("; ")) })]
    NoRun {
        /// The side.
        name: String,
        /// Its runs that were left out, and why.
        left_out: Vec<String>,
    },
    /// One side is runs of qdiscope, the other of any command.
    #[error("one side saved runs of qdiscope and the other did not: they have no metric in common")]
    Mixed,
    /// Figures of different environments say nothing about what is compared.
    #[error("not compared, for the environments differ: {}; --force compares them all the same, without a verdict", .0.join("; "))]
    Unequal(Vec<String>),
}

/// Whether two sides may be compared: what differs that would have to be the same, which only `force` lets pass.
///
/// # Errors
///
/// [`Refusal`], but not for want of runs.
pub fn differences(baseline: &Runs, candidate: &Runs, force: bool) -> Result<Vec<String>, Refusal> {
    let differences = baseline.differences(candidate).ok_or(Refusal::Mixed)?;
    if differences.is_empty() || force { Ok(differences) } else { Err(Refusal::Unequal(differences)) }
}

/// Compares a candidate with a baseline.
///
/// # Errors
///
/// [`Refusal`].
pub fn compare(baseline: Side, candidate: Side, options: &Options) -> Result<Comparison, Refusal> {
    let sides = [baseline.whole(), candidate.whole()];
    if let Some(Whole { told, .. }) = sides.iter().find(|side| side.runs.is_empty()) {
        return Err(Refusal::NoRun { name: told.name.clone(), left_out: told.left_out.clone() });
    }
    let [baseline, candidate] = sides;
    let differences = differences(&baseline.runs, &candidate.runs, options.force)?;
    let in_turns = order::in_turns(&baseline.runs.moments(), &candidate.runs.moments());
    let series = series::series(&baseline.runs, &candidate.runs, &options.selection);
    let setting = Setting {
        certainty: options.certainty,
        order: if in_turns { Order::Interleaved } else { Order::Unknown },
        threshold: options.threshold,
        same: baseline.told.runs == candidate.told.runs,
        rows: series.len(),
    };
    let mut rows: Vec<_> = series.iter().map(|series| row::row(series, &setting)).collect();
    let counts = [baseline.runs.len(), candidate.runs.len()];
    let settled = verdict::settle(&mut rows, counts, options.certainty.level(), &differences);
    let mut notes = settled.notes;
    notes.extend(words::notes(&baseline.told, &candidate.told));
    Ok(Comparison {
        schema_version: SCHEMA_VERSION,
        qdiscope_version: env!("CARGO_PKG_VERSION").to_owned(),
        verdict: settled.verdict,
        severity: settled.severity,
        alarm: settled.verdict == Verdict::Regression && settled.severity > Severity::None,
        doubts: settled.doubts,
        notes,
        interrupted: false,
        confidence_percent: (1.0 - options.certainty.level()) * 100.0,
        differences,
        in_turns,
        interleaved: None,
        baseline: baseline.told,
        candidate: candidate.told,
        rows,
        confirmation: None,
    })
}

#[cfg(test)]
mod tests;
