//! What values say of a commit. Pure: no comparison is remembered, and each look is decided by all values that there are.

use super::model::Verdict;
use crate::compare::model::Better;
use crate::stats::two_samples::{self, Doubt, Order};

/// By how much a candidate is worse, whichever way its metric gets better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worse {
    /// The factor of its values, less 1, where greater is worse; that of their inverses where it is not (0.1: a tenth slower).
    pub by: f64,
    /// Where that lies, with the confidence of the look. `None`: there are too few values to say.
    pub interval: Option<[f64; 2]>,
    /// The probability of a difference as great, had both sides the same law.
    pub p: f64,
    /// Cliff's delta, above zero where it is worse.
    pub effect: f64,
    /// Test, effect size and interval agree that it is worse.
    pub alarm: bool,
    better: Better,
}

/// Why values say nothing, however many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unmeasured {
    /// One is missing, or no number.
    #[error("it was not measured in each run")]
    Missing,
    /// There is no half of a change from nothing.
    #[error("a value is zero or less, and of that there is no ratio: choose another metric")]
    NoRatio,
}

impl Worse {
    /// Holds a candidate's values against a baseline's, measured in turns, at a level.
    ///
    /// # Errors
    ///
    /// [`Unmeasured`].
    pub fn of(baseline: &[f64], candidate: &[f64], better: Better, level: f64) -> Result<Self, Unmeasured> {
        // The ratio of inverses is that of the sides exchanged.
        let (before, after) = match better {
            Better::Lower => (baseline, candidate),
            Better::Higher => (candidate, baseline),
        };
        let mut all = before.iter().chain(after);
        if !all.clone().all(|value| value.is_finite()) {
            return Err(Unmeasured::Missing);
        }
        if !all.all(|value| *value > 0.0) {
            return Err(Unmeasured::NoRatio);
        }
        let found = two_samples::at_level(before, after, level, Order::Interleaved);
        match found.verdict {
            two_samples::Verdict::Inconclusive(Doubt::NotFinite) => Err(Unmeasured::Missing),
            verdict => Ok(Self {
                by: found.change,
                interval: found.interval,
                p: found.p,
                effect: found.effect,
                alarm: verdict == two_samples::Verdict::Regression,
                better,
            }),
        }
    }

    /// The change of the values themselves, percent: of a throughput that is worse it is negative.
    pub fn change_percent(&self) -> f64 {
        self.shown(self.by)
    }

    /// Where that lies.
    pub fn interval_percent(&self) -> Option<[f64; 2]> {
        let [least, most] = self.interval?.map(|by| self.shown(by));
        Some([least.min(most), least.max(most)])
    }

    fn shown(&self, by: f64) -> f64 {
        100.0
            * match self.better {
                Better::Lower => by,
                Better::Higher => -by / (1.0 + by),
            }
    }
}

/// The middle between no change and a change, as a factor less 1: both are the same factor away.
fn half(change: f64) -> f64 {
    (1.0 + change).sqrt() - 1.0
}

/// What share of a whole change is its own: by logarithms, of which those of all commits add up. `None`: the whole is none.
pub fn share(own: f64, whole: f64) -> Option<f64> {
    let share = own.ln_1p() / whole.ln_1p();
    share.is_finite().then_some(share)
}

/// What bad is against good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoints {
    /// Worse, and by an amount that is known well enough to be halved.
    Differ,
    /// Not worse by the threshold.
    NoRegression,
    /// Better.
    Improvement,
    /// More runs may tell.
    MoreNeeded,
    /// It could not be told.
    Inconclusive,
}

/// Decides whether there is something to look for. `threshold`, a share, is what matters; at the last look there is an answer.
pub fn endpoints(worse: &Worse, threshold: f64, last: bool) -> Endpoints {
    match worse.interval {
        // Were the true change the least that it can be, half of the measured one would lie below it still.
        Some([from, _]) if worse.alarm && worse.by >= threshold && from > half(worse.by) => Endpoints::Differ,
        Some([_, most]) if most < 0.0 => Endpoints::Improvement,
        Some([_, most]) if most < threshold => Endpoints::NoRegression,
        _ if last => Endpoints::Inconclusive,
        _ => Endpoints::MoreNeeded,
    }
}

/// Decides of a commit against good. `whole` is the change from good to bad. `None`: more runs may tell.
pub fn step(worse: &Worse, whole: f64, last: bool) -> Option<Verdict> {
    match worse.interval {
        Some([from, _]) if from > half(whole) => Some(Verdict::Bad),
        Some([_, most]) if most < half(whole) => Some(Verdict::Good),
        _ => last.then_some(Verdict::Undecided),
    }
}

/// What the commit that was found is against its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// Worse, and most of the change is its.
    Most,
    /// Worse; whether most of the change is its, is not sure.
    Worse,
    /// Less than half of the change is its.
    LessThanHalf,
    /// More runs may tell.
    MoreNeeded,
    /// Fresh runs do not say that it is worse.
    Unconfirmed,
}

/// Decides of the commit that was found against its parent. `whole` is the change from good to bad.
pub fn confirmed(worse: &Worse, whole: f64, last: bool) -> Confirmed {
    match worse.interval {
        Some([from, _]) if worse.alarm && from > half(whole) => Confirmed::Most,
        Some([_, most]) if most < half(whole) => Confirmed::LessThanHalf,
        _ if !last => Confirmed::MoreNeeded,
        _ if worse.alarm => Confirmed::Worse,
        _ => Confirmed::Unconfirmed,
    }
}
