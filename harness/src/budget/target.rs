//! Targets and alerts, and what of them makes no sense.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::metric::Place;
use super::{Direction, Factors, Levels, Limit, Quantity};
use crate::duration::Span;
use crate::report::model::{Mode, WorkloadResult};
use crate::workload::OperationKind;

/// More than ten times a limit is no level of it.
const LARGEST_FACTOR: f64 = 10.0;

/// One target.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// What it is set on.
    pub quantity: Quantity,
    /// Where it is judged.
    pub scope: Scope,
    /// What the value must keep.
    pub limit: Limit,
    /// Where it warns and where it is critical.
    pub factors: Factors,
    /// How much worse than a baseline is a regression: 0.15 is 15 %. Kept for comparisons of two runs; a single run has none.
    pub regression_threshold: Option<f64>,
    /// What is to be done when an alert fires; `None` for a target.
    pub action: Option<Action>,
    /// An alert's name, or the path in a JSON file, as `auth-service.response_time.p95`.
    pub rule: Option<String>,
}

/// Which workloads a target speaks of. `None`: of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only workloads in this mode.
    pub mode: Option<Mode>,
    /// Only the workload of this name.
    pub workload: Option<String>,
    /// Only the stage of this name, of a load profile.
    pub stage: Option<String>,
    /// Only this operation of them.
    pub operation: Option<OperationKind>,
    /// Only what was measured for at least so long. Shorter ones are not judged, and that is said.
    pub min_duration: Option<Span>,
}

/// What is to be done when an alert fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Stop the change that is being judged: the state is critical.
    Block,
    /// Tell somebody: the state is warning.
    Notify,
    /// The state is critical.
    Critical,
}

impl Action {
    /// The levels of an alert that does this.
    pub fn factors(self) -> Factors {
        match self {
            Self::Block | Self::Critical => Factors::LIMIT,
            Self::Notify => Factors::NOTIFY,
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Block => "block",
            Self::Notify => "notify",
            Self::Critical => "critical",
        })
    }
}

/// Why a target makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Nonsense {
    /// NaN, infinite or negative.
    #[error("the limit must be a finite number, not negative")]
    Bound,
    /// A limit on the wrong side.
    #[error("{direction}, so that `{key}` would reward what is worse: give {}", sides(*.direction))]
    Direction {
        /// The metric's.
        direction: Direction,
        /// What was given.
        key: &'static str,
    },
    /// A factor that is none.
    #[error("{name} = {value}: give a factor of the limit above 0 and up to {LARGEST_FACTOR}")]
    Factor {
        /// `warning`, `critical` or `regression`.
        name: &'static str,
        /// What was given.
        value: f64,
    },
    /// It would be critical before it warns.
    #[error(
        "{direction}: a warning at {warning} times the limit would come after critical at {critical} times it; exchange them"
    )]
    Order {
        /// The metric's.
        direction: Direction,
        /// Its factor.
        warning: f64,
        /// Its factor.
        critical: f64,
    },
    /// A metric of the run has neither mode nor workload.
    #[error("it is measured once for the whole run, so leave {0} out")]
    OfTheRun(&'static str),
    /// Only latencies and mean throughput are.
    #[error("it is not kept by operation; latencies and throughput_mean_ops_per_s are")]
    ByOperation,
}

/// The keys that suit a direction.
fn sides(direction: Direction) -> &'static str {
    match direction {
        Direction::Higher => "`above` or `at_least`",
        Direction::Lower => "`below` or `at_most`",
    }
}

impl Target {
    /// The levels.
    pub fn levels(&self) -> Levels {
        Levels::of(self.limit, self.factors)
    }

    /// Itself, if it makes sense.
    pub(super) fn checked(self) -> Result<Self, Nonsense> {
        let metric = self.quantity.metric;
        let direction = metric.direction();
        if !self.limit.bound().is_finite() || self.limit.bound() < 0.0 {
            return Err(Nonsense::Bound);
        }
        if self.limit.direction() != direction {
            return Err(Nonsense::Direction { direction, key: self.limit.key() });
        }
        for (name, value) in [("warning", self.factors.warning), ("critical", self.factors.critical)] {
            if let Some(value) = value.filter(|value| !(*value > 0.0 && *value <= LARGEST_FACTOR)) {
                return Err(Nonsense::Factor { name, value });
            }
        }
        // A regression of 0 % is one, too.
        if let Some(value) = self.regression_threshold.filter(|value| !(0.0..=LARGEST_FACTOR).contains(value))
        {
            return Err(Nonsense::Factor { name: "regression", value });
        }
        if let (Some(warning), Some(critical)) = (self.factors.warning, self.factors.critical) {
            let late = match direction {
                Direction::Higher => warning < critical,
                Direction::Lower => warning > critical,
            };
            if late {
                return Err(Nonsense::Order { direction, warning, critical });
            }
        }
        let scope = &self.scope;
        if metric.place() == Place::Run {
            let given = [
                (scope.mode.is_some(), "`mode`"),
                (scope.workload.is_some(), "the workload"),
                (scope.operation.is_some(), "the operation"),
            ];
            if let Some((_, name)) = given.into_iter().find(|(given, _)| *given) {
                return Err(Nonsense::OfTheRun(name));
            }
        } else if metric.place() == Place::Workload && scope.operation.is_some() && !metric.is_by_operation()
        {
            return Err(Nonsense::ByOperation);
        }
        Ok(self)
    }
}

impl Scope {
    /// Whether it speaks of a workload. The operation is another question: a workload that was never asked for it has none.
    pub fn admits(&self, workload: &WorkloadResult) -> bool {
        workload.is_judged()
            && self.mode.is_none_or(|mode| mode == workload.mode)
            && (self.stage.as_ref())
                .is_none_or(|name| workload.stage.as_ref().is_some_and(|stage| stage.name == *name))
            && self.workload.as_ref().is_none_or(|name| *name == workload.name)
    }

    /// Why it does not speak of what was measured for so short a time.
    pub fn too_short(&self, measured_seconds: f64) -> Option<String> {
        let least = self.min_duration?;
        (measured_seconds < least.0.as_secs_f64())
            .then(|| format!("measured for {measured_seconds:.1} s, and it speaks of {least} and more"))
    }

    /// In words, as `class-create in lifecycle (open)`.
    pub fn words(&self) -> String {
        let operation =
            self.operation.map_or_else(String::new, |operation| format!("{} in ", operation.name()));
        let workload = match (&self.workload, self.mode) {
            (Some(workload), Some(mode)) => format!("{workload} ({mode})"),
            (Some(workload), None) => workload.clone(),
            (None, Some(mode)) => format!("{mode} loops"),
            (None, None) => "all workloads".into(),
        };
        let least = self.min_duration.map_or_else(String::new, |least| format!(", from {least} on"));
        format!("{operation}{workload}{least}")
    }
}
