//! Which runs a baseline may consist of.

use serde::Serialize;

use crate::history::Row;
use crate::report::model::State;

/// Runs of a baseline, at least: of fewer than five a side no test alarms when several figures are asked.
pub const FEWEST: usize = 5;

/// What runs must have in common to be one baseline's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Machine, settings and load, by the name that `history list` shows.
    pub environment: String,
    /// The repository whose commits were measured, where that is known.
    pub repository: Option<String>,
}

impl Place {
    /// Where a run was measured.
    pub fn of(run: &Row) -> Self {
        Self {
            environment: run.environment.clone(),
            repository: run.commit.as_ref().and_then(|commit| commit.repository.clone()),
        }
    }
}

/// Why runs are no baseline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSample {
    /// There are too few of them, for reasons given.
    #[error(
        "{usable} of {all} runs count, and a baseline is {FEWEST} at least{}",
        if .left_out.is_empty() { String::new() } else { format!(" ({})", .left_out.join("; ")) }
    )]
    TooFew {
        /// Runs that count.
        usable: usize,
        /// All that were named.
        all: usize,
        /// Why others do not.
        left_out: Vec<String>,
    },
    /// They have different environments or repositories.
    #[error("run {0} and run {1} are of different environments or repositories, and a baseline is of one")]
    Unlike(String, String),
}

/// Whether a run may be one of a baseline's; else why not. One that broke its budget is regressed, one that is inconclusive says nothing.
///
/// # Errors
///
/// The reason, in words.
pub fn counts(run: &Row) -> Result<(), String> {
    match (&run.incomplete, run.verdict) {
        (Some(reason), _) => Err(format!("run {}: {reason}", run.id)),
        (None, Some(State::Inconclusive)) => Err(format!("run {} is inconclusive", run.id)),
        (None, Some(State::Critical)) => Err(format!("run {} violated its budget", run.id)),
        // Others' runs have no verdict.
        (None, Some(State::Pass | State::Warning) | None) => Ok(()),
    }
}

/// Of runs those that count, the oldest first, and where they were measured.
///
/// # Errors
///
/// [`NoSample`]
pub fn check(runs: &[Row]) -> Result<(Vec<Row>, Place), NoSample> {
    let mut usable: Vec<Row> = Vec::new();
    let mut left_out = Vec::new();
    for run in runs {
        match counts(run) {
            Ok(()) if usable.iter().any(|other| other.id == run.id) => {}
            Ok(()) => usable.push(run.clone()),
            Err(reason) => left_out.push(reason),
        }
    }
    usable.sort_by(|one, other| (one.started_at, &one.id).cmp(&(other.started_at, &other.id)));
    if let Some(first) = usable.first()
        && let Some(other) = usable.iter().find(|other| Place::of(other) != Place::of(first))
    {
        return Err(NoSample::Unlike(first.id.clone(), other.id.clone()));
    }
    match usable.first().map(Place::of) {
        Some(place) if usable.len() >= FEWEST => Ok((usable, place)),
        _ => Err(NoSample::TooFew { usable: usable.len(), all: usable.len() + left_out.len(), left_out }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trend::fixtures::{around, points};

    fn runs(count: usize) -> Vec<Row> {
        points(&around(100.0, count)).into_iter().map(|point| point.run).collect()
    }

    #[test]
    fn what_is_not_whole_inconclusive_or_regressed_does_not_count() {
        let mut all = runs(8);
        all[0].incomplete = Some("the run was interrupted".into());
        all[1].verdict = Some(State::Inconclusive);
        all[2].verdict = Some(State::Critical);
        all[3].verdict = Some(State::Warning);
        all.reverse();
        let (usable, place) = check(&all).unwrap();
        assert_eq!(
            usable.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(),
            ["run-3", "run-4", "run-5", "run-6", "run-7"]
        );
        assert_eq!((place.environment.as_str(), place.repository), ("abc", None));
        all[0].verdict = Some(State::Inconclusive);
        let refused = check(&all).unwrap_err().to_string();
        assert!(
            refused
                .starts_with("4 of 8 runs count, and a baseline is 5 at least (run run-7 is inconclusive; "),
            "{refused}"
        );
        // The same run twice is one.
        let one = runs(1).remove(0);
        assert!(matches!(check(&vec![one; 9]), Err(NoSample::TooFew { usable: 1, .. })));
        assert!(matches!(check(&[]), Err(NoSample::TooFew { usable: 0, all: 0, .. })));
    }

    #[test]
    fn a_baseline_is_of_one_environment() {
        let mut all = runs(9);
        all[4].environment = "other".into();
        assert_eq!(check(&all).unwrap_err(), NoSample::Unlike("run-0".into(), "run-4".into()));
    }
}
