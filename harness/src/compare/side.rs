//! One side of a comparison, before it is compared.

use std::collections::HashSet;

use jiff::Timestamp;

use super::execution::Execution;
use super::model;
use crate::fingerprint::Fingerprint;
use crate::report::model::RunResult;

/// What a side was measured by.
#[derive(Debug, Clone)]
pub enum Runs {
    /// Runs of qdiscope.
    Saved(Vec<RunResult>),
    /// Runs of any other command.
    Commands(Vec<Execution>),
}

impl Runs {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Saved(runs) => runs.len(),
            Self::Commands(runs) => runs.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn starts(&self) -> Vec<&str> {
        match self {
            Self::Saved(runs) => runs.iter().map(|run| &*run.started_at).collect(),
            Self::Commands(runs) => runs.iter().map(|run| &*run.started_at).collect(),
        }
    }

    /// When each began; `None` for what is no moment.
    pub(super) fn moments(&self) -> Vec<Option<Timestamp>> {
        self.starts().into_iter().map(moment).collect()
    }

    pub(super) fn ids(&self) -> Vec<String> {
        match self {
            Self::Saved(runs) => runs.iter().map(|run| run.run_id.clone()).collect(),
            Self::Commands(runs) => runs.iter().map(|run| run.id.clone()).collect(),
        }
    }

    /// Versions of qdiscope, each once.
    fn versions(&self) -> Vec<String> {
        let Self::Saved(runs) = self else { return Vec::new() };
        let mut versions: Vec<String> = runs.iter().map(|run| run.qdiscope_version.clone()).collect();
        versions.sort();
        versions.dedup();
        versions
    }

    /// What differs from the first run of the first side, each difference once. `None` where the sides are of different kinds.
    pub(super) fn differences(&self, other: &Self) -> Option<Vec<String>> {
        let mut found: Vec<String> = match (self, other) {
            (Self::Saved(ours), Self::Saved(theirs)) => {
                let Some(first) = ours.first().map(Fingerprint::of) else { return Some(Vec::new()) };
                let all = ours.iter().chain(theirs);
                all.flat_map(|run| first.differences(&Fingerprint::of(run))).collect()
            }
            (Self::Commands(ours), Self::Commands(theirs)) => {
                let Some(first) = ours.first() else { return Some(Vec::new()) };
                ours.iter().chain(theirs).flat_map(|run| first.differences(run)).collect()
            }
            _ => return None,
        };
        let mut seen = HashSet::new();
        found.retain(|difference| seen.insert(difference.clone()));
        Some(found)
    }
}

fn moment(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// A side as it was asked for.
#[derive(Debug, Clone)]
pub struct Side {
    /// As it was named.
    pub name: String,
    /// In any order.
    pub runs: Runs,
}

/// A side whose runs are whole, and in the order in which they were made.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) runs: Runs,
    pub(super) told: model::Side,
}

impl Side {
    pub(super) fn whole(self) -> Whole {
        let mut left_out = Vec::new();
        let mut seen = HashSet::new();
        // A copy of a run says nothing that the run has not said.
        let mut once = |id: &str, left_out: &mut Vec<String>| {
            let first = seen.insert(id.to_owned());
            if !first {
                left_out.push(format!("{id}: it is there twice"));
            }
            first
        };
        let runs = match self.runs {
            Runs::Saved(mut runs) => {
                runs.retain(|run| match run.incomplete() {
                    Some(reason) => {
                        left_out.push(format!("{}: {reason}", run.run_id));
                        false
                    }
                    None => once(&run.run_id, &mut left_out),
                });
                runs.sort_by_key(|run| moment(&run.started_at));
                Runs::Saved(runs)
            }
            Runs::Commands(mut runs) => {
                runs.retain(|run| once(&run.id, &mut left_out));
                runs.sort_by_key(|run| moment(&run.started_at));
                Runs::Commands(runs)
            }
        };
        let told = model::Side { name: self.name, runs: runs.ids(), versions: runs.versions(), left_out };
        Whole { runs, told }
    }
}
