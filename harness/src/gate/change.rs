//! When a change is a regression. Pure.
//!
//! Two things must come together: the change is beyond the threshold, and it is told apart from how much the figures vary by themselves. One
//! that is beyond and cannot be told apart is *inconclusive*. One within the threshold passes.

use crate::report::sheet::Verdict;

/// How much worse is a warning, and how much critical; 0.15 is 15 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// From here on a warning.
    pub warning: f64,
    /// From here on critical.
    pub critical: f64,
}

/// The seeds' table "Regression Alert Thresholds" (performance-budget-guide).
impl Thresholds {
    /// Latencies.
    pub const RESPONSE_TIME: Self = Self { warning: 0.15, critical: 0.25 };
    /// Successful operations a second.
    pub const THROUGHPUT: Self = Self { warning: 0.10, critical: 0.20 };
    /// Share of failed operations.
    pub const ERROR_RATE: Self = Self { warning: 0.05, critical: 0.10 };
    /// Memory, CPU.
    pub const RESOURCES: Self = Self { warning: 0.10, critical: 0.20 };
    /// Packets lost beyond what the old tree loses, in percentage points: the seeds' error budget of 1 %, with its thresholds 0.5
    /// and 0.8.
    pub const LOSS_POINTS: Self = Self { warning: 0.5, critical: 0.8 };
}

/// The probability below which a difference is no accident.
pub const SIGNIFICANT: f64 = 0.05;

/// Judges a change. `worse_by` is relative, or in percentage points, as the thresholds are; `told_apart`: whether it is no accident, `None`
/// where too little was measured to say.
pub fn judge(worse_by: f64, thresholds: Thresholds, told_apart: Option<bool>) -> Verdict {
    // A comparison with NaN is false: what is no number passes nowhere.
    if worse_by < thresholds.warning {
        return Verdict::Pass;
    }
    match told_apart {
        Some(true) if worse_by >= thresholds.critical => Verdict::Critical,
        Some(true) if worse_by >= thresholds.warning => Verdict::Warning,
        _ => Verdict::Inconclusive,
    }
}

/// How much worse the second of two figures is, of which smaller ones are good. `None`: it grew from nothing, or one is no number.
pub fn growth(before: f64, after: f64) -> Option<f64> {
    match (before, after) {
        (before, after) if before > 0.0 && after.is_finite() => Some(after / before - 1.0),
        (0.0, 0.0) => Some(0.0),
        _ => None,
    }
}

/// The same where bigger ones are good.
pub fn decline(before: f64, after: f64) -> Option<f64> {
    (before > 0.0 && after.is_finite()).then(|| 1.0 - after / before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_threshold_and_told_apart() {
        use Verdict::{Critical, Inconclusive, Pass, Warning};
        let judged = |worse_by, told_apart| judge(worse_by, Thresholds::RESPONSE_TIME, told_apart);
        for (worse_by, told_apart, verdict) in [
            (-0.5, Some(true), Pass),
            (0.14, Some(true), Pass),
            (0.14, None, Pass),
            (0.15, Some(true), Warning),
            (0.25, Some(true), Critical),
            (0.25, Some(false), Inconclusive),
            (9.0, None, Inconclusive),
            (f64::INFINITY, Some(true), Critical),
            (f64::NAN, Some(true), Inconclusive),
        ] {
            assert_eq!(judged(worse_by, told_apart), verdict, "{worse_by} {told_apart:?}");
        }
    }

    #[test]
    fn worse_has_a_direction() {
        assert!((growth(100.0, 120.0).unwrap() - 0.2).abs() < 1e-9);
        assert!((decline(100.0, 80.0).unwrap() - 0.2).abs() < 1e-9);
        assert!(growth(100.0, 80.0).unwrap() < 0.0 && decline(100.0, 120.0).unwrap() < 0.0);
        assert_eq!((growth(0.0, 0.0), growth(0.0, 1.0), decline(0.0, 1.0)), (Some(0.0), None, None));
        assert_eq!(growth(1.0, f64::NAN), None);
    }
}
