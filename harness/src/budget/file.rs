//! The budget file: TOML, or JSON as performance budgets are written; unknown keys refused.

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use super::near::{advice, with_advice};
use super::services;
use super::{Action, Direction, Factors, Limit, Nonsense, Quantity, Scope, Target};
use crate::duration::Span;
use crate::report::model::Mode;
use crate::workload::OperationKind;

const DEFAULT: &str = include_str!("default.toml");
/// What `budget init` writes.
pub const INIT_TOML: &str = include_str!("init.toml");
/// The same as JSON.
pub const INIT_JSON: &str = include_str!("init.json");
/// The layout of both.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// A tenth: less is told apart from the machine's usual noise only with difficulty.
pub const FOREIGN_RTNL_PERCENT: f64 = 10.0;

/// A set of targets.
#[derive(Debug, Clone)]
pub struct Budget {
    /// The targets, in the file's order, and then the alerts.
    pub targets: Vec<Target>,
    /// True for the built-in budget, whose targets speak only of the workloads that were asked for. A file
    /// that somebody names must be measured whole.
    pub built_in: bool,
    /// How much of the requests' time in the kernel may go into waiting for RTNL behind other processes; percent. Above it, that a
    /// timing target is violated proves nothing about what was measured, and is inconclusive.
    pub foreign_rtnl_percent: f64,
}

/// Why a budget file was refused.
#[derive(Debug, thiserror::Error)]
#[error("{at}{fault}")]
pub struct ParseError {
    /// Where.
    pub at: At,
    /// What is wrong.
    pub fault: Fault,
}

/// A place in a budget file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// All of it.
    File,
    /// A line of TOML, from 1 on.
    Line(usize),
    /// A key of JSON, as `auth-service.response_time.p95`.
    Path(String),
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File => Ok(()),
            Self::Line(line) => write!(f, "line {line}: "),
            Self::Path(path) => write!(f, "{path}: "),
        }
    }
}

/// What is wrong with a budget file.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Neither TOML nor JSON, a wrong type, an unknown key or metric.
    #[error("{0}")]
    Syntax(String),
    /// Another layout.
    #[error("schema_version {0} is not known; this qdiscope reads {SCHEMA_VERSION}")]
    Version(String),
    /// No share.
    #[error("foreign_rtnl_percent = {0}: give a percentage from 0 to 100")]
    Share(f64),
    /// No target at all would always pass.
    #[error("it has no [[target]] and no [[alert]]")]
    Empty,
    /// None or several of the limits.
    #[error("target {metric}: give exactly one of `above`, `at_least`, `below` and `at_most`")]
    Limits {
        /// The target's metric.
        metric: String,
    },
    /// None or several of an alert's conditions.
    #[error("alert on {metric}: give exactly one of `when_above` and `when_below`")]
    Conditions {
        /// The alert's metric.
        metric: String,
    },
    /// An alert on what is good.
    #[error("alert on {metric}: {direction}, so that this would fire at what is good: give {}", match direction { Direction::Lower => "`when_above`", Direction::Higher => "`when_below`" })]
    Alert {
        /// The alert's metric.
        metric: String,
        /// The metric's.
        direction: Direction,
    },
    /// An operation that nothing does.
    #[error("unknown operation `{name}`: {advice}")]
    Operation {
        /// What was given.
        name: String,
        /// What may have been meant.
        advice: String,
    },
    /// It can be read, and makes no sense.
    #[error("{metric}: {nonsense}")]
    Nonsense {
        /// The metric.
        metric: String,
        /// Why not.
        nonsense: Nonsense,
    },
}

impl Fault {
    /// At a place.
    pub(super) fn at(self, at: At) -> ParseError {
        ParseError { at, fault: self }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema_version: u32,
    foreign_rtnl_percent: Option<f64>,
    #[serde(default)]
    target: Vec<Spanned<RawTarget>>,
    #[serde(default)]
    alert: Vec<Spanned<RawAlert>>,
}

/// A `[[target]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTarget {
    metric: Quantity,
    mode: Option<Mode>,
    workload: Option<String>,
    stage: Option<String>,
    operation: Option<String>,
    min_duration: Option<Span>,
    above: Option<f64>,
    at_least: Option<f64>,
    below: Option<f64>,
    at_most: Option<f64>,
    warning: Option<f64>,
    critical: Option<f64>,
    regression: Option<f64>,
    #[serde(rename = "_comment")]
    _comment: Option<IgnoredAny>,
}

/// An `[[alert]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAlert {
    name: Option<String>,
    metric: Quantity,
    mode: Option<Mode>,
    workload: Option<String>,
    stage: Option<String>,
    operation: Option<String>,
    min_duration: Option<Span>,
    when_above: Option<f64>,
    when_below: Option<f64>,
    action: Action,
    #[serde(rename = "_comment")]
    _comment: Option<IgnoredAny>,
}

impl Budget {
    /// The targets of README's table.
    pub fn built_in() -> Self {
        let mut budget = Self::parse(DEFAULT).expect("the built-in budget is parsed by a test");
        budget.built_in = true;
        budget
    }

    /// The strictest limit of a latency from end to end, µs; `None` where no latency has one.
    pub fn least_latency_us(&self) -> Option<f64> {
        let of_latency =
            |target: &&Target| target.quantity.phase.is_none() && target.quantity.metric.is_latency();
        let limits = self.targets.iter().filter(of_latency).map(|target| target.limit.bound());
        limits.min_by(f64::total_cmp)
    }

    /// Reads a budget file's text: JSON where it begins with a brace, which no TOML does; else TOML.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
            Self::parse_json(text)
        } else {
            Self::parse_toml(text)
        }
    }

    /// Reads JSON: services with their budgets, or `target` and `alert` as in TOML, or both.
    pub fn parse_json(text: &str) -> Result<Self, ParseError> {
        services::parse(text.trim_start_matches('\u{feff}'))
    }

    fn parse_toml(text: &str) -> Result<Self, ParseError> {
        let line =
            |at: usize| At::Line(text.as_bytes()[..at.min(text.len())].split(|byte| *byte == b'\n').count());
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            Fault::Syntax(with_advice(&one_line(error.message()))).at(line(at))
        })?;
        if file.schema_version != SCHEMA_VERSION {
            return Err(Fault::Version(file.schema_version.to_string()).at(At::File));
        }
        let mut targets = Vec::new();
        for raw in file.target {
            let at = line(raw.span().start);
            targets.push(raw.into_inner().target().map_err(|fault| fault.at(at))?);
        }
        for raw in file.alert {
            let at = line(raw.span().start);
            targets.push(raw.into_inner().target().map_err(|fault| fault.at(at))?);
        }
        Self::new(targets, file.foreign_rtnl_percent)
    }

    pub(super) fn new(targets: Vec<Target>, foreign: Option<f64>) -> Result<Self, ParseError> {
        let foreign_rtnl_percent = foreign.unwrap_or(FOREIGN_RTNL_PERCENT);
        if !(0.0..=100.0).contains(&foreign_rtnl_percent) {
            return Err(Fault::Share(foreign_rtnl_percent).at(At::File));
        }
        if targets.is_empty() {
            return Err(Fault::Empty.at(At::File));
        }
        Ok(Self { targets, built_in: false, foreign_rtnl_percent })
    }
}

/// toml's message without the excerpt that spans lines.
fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join(" ")
}

impl RawTarget {
    pub(super) fn target(self) -> Result<Target, Fault> {
        let limit = match (self.above, self.at_least, self.below, self.at_most) {
            (Some(bound), None, None, None) => Limit::Above(bound),
            (None, Some(bound), None, None) => Limit::AtLeast(bound),
            (None, None, Some(bound), None) => Limit::Below(bound),
            (None, None, None, Some(bound)) => Limit::AtMost(bound),
            _ => return Err(Fault::Limits { metric: self.metric.name() }),
        };
        let factors = Factors { warning: self.warning, critical: Some(self.critical.unwrap_or(1.0)) };
        checked(Target {
            quantity: self.metric,
            scope: scope(self.mode, self.workload, self.stage, self.operation, self.min_duration)?,
            limit,
            factors,
            regression_threshold: self.regression,
            action: None,
            rule: None,
        })
    }
}

impl RawAlert {
    pub(super) fn target(self) -> Result<Target, Fault> {
        // What fires above 12 is kept by 12.
        let limit = match (self.when_above, self.when_below) {
            (Some(bound), None) => Limit::AtMost(bound),
            (None, Some(bound)) => Limit::AtLeast(bound),
            _ => return Err(Fault::Conditions { metric: self.metric.name() }),
        };
        let metric = self.metric.name();
        let name = self.name.unwrap_or_else(|| format!("{metric} {}", limit.left_words()));
        let target = checked(Target {
            quantity: self.metric,
            scope: scope(self.mode, self.workload, self.stage, self.operation, self.min_duration)?,
            limit,
            factors: self.action.factors(),
            regression_threshold: None,
            action: Some(self.action),
            rule: Some(name),
        });
        target.map_err(|fault| match fault {
            Fault::Nonsense { metric, nonsense: Nonsense::Direction { direction, .. } } => {
                Fault::Alert { metric, direction }
            }
            fault => fault,
        })
    }
}

pub(super) fn checked(target: Target) -> Result<Target, Fault> {
    let metric = target.quantity.name();
    target.checked().map_err(|nonsense| Fault::Nonsense { metric, nonsense })
}

fn scope(
    mode: Option<Mode>,
    workload: Option<String>,
    stage: Option<String>,
    operation: Option<String>,
    min_duration: Option<Span>,
) -> Result<Scope, Fault> {
    let operation = operation.map(|name| named_operation(&name)).transpose()?;
    Ok(Scope { mode, workload, stage, operation, min_duration })
}

pub(super) fn operation(name: &str) -> Option<OperationKind> {
    OperationKind::ALL.into_iter().find(|operation| operation.name() == name)
}

pub(super) fn named_operation(name: &str) -> Result<OperationKind, Fault> {
    operation(name).ok_or_else(|| Fault::Operation {
        name: name.to_owned(),
        advice: advice(name, &OperationKind::ALL.map(OperationKind::name)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::Phase;
    use crate::budget::Metric;

    #[test]
    fn a_phase_has_percentiles() {
        let budget = Budget::parse(
            "schema_version = 1\nforeign_rtnl_percent = 25\n[[target]]\nmetric = \"rtnl_wait_p95_us\"\nbelow = 2000\n\
             [[target]]\nmetric = \"on_cpu_p99_9_us\"\nbelow = 1",
        )
        .unwrap();
        let quantity = |metric, phase| Quantity { metric, phase: Some(phase) };
        assert_eq!(budget.targets[0].quantity, quantity(Metric::LatencyP95Us, Phase::RtnlWait));
        assert_eq!(budget.targets[1].quantity, quantity(Metric::LatencyP999Us, Phase::OnCpu));
        assert!((budget.foreign_rtnl_percent - 25.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_built_in_budget_parses_and_names_every_target_of_the_seeds() {
        let budget = Budget::built_in();
        for metric in [
            Metric::ThroughputWorstSecondOpsPerS,
            Metric::LatencyP95Us,
            Metric::LatencyP99Us,
            Metric::PeakRssBytes,
            Metric::CpuPercentOfOneCore,
            Metric::LeakedSockets,
            Metric::LeakedFds,
            Metric::ClassesLeftAfterTeardown,
        ] {
            assert!(budget.targets.iter().any(|target| target.quantity == metric.into()), "{metric:?}");
        }
    }

    #[test]
    fn what_init_writes_is_the_built_in_budget_and_the_alerts() {
        let (toml, json) = (Budget::parse(INIT_TOML).unwrap(), Budget::parse(INIT_JSON).unwrap());
        assert_eq!(toml.targets, json.targets);
        let built_in = Budget::built_in().targets;
        let (targets, alerts) = toml.targets.split_at(built_in.len());
        assert_eq!(targets, built_in);
        let of = |target: &Target| (target.quantity.metric, target.limit, target.action.unwrap());
        assert_eq!(
            alerts.iter().map(of).collect::<Vec<_>>(),
            [
                (Metric::LatencyP95Us, Limit::AtMost(12_000.0), Action::Block),
                (Metric::ThroughputWorstSecondOpsPerS, Limit::AtLeast(900.0), Action::Notify),
                (Metric::MemoryGrowthMbPerHour, Limit::AtMost(10.0), Action::Critical),
            ]
        );
        assert_eq!(alerts[1].factors, Factors::NOTIFY);
    }

    #[test]
    fn a_target_has_factors_and_filters() {
        let budget = Budget::parse(
            "schema_version = 1\n[[target]]\nmetric = \"latency_p95_us\"\nat_most = 200\nwarning = 0.8\nregression = 0.15\n\
             operation = \"class-create\"\nworkload = \"lifecycle\"\nmode = \"open\"\nmin_duration = \"10m\"",
        )
        .unwrap();
        let target = &budget.targets[0];
        assert_eq!(target.factors, Factors { warning: Some(0.8), critical: Some(1.0) });
        assert_eq!(target.scope.words(), "class-create in lifecycle (open), from 10m on");
        assert_eq!(target.regression_threshold, Some(0.15));
    }

    #[test]
    fn bad_files_are_refused_in_one_line() {
        let target =
            |text: &str| format!("schema_version = 1\n[[target]]\nmetric = \"latency_p95_us\"\n{text}");
        for (text, word) in [
            (String::new(), "schema_version"),
            ("schema_version = 1".into(), "no [[target]]"),
            (target("below = 1").replace("= 1\n", "= 2\n"), "schema_version 2"),
            (target(""), "line 2: target latency_p95_us: give exactly one"),
            (target("below = 1\nabove = 1"), "exactly one"),
            (target("below = nan"), "finite"),
            (target("below = inf"), "finite"),
            (target("below = -1"), "not negative"),
            (target("below = 1").replace("p95_us", "p95_ms"), "line 3: unknown metric `latency_p95_ms`: did you mean"),
            (target("belwo = 1"), "line 4: unknown field `belwo`: did you mean `below`?"),
            (target("above = 1"), "lower is better"),
            (target("below = 1\nwarning = 0"), "warning = 0"),
            (target("below = 1\ncritical = 10.1"), "critical = 10.1"),
            (target("below = 1\nwarning = nan"), "warning = NaN"),
            (target("below = 1\nregression = -1"), "regression = -1"),
            (target("below = 1\nwarning = 1.2"), "exchange them"),
            (target("below = 1\noperation = \"class-craete\""), "did you mean `class-create`?"),
            (target("below = 1\nmode = \"ajar\""), "ajar"),
            (target("below = 1\nmin_duration = \"10\""), "units"),
            (target("at_most = 0\noperation = \"class-read\"").replace("latency_p95_us", "error_rate_percent"), "not kept by operation"),
            (target("at_most = 0\nmode = \"open\"").replace("latency_p95_us", "leaked_fds"), "leave `mode` out"),
            (target("below = 1").replace("latency_p95_us", "rtnl_wait_p42_us"), "unknown metric"),
            (target("below = 1").replace("latency_p95_us", "rtnl_wait_leaked_fds"), "unknown metric"),
            (target("below = 1").replace("= 1\n", "= 1\nforeign_rtnl_percent = 101\n"), "101"),
            ("schema_version = 1\n[[alert]]\nmetric = \"latency_p95_us\"\nwhen_above = 1".into(), "action"),
            ("schema_version = 1\n[[alert]]\nmetric = \"latency_p95_us\"\naction = \"block\"".into(), "line 2: alert on"),
            ("schema_version = 1\n[[alert]]\nmetric = \"latency_p95_us\"\nwhen_below = 1\naction = \"block\"".into(), "lower is better"),
            ("not toml at all".into(), "line 1"),
        ] {
            let error = Budget::parse(&text).expect_err(&text).to_string();
            assert!(error.contains(word) && !error.contains('\n'), "{text:?} → {error:?}, not {word}");
        }
    }
}
