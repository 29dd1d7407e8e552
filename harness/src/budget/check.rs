//! A saved run, judged again, as a document: what `qdiscope budget check --json` prints.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Action, Budget, Judged, Quantity, judge};
use crate::report::model::{Judgement, NotJudged, RunResult, State};

/// The version of this layout.
const SCHEMA_VERSION: u32 = 1;

/// A run held against a budget.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Checked {
    /// Version of this document's layout.
    pub schema_version: u32,
    /// The run.
    pub run_id: String,
    /// The budget's file, or `default`.
    pub budget: String,
    /// The verdict over all targets: critical before inconclusive before warning before pass.
    pub verdict: CheckState,
    /// Why the run is less than what was to be run, where it is: it then passes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
    /// Each target with its value.
    pub checks: Vec<Check>,
    /// Targets that do not apply to this run, and why.
    pub not_judged: Vec<NotJudged>,
}

/// What became of a target, or of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// Measured, and within every level.
    Pass,
    /// Measured, and beyond the warning level only.
    Warning,
    /// Measured, and beyond the critical level.
    Critical,
    /// Not measured, or not measured well enough to say.
    Inconclusive,
}

impl From<State> for CheckState {
    fn from(state: State) -> Self {
        match state {
            State::Pass => Self::Pass,
            State::Warning => Self::Warning,
            State::Critical => Self::Critical,
            State::Inconclusive => Self::Inconclusive,
        }
    }
}

/// One target, judged in one place.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Check {
    /// The metric; its name ends in its unit.
    pub metric: String,
    /// The unit; empty for a mere number.
    pub unit: String,
    /// `higher is better` or `lower is better`.
    pub direction: String,
    /// Workload and mode that it was measured in, or `run`, or `none`.
    pub workload: String,
    /// The operation that it speaks of; null: all.
    pub operation: Option<String>,
    /// `>`, `>=`, `<` or `<=`: how the value must stand to the limit.
    pub comparison: String,
    /// The limit.
    pub limit: f64,
    /// Beyond this value it warns; null where nothing does.
    pub warning_at: Option<f64>,
    /// Beyond this value it is critical; null where it only warns.
    pub critical_at: Option<f64>,
    /// The value; null where it was not measured.
    pub value: Option<f64>,
    /// The verdict.
    pub state: CheckState,
    /// An alert's name, or the path of a JSON budget; null for a target without a name.
    pub rule: Option<String>,
    /// What is to be done where an alert fires (state warning or critical); null for a target.
    pub action: Option<Action>,
    /// Why, where the state alone does not say.
    pub reason: Option<String>,
}

/// Judges a saved run again. `name` is the budget's.
pub fn check(budget: &Budget, name: &str, run: &RunResult) -> (Checked, Judged) {
    let judged = judge(budget, run);
    let checked = Checked {
        schema_version: SCHEMA_VERSION,
        run_id: run.run_id.clone(),
        budget: name.to_owned(),
        verdict: judged.verdict.into(),
        incomplete: run.incomplete(),
        checks: judged.judgements.iter().map(Check::from).collect(),
        not_judged: judged.not_judged.clone(),
    };
    (checked, judged)
}

impl From<&Judgement> for Check {
    fn from(judged: &Judgement) -> Self {
        let metric = Quantity::try_from(judged.metric.clone()).ok().map(|quantity| quantity.metric);
        // Without factors the limit is the only level.
        let only = (judged.warning_at, judged.critical_at) == (None, None);
        Self {
            metric: judged.metric.clone(),
            unit: metric.map_or("", super::Metric::unit).to_owned(),
            direction: metric.map_or_else(String::new, |metric| metric.direction().to_string()),
            workload: judged.workload.clone(),
            operation: judged.operation.clone(),
            comparison: judged.comparison.clone(),
            limit: judged.limit,
            warning_at: judged.warning_at,
            critical_at: judged.critical_at.or_else(|| only.then_some(judged.limit)),
            value: judged.value,
            state: judged.state.into(),
            rule: judged.rule.clone(),
            action: judged.action,
            reason: judged.reason.clone(),
        }
    }
}
