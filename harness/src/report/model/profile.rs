//! What a run of a load profile says beside what each workload says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::disturb::Outcome;

/// A load profile, as it was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProfileRun {
    /// Its name.
    pub name: String,
    /// Its file, or `built in`.
    pub file: String,
    /// The file of the tree that subscribers joined and left, where the profile names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// All times of the profile were multiplied by it; 1: it ran in full.
    pub time_scale: f64,
    /// True where it was shortened: it says less than a full run, and is not to be compared with one.
    pub shortened: bool,
    /// How many stages it has; those in `workloads` are over.
    pub stages_planned: usize,
    /// Why it was ended before its end, where the profile says when (`[abort]`). Null otherwise.
    pub aborted: Option<String>,
    /// What stood in its way, on purpose, and what came of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disturbances: Vec<Outcome>,
}

impl ProfileRun {
    /// Why less than all of it was run, where that is so: it was given up, stages are missing, or what was to stand in its way did not.
    /// Without that it was another load.
    pub fn incomplete(&self, stages: usize) -> Option<String> {
        if let Some(aborted) = &self.aborted {
            return Some(format!("the profile was given up: {aborted}"));
        }
        if stages != self.stages_planned {
            return Some(format!("{stages} of the profile's {} stages were run", self.stages_planned));
        }
        let failed = |outcome: &&Outcome| outcome.error.is_some() || outcome.began_seconds.is_none();
        let outcome = self.disturbances.iter().find(failed)?;
        let because = outcome.error.as_deref().unwrap_or("the run was over before");
        Some(format!("the disturbance {} did not come as planned: {because}", outcome.disturbance.kind()))
    }
}

/// A stage, as it was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageSettings {
    /// Its name.
    pub name: String,
    /// When it began, seconds after the profile's beginning.
    pub start_seconds: f64,
    /// Whether targets apply to it. What a ramp shows is no steady state.
    pub judged: bool,
    /// Virtual users at its beginning and its end; of an open loop, how many requests may wait for their answers at a time.
    pub users: [f64; 2],
    /// Rate at its beginning and its end, operations per second; null in a closed loop.
    pub rate: Option<[f64; 2]>,
    /// `constant`, `poisson` or `bursts`; null in a closed loop.
    pub arrivals: Option<String>,
    /// How many requests were due at the same moment. Absent unless `arrivals` is `bursts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Mean of the time between an answer and the user's next request, µs; null in an open loop.
    pub think_time_us: Option<f64>,
    /// `none`, `constant` or `exponential`; null in an open loop.
    pub think_time: Option<String>,
}

impl StageSettings {
    /// How requests follow each other, as people read it: `bursts of 50`. `None` in a closed loop.
    pub fn arrivals_in_words(&self) -> Option<String> {
        let arrivals = self.arrivals.as_deref()?;
        Some(self.burst.map_or_else(|| arrivals.to_owned(), |burst| format!("{arrivals} of {burst}")))
    }
}
