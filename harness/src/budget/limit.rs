//! Bounds, and the levels at which a value that leaves them is worth a word or a stop.

use crate::stats::enough::{FEWEST_BEYOND, percentile_needs};

/// Which way a metric gets better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// More is better, as of throughput.
    Higher,
    /// Less is better, as of latency.
    Lower,
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Higher => "higher is better",
            Self::Lower => "lower is better",
        })
    }
}

/// A bound and which side of it is good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// Value > limit.
    Above(f64),
    /// Value ≥ limit.
    AtLeast(f64),
    /// Value < limit.
    Below(f64),
    /// Value ≤ limit.
    AtMost(f64),
}

impl Limit {
    /// The bound.
    pub fn bound(self) -> f64 {
        match self {
            Self::Above(bound) | Self::AtLeast(bound) | Self::Below(bound) | Self::AtMost(bound) => bound,
        }
    }

    /// As people write it.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Above(_) => ">",
            Self::AtLeast(_) => ">=",
            Self::Below(_) => "<",
            Self::AtMost(_) => "<=",
        }
    }

    /// The key of a budget file.
    pub fn key(self) -> &'static str {
        match self {
            Self::Above(_) => "above",
            Self::AtLeast(_) => "at_least",
            Self::Below(_) => "below",
            Self::AtMost(_) => "at_most",
        }
    }

    /// Which way it points.
    pub fn direction(self) -> Direction {
        match self {
            Self::Above(_) | Self::AtLeast(_) => Direction::Higher,
            Self::Below(_) | Self::AtMost(_) => Direction::Lower,
        }
    }

    /// Whether `value` keeps it.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::Above(bound) => value > bound,
            Self::AtLeast(bound) => value >= bound,
            Self::Below(bound) => value < bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    /// The same at `factor` times the bound.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        match self {
            Self::Above(bound) => Self::Above(bound * factor),
            Self::AtLeast(bound) => Self::AtLeast(bound * factor),
            Self::Below(bound) => Self::Below(bound * factor),
            Self::AtMost(bound) => Self::AtMost(bound * factor),
        }
    }

    /// What leaving it is: `above 12` or `below 900`, or `12 or more` where the bound itself is out of it.
    pub fn left_words(self) -> String {
        match self {
            Self::Above(bound) => format!("{bound} or less"),
            Self::AtLeast(bound) => format!("below {bound}"),
            Self::Below(bound) => format!("{bound} or more"),
            Self::AtMost(bound) => format!("above {bound}"),
        }
    }
}

/// Where the levels lie, as factors of the limit. A lower-is-better value of more than `factor × limit` has crossed a level, and a
/// higher-is-better one of less: with a least throughput of 1,000, 0.9 and 0.8 it warns below 900 and is critical below 800.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factors {
    /// `None`: it never warns.
    pub warning: Option<f64>,
    /// `None`: it only warns.
    pub critical: Option<f64>,
}

impl Factors {
    /// A violated limit is critical, and nothing warns of it.
    pub const LIMIT: Self = Self { warning: None, critical: Some(1.0) };

    /// A violated limit is worth a word, and nothing more.
    pub const NOTIFY: Self = Self { warning: Some(1.0), critical: None };
}

/// The levels of a target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// Beyond this it warns.
    pub warning: Option<Limit>,
    /// Beyond this it is critical.
    pub critical: Option<Limit>,
}

/// What a value has crossed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crossed {
    /// No level.
    Nothing,
    /// The warning level only.
    Warning,
    /// The critical level.
    Critical,
}

impl Levels {
    /// Those of a limit.
    pub fn of(limit: Limit, factors: Factors) -> Self {
        let level = |factor: Option<f64>| factor.map(|factor| limit.times(factor));
        Self { warning: level(factors.warning), critical: level(factors.critical) }
    }

    /// What `value` has crossed.
    pub fn crossed(self, value: f64) -> Crossed {
        let left = |level: Option<Limit>| level.is_some_and(|level| !level.holds(value));
        match (left(self.critical), left(self.warning)) {
            (true, _) => Crossed::Critical,
            (false, true) => Crossed::Warning,
            (false, false) => Crossed::Nothing,
        }
    }

    /// What an estimate of growth has crossed, of which only an interval is known. Beyond a level is what the estimate is beyond *and*
    /// whose interval excludes that there is no growth at all; within it is what the whole interval is within. What is neither,
    /// cannot be told.
    ///
    /// # Errors
    ///
    /// What cannot be told, in words.
    pub fn crossed_by_growth(self, estimate: f64, [low, high]: [f64; 2]) -> Result<Crossed, String> {
        if !(low <= estimate && estimate <= high && low.is_finite() && high.is_finite()) {
            return Err(format!("an interval from {low} to {high} around {estimate} is none"));
        }
        for (level, crossed) in [(self.critical, Crossed::Critical), (self.warning, Crossed::Warning)] {
            let Some(level) = level else { continue };
            if !level.holds(estimate) && low > 0.0 {
                return Ok(crossed);
            }
            if !level.holds(high) {
                return Err(format!(
                    "by its confidence interval it lies between {low:.3} and {high:.3}, which leaves open whether it is {}: measure longer",
                    level.left_words()
                ));
            }
        }
        Ok(Crossed::Nothing)
    }
}

/// Why a percentile of `count` values says nothing; `None` where they are enough.
pub(super) fn too_few(share: f64, count: u64) -> Option<String> {
    let needed = percentile_needs(share);
    (count < needed).then(|| {
        format!("{count} values are too few for it: it needs {needed}, so that {FEWEST_BEYOND} lie beyond it")
    })
}

#[cfg(test)]
mod tests {
    use super::Crossed::{Critical, Nothing, Warning};
    use super::*;

    #[test]
    fn limits_are_strict_where_they_say_so() {
        assert!(!Limit::Above(1000.0).holds(1000.0));
        assert!(Limit::AtLeast(1000.0).holds(1000.0));
        assert!(!Limit::Below(10.0).holds(10.0));
        assert!(Limit::AtMost(0.0).holds(0.0));
    }

    /// The two contradictions of the seeds, as they are read.
    #[test]
    fn levels_lie_where_the_factors_say() {
        let throughput =
            Levels::of(Limit::AtLeast(1_000.0), Factors { warning: Some(0.9), critical: Some(0.8) });
        let crossed = [950.0, 900.0, 899.0, 800.0, 799.0].map(|value| throughput.crossed(value));
        assert_eq!(crossed, [Nothing, Nothing, Warning, Warning, Critical]);
        let errors = Levels::of(Limit::AtMost(1.0), Factors { warning: Some(0.5), critical: Some(0.8) });
        assert_eq!(
            [0.5, 0.6, 0.8, 0.9].map(|value| errors.crossed(value)),
            [Nothing, Warning, Warning, Critical]
        );
        let notify = Levels::of(Limit::AtLeast(900.0), Factors::NOTIFY);
        assert_eq!([900.0, 1.0].map(|value| notify.crossed(value)), [Nothing, Warning]);
    }

    #[test]
    fn growth_is_beyond_or_within_or_cannot_be_told() {
        let levels = Levels::of(Limit::AtMost(10.0), Factors { warning: Some(0.8), critical: Some(1.0) });
        let crossed = |estimate, low, high| levels.crossed_by_growth(estimate, [low, high]);
        assert_eq!(crossed(0.5, -3.0, 4.0), Ok(Nothing), "no leak, and some noise");
        assert_eq!(crossed(12.0, 9.0, 15.0), Ok(Critical));
        assert!(crossed(12.0, -1.0, 25.0).is_err(), "it may be that nothing grows");
        assert!(crossed(2.0, 1.0, 11.0).is_err(), "it may be too much");
        assert_eq!(crossed(8.5, 8.1, 8.9), Ok(Warning));
        assert!(crossed(8.5, 5.0, 10.5).is_err(), "it may be critical");
        assert!(crossed(7.0, 5.0, 9.0).is_err(), "it may be worth a warning");
        assert!(crossed(7.0, 8.0, 9.0).is_err() && crossed(f64::NAN, 0.0, 1.0).is_err());
    }
}
