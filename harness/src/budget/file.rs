//! The budget file: TOML, unknown keys refused.

use serde::Deserialize;

use super::Quantity;
use crate::report::model::Mode;

const DEFAULT: &str = include_str!("default.toml");
const SCHEMA_VERSION: u32 = 1;

/// A tenth: less is told apart from the machine's usual noise only with difficulty.
const FOREIGN_RTNL_PERCENT: f64 = 10.0;

/// A set of targets.
#[derive(Debug, Clone)]
pub struct Budget {
    /// The targets, in the file's order.
    pub targets: Vec<Target>,
    /// True for the built-in budget, whose targets speak only of the workloads that were asked for. A file
    /// that somebody names must be measured whole.
    pub built_in: bool,
    /// How much of the requests' time in the kernel may go into waiting for RTNL behind other processes; percent. Above it, that a
    /// timing target is violated proves nothing about what was measured, and is inconclusive.
    pub foreign_rtnl_percent: f64,
}

/// One target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// What it is set on.
    pub quantity: Quantity,
    /// Only workloads in this mode.
    pub mode: Option<Mode>,
    /// What the value must keep.
    pub limit: Limit,
}

/// A bound and which side of it is good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// Value > limit.
    Above(f64),
    /// Value < limit.
    Below(f64),
    /// Value ≤ limit.
    AtMost(f64),
}

impl Limit {
    /// The bound.
    pub fn bound(self) -> f64 {
        match self {
            Self::Above(bound) | Self::Below(bound) | Self::AtMost(bound) => bound,
        }
    }

    /// As people write it.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Above(_) => ">",
            Self::Below(_) => "<",
            Self::AtMost(_) => "<=",
        }
    }

    /// Whether `value` keeps it.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::Above(bound) => value > bound,
            Self::Below(bound) => value < bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

/// Why a budget file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Not TOML, an unknown key or metric.
    #[error("line {line}: {}", one_line(.source))]
    Toml {
        /// Where, from 1 on.
        line: usize,
        /// What is wrong.
        source: toml::de::Error,
    },
    /// Another layout.
    #[error("schema_version {0} is not known; this qdiscope reads {SCHEMA_VERSION}")]
    Version(u32),
    /// No share.
    #[error("foreign_rtnl_percent = {0}: give a percentage from 0 to 100")]
    Share(f64),
    /// No target at all would always pass.
    #[error("it has no [[target]]")]
    Empty,
    /// None or several of the limits.
    #[error("target {metric}: give exactly one of `above`, `below` and `at_most`")]
    Limits {
        /// The target's metric.
        metric: String,
    },
    /// A metric of the run has no mode.
    #[error("target {metric}: it is measured once for the whole run, so leave `mode` out")]
    Mode {
        /// The target's metric.
        metric: String,
    },
    /// NaN, infinite or negative.
    #[error("target {metric}: the limit must be a finite number, not negative")]
    Bound {
        /// The target's metric.
        metric: String,
    },
}

/// toml's message without the excerpt that spans lines.
fn one_line(error: &toml::de::Error) -> String {
    error.message().lines().collect::<Vec<_>>().join(" ")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema_version: u32,
    foreign_rtnl_percent: Option<f64>,
    #[serde(default)]
    target: Vec<RawTarget>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTarget {
    metric: Quantity,
    mode: Option<Mode>,
    above: Option<f64>,
    below: Option<f64>,
    at_most: Option<f64>,
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

    /// Reads a budget file's text.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let file: File = toml::from_str(text).map_err(|source| {
            let at = source.span().map_or(0, |span| span.start.min(text.len()));
            ParseError::Toml { line: text.as_bytes()[..at].split(|byte| *byte == b'\n').count(), source }
        })?;
        if file.schema_version != SCHEMA_VERSION {
            return Err(ParseError::Version(file.schema_version));
        }
        let foreign_rtnl_percent = file.foreign_rtnl_percent.unwrap_or(FOREIGN_RTNL_PERCENT);
        if !(0.0..=100.0).contains(&foreign_rtnl_percent) {
            return Err(ParseError::Share(foreign_rtnl_percent));
        }
        if file.target.is_empty() {
            return Err(ParseError::Empty);
        }
        let targets = file.target.iter().map(Target::try_from).collect::<Result<_, _>>()?;
        Ok(Self { targets, built_in: false, foreign_rtnl_percent })
    }
}

impl TryFrom<&RawTarget> for Target {
    type Error = ParseError;

    fn try_from(raw: &RawTarget) -> Result<Self, ParseError> {
        let limit = match (raw.above, raw.below, raw.at_most) {
            (Some(bound), None, None) => Limit::Above(bound),
            (None, Some(bound), None) => Limit::Below(bound),
            (None, None, Some(bound)) => Limit::AtMost(bound),
            _ => return Err(ParseError::Limits { metric: raw.metric.name() }),
        };
        if !limit.bound().is_finite() || limit.bound() < 0.0 {
            return Err(ParseError::Bound { metric: raw.metric.name() });
        }
        if raw.mode.is_some() && raw.metric.metric.is_of_the_run() {
            return Err(ParseError::Mode { metric: raw.metric.name() });
        }
        Ok(Self { quantity: raw.metric, mode: raw.mode, limit })
    }
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
        assert_eq!(budget.targets[1].quantity.name(), "on_cpu_p99_9_us");
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
    fn bad_files_are_refused_in_one_line() {
        for text in [
            "",
            "schema_version = 1",
            "schema_version = 2\n[[target]]\nmetric = \"latency_p95_us\"\nbelow = 1",
            "schema_version = 1\n[[target]]\nmetric = \"latency_p95_us\"",
            "schema_version = 1\n[[target]]\nmetric = \"latency_p95_us\"\nbelow = 1\nabove = 1",
            "schema_version = 1\n[[target]]\nmetric = \"latency_p95_us\"\nbelow = nan",
            "schema_version = 1\n[[target]]\nmetric = \"latency_p95_ms\"\nbelow = 1",
            "schema_version = 1\n[[target]]\nmetric = \"latency_p95_us\"\nbelwo = 1",
            "schema_version = 1\n[[target]]\nmetric = \"leaked_fds\"\nmode = \"open\"\nat_most = 0",
            "schema_version = 1\n[[target]]\nmetric = \"rtnl_wait_p42_us\"\nbelow = 1",
            "schema_version = 1\n[[target]]\nmetric = \"rtnl_wait_leaked_fds\"\nbelow = 1",
            "schema_version = 1\nforeign_rtnl_percent = 101\n[[target]]\nmetric = \"latency_p95_us\"\nbelow = 1",
            "not toml at all",
        ] {
            let error = Budget::parse(text).expect_err(text).to_string();
            assert!(!error.is_empty() && !error.contains('\n'), "{text:?} → {error:?}");
        }
    }

    #[test]
    fn the_line_is_named() {
        let error = Budget::parse("schema_version = 1\n[[target]]\nmetric = \"latency_p95_ms\"\nbelow = 1")
            .unwrap_err();
        assert!(error.to_string().starts_with("line 3: "), "{error}");
    }

    #[test]
    fn limits_are_strict_where_they_say_so() {
        assert!(!Limit::Above(1000.0).holds(1000.0));
        assert!(!Limit::Below(10.0).holds(10.0));
        assert!(Limit::AtMost(0.0).holds(0.0));
    }
}
