//! After a deployment: a fresh run, held against a budget and against a saved run. Pure; the run is the caller's.

use super::compare::{Side, compare};
use super::model::{Check, GateResult, Kind, RunReference};
use crate::report::model::{RunResult, State};
use crate::report::sheet::Sheet;

/// Judges a fresh run that was saved in `folder`.
pub fn judge(fresh: Side<'_>, folder: String, baseline: Option<(Side<'_>, String)>) -> GateResult {
    let Sheet { started_at, environment, cases, notes, .. } = Sheet::of_run(fresh.run);
    let mut gate = GateResult::begin(Kind::Post, started_at, environment);
    gate.interrupted = fresh.run.interrupted;
    gate.checks = cases.into_iter().map(Check::from).collect();
    gate.notes = notes;
    gate.run = Some(reference(fresh.run, folder));
    if let Some((before, folder)) = baseline {
        gate.checks.extend(compare(before, fresh));
        if !matches!(before.run.verdict, State::Pass | State::Warning) {
            gate.notes.push(format!("The baseline's own verdict was {}.", before.run.verdict));
        }
        gate.baseline = Some(reference(before.run, folder));
    }
    gate.judge();
    gate
}

fn reference(run: &RunResult, folder: String) -> RunReference {
    RunReference { run_id: run.run_id.clone(), folder }
}
