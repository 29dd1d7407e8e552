//! What a gate found, as data: `qdiscope gate … --json`.
//!
//! What was not measured is `null` or absent, never zero. A breaking change raises [`SCHEMA_VERSION`].

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::canary::model::CanaryReport;
use crate::report::sheet::{Case, Sheet, Verdict};

/// The version of this layout.
pub const SCHEMA_VERSION: u32 = 1;

/// One gate.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GateResult {
    /// Version of this document's layout.
    pub schema_version: u32,
    /// Which gate.
    pub gate: Kind,
    /// When it began, UTC, RFC 3339.
    pub started_at: String,
    /// Version of qdiscope.
    pub qdiscope_version: String,
    /// Where it ran, in words.
    pub environment: String,
    /// Over all checks: the worst.
    pub verdict: Verdict,
    /// True when a signal ended it early: what is here is partial.
    pub interrupted: bool,
    /// Each check.
    pub checks: Vec<Check>,
    /// `post`: the fresh run, by its name, and where it is saved.
    pub run: Option<RunReference>,
    /// `post`: the run that it was compared with.
    pub baseline: Option<RunReference>,
    /// `canary`: what was measured.
    pub canary: Option<CanaryReport>,
    /// What needs words.
    pub notes: Vec<String>,
}

/// Which gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Before a deployment.
    Pre,
    /// After it.
    Post,
    /// A tree on trial.
    Canary,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Pre => "pre",
            Self::Post => "post",
            Self::Canary => "canary",
        })
    }
}

/// A saved run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RunReference {
    /// Its name.
    pub run_id: String,
    /// Its folder.
    pub folder: String,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Of what: `host`, `tree`, a workload with its mode, `canary` …
    pub group: String,
    /// What.
    pub name: String,
    /// What became of it.
    pub verdict: Verdict,
    /// What was found, in words.
    pub detail: String,
    /// How much worse than before, where it was compared: 0.15 is 15 % more latency, or 15 % less throughput. Null where it was not
    /// compared, and where it grew from nothing.
    pub worse_by: Option<f64>,
}

impl Check {
    /// One that was compared with nothing.
    pub fn new(
        group: impl Into<String>,
        name: impl Into<String>,
        verdict: Verdict,
        detail: impl Into<String>,
    ) -> Self {
        Self { group: group.into(), name: name.into(), verdict, detail: detail.into(), worse_by: None }
    }
}

/// A case of CI's is a check without its figure.
impl From<Case> for Check {
    fn from(case: Case) -> Self {
        Self::new(case.group, case.name, case.verdict, case.detail)
    }
}

impl GateResult {
    /// A gate that has looked at nothing yet.
    pub fn begin(gate: Kind, started_at: String, environment: String) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            gate,
            started_at,
            qdiscope_version: env!("CARGO_PKG_VERSION").into(),
            environment,
            verdict: Verdict::Inconclusive,
            interrupted: false,
            checks: Vec::new(),
            run: None,
            baseline: None,
            canary: None,
            notes: Vec::new(),
        }
    }

    /// The verdict over the checks that are there. One that was interrupted has not seen all, and does not pass.
    pub fn judge(&mut self) {
        let verdict = Verdict::of(self.checks.iter().map(|check| check.verdict));
        self.verdict = if self.interrupted { verdict.max(Verdict::Inconclusive) } else { verdict };
    }

    /// For CI.
    pub fn sheet(&self) -> Sheet {
        Sheet {
            title: format!("qdiscope gate {}", self.gate),
            id: self.run.as_ref().map_or_else(|| self.started_at.clone(), |run| run.run_id.clone()),
            started_at: self.started_at.clone(),
            verdict: self.verdict,
            environment: self.environment.clone(),
            cases: self
                .checks
                .iter()
                .map(|check| Case {
                    group: check.group.clone(),
                    name: check.name.clone(),
                    verdict: check.verdict,
                    detail: check.detail.clone(),
                })
                .collect(),
            figures: Vec::new(),
            notes: self.notes.clone(),
        }
    }

    /// A line a check, and one for all.
    pub fn lines(&self) -> String {
        let width = |of: fn(&Check) -> &str| {
            self.checks.iter().map(|check| of(check).chars().count()).max().unwrap_or(0)
        };
        let (group, name) = (width(|check| &check.group), width(|check| &check.name));
        let mut text = String::new();
        for check in &self.checks {
            let Check { verdict, detail, .. } = check;
            let _ = writeln!(text, "{verdict:12}  {:group$}  {:name$}  {detail}", check.group, check.name);
        }
        for note in &self.notes {
            text.push_str(note);
            text.push('\n');
        }
        let _ = writeln!(text, "gate {}: {}", self.gate, self.verdict);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(verdicts: &[Verdict], interrupted: bool) -> Verdict {
        let mut gate = GateResult::begin(Kind::Pre, String::new(), String::new());
        gate.checks = verdicts.iter().map(|verdict| Check::new("a", "b", *verdict, "c")).collect();
        gate.interrupted = interrupted;
        gate.judge();
        gate.verdict
    }

    #[test]
    fn neither_nothing_nor_half_of_it_passes() {
        assert_eq!(gate(&[], false), Verdict::Inconclusive);
        assert_eq!(gate(&[Verdict::Pass], true), Verdict::Inconclusive);
        assert_eq!(gate(&[Verdict::Critical], true), Verdict::Critical);
        assert_eq!(gate(&[Verdict::Pass, Verdict::Warning], false), Verdict::Warning);
    }
}
