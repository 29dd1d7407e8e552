//! How sure a law of growth is: the choice made again on resampled rounds and stages.
//!
//! Rounds disturb all their stages and stages have all their rounds, so both are drawn, independently (the pigeonhole bootstrap: Owen,
//! The Pigeonhole Bootstrap, 2007; percentile intervals as in Efron and Tibshirani, An Introduction to the Bootstrap, 13.3).
//!
//! What that gives, of a hundred simulated measurements of each law (12 sizes, 3 rounds, a growth as of real adds): with noise of
//! 5 % all were judged right; with 10 % at least 94, and the others were inconclusive; with 20 % lines and squares nearly always, and
//! constants and logarithms were mostly inconclusive. None was judged wrong. With 6 sizes and a single round 4 of 1,600 were, all
//! of them at 20 %.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::choice::{Choice, LEAST_STAGES, choose};
use super::growth::{Curve, Law, Point, fit, fit_with_knee, residuals};
use super::order::{ascending, median, quantile};
use super::runs::few_runs;
use super::unbounded;

/// Enough for an interval's second digit.
const RESAMPLES: usize = 400;

/// A draw with too few different stages has no law and does not count.
const LEAST_RESAMPLES: usize = 40;

/// In so many of the resamples the same law has to be chosen.
const AGREEMENT: f64 = 0.75;

/// A law that is farther from what it was not shown describes nothing, even where the others are farther.
const MOST_ERROR: f64 = 0.2;

/// Where so large a rise cannot be ruled out, nothing is called constant.
const UNSEEN_RISE: f64 = 0.6;

/// What was measured: in each round a figure at each size.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// The sizes, ascending.
    pub sizes: Vec<f64>,
    /// By round, then by size.
    pub rounds: Vec<Vec<f64>>,
}

/// What the figures say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// The law, or none: inconclusive.
    pub law: Option<Law>,
    /// Why it is inconclusive.
    pub inconclusive_because: Option<String>,
    /// The fit that describes the figures best, also where it is not sure.
    pub curve: Curve,
    /// Where its slope lies with 95 % confidence.
    pub slope_interval: [f64; 2],
    /// How much the fit changes over the range, relative to its smaller end. Null: it leaves the range in which that means anything.
    #[serde(deserialize_with = "unbounded::figure")]
    #[schemars(with = "Option<f64>")]
    pub relative_rise: f64,
    /// Where that lies with 95 % confidence; for a constant, that of a straight line. Null: there is no bound on that side.
    #[serde(deserialize_with = "unbounded::interval")]
    #[schemars(with = "[Option<f64>; 2]")]
    pub relative_rise_interval: [f64; 2],
    /// In which share of the resamples the same law was chosen.
    pub agreement: f64,
    /// How far the fit is from stages that it was not shown: mean relative error.
    pub error: f64,
    /// The best of the other laws.
    pub next_best: Option<Other>,
    /// Whether the deviations from the fit follow each other: it then bends otherwise than its law.
    pub bends: bool,
}

/// A law that was not chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Other {
    /// The law.
    pub law: Law,
    /// Its mean relative error on stages that it was not shown.
    pub error: f64,
}

impl Samples {
    /// The median of the rounds at each size.
    pub fn points(&self) -> Vec<Point> {
        let rounds: Vec<&Vec<f64>> = self.rounds.iter().collect();
        let stages: Vec<usize> = (0..self.sizes.len()).collect();
        self.points_of(&rounds, &stages)
    }

    fn points_of(&self, rounds: &[&Vec<f64>], stages: &[usize]) -> Vec<Point> {
        let at = |stage: usize| {
            let figures: Vec<f64> = rounds.iter().filter_map(|round| round.get(stage).copied()).collect();
            Some(Point { n: self.sizes[stage], y: median(&figures)? })
        };
        stages.iter().filter_map(|&stage| at(stage)).filter(|point| point.y > 0.0).collect()
    }

    /// Rounds and stages, drawn with replacement.
    fn drawn(&self, rng: &mut ChaCha8Rng) -> Vec<Point> {
        let rounds: Vec<&Vec<f64>> =
            self.rounds.iter().map(|_| &self.rounds[rng.random_range(0..self.rounds.len())]).collect();
        let stages: Vec<usize> = self.sizes.iter().map(|_| rng.random_range(0..self.sizes.len())).collect();
        self.points_of(&rounds, &stages)
    }
}

/// So that enough of the draws have different sizes to choose by.
pub const LEAST_SIZES: usize = LEAST_STAGES + 1;

/// Judges; the same samples and seed give the same judgement. `None` with fewer than [`LEAST_SIZES`] sizes, or without a round.
pub fn judge(samples: &Samples, seed: u64) -> Option<Judgement> {
    judge_by(samples, seed, RESAMPLES)
}

fn judge_by(samples: &Samples, seed: u64, draws: usize) -> Option<Judgement> {
    (samples.sizes.len() >= LEAST_SIZES).then_some(())?;
    let points = samples.points();
    let choice = choose(&points)?;
    let (from, to) = (*samples.sizes.first()?, *samples.sizes.last()?);
    let resampled = Resampled::of(samples, &choice.curve, [from, to], seed, draws);
    let relative_rise = choice.curve.relative_rise(from, to);
    let bends = bends(&choice, &points);
    let mut judgement = Judgement {
        law: Some(choice.curve.law),
        inconclusive_because: None,
        curve: choice.curve,
        slope_interval: interval(&resampled.slopes)?,
        relative_rise,
        relative_rise_interval: interval(&resampled.rises)?,
        agreement: resampled.share(choice.curve.law),
        error: choice.error,
        next_best: choice.next_best().map(|(law, error)| Other { law, error }),
        bends,
    };
    judgement.inconclusive_because = doubt(&judgement, &resampled);
    if judgement.inconclusive_because.is_some() {
        judgement.law = None;
    }
    Some(judgement)
}

/// What the resamples gave.
struct Resampled {
    laws: BTreeMap<Law, usize>,
    slopes: Vec<f64>,
    rises: Vec<f64>,
}

impl Resampled {
    fn of(samples: &Samples, curve: &Curve, [from, to]: [f64; 2], seed: u64, draws: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut resampled = Self { laws: BTreeMap::new(), slopes: Vec::new(), rises: Vec::new() };
        let again = |points: &[Point]| match (curve.knee, curve.law) {
            (Some(knee), _) => fit_with_knee(points, knee.at),
            // A constant's interval is about what it might have overlooked.
            (None, Law::Constant) => fit(Law::Linear, points),
            (None, law) => fit(law, points),
        };
        for _ in 0..draws {
            let points = samples.drawn(&mut rng);
            let (Some(choice), Some(again)) = (choose(&points), again(&points)) else { continue };
            *resampled.laws.entry(choice.curve.law).or_default() += 1;
            resampled.slopes.push(again.slope);
            resampled.rises.push(again.relative_rise(from, to));
        }
        resampled
    }

    fn share(&self, law: Law) -> f64 {
        let all: usize = self.laws.values().sum();
        self.laws.get(&law).copied().unwrap_or_default() as f64 / all.max(1) as f64
    }

    /// The law that was chosen most often beside the given one.
    fn rival(&self, law: Law) -> Option<(Law, f64)> {
        let (rival, _) =
            self.laws.iter().filter(|(other, _)| **other != law).max_by_key(|(_, count)| **count)?;
        Some((*rival, self.share(*rival)))
    }
}

/// Why the choice is not sure.
fn doubt(judgement: &Judgement, resampled: &Resampled) -> Option<String> {
    let law = judgement.curve.law;
    let [least, most] = judgement.relative_rise_interval;
    if law == Law::Constant {
        let hidden = least.abs().max(most.abs());
        return (hidden > UNSEEN_RISE).then(|| {
            if hidden.is_finite() {
                format!(
                    "the rounds differ so much that a change by {:.0} % might hide in them",
                    hidden * 100.0
                )
            } else {
                "the rounds differ so much that any growth might hide in them".into()
            }
        });
    }
    if least <= 0.0 && most >= 0.0 {
        return Some(format!(
            "the slope may be zero: its 95 % interval is {:.3e} to {:.3e}",
            judgement.slope_interval[0], judgement.slope_interval[1]
        ));
    }
    if judgement.error > MOST_ERROR {
        return Some(format!(
            "{law} fits best and is still {:.0} % from sizes that it was not shown: the curve has another form, or the machine was disturbed",
            judgement.error * 100.0
        ));
    }
    if judgement.agreement < AGREEMENT {
        let rival = resampled
            .rival(law)
            .map_or_else(String::new, |(rival, share)| format!(", {rival} in {:.0} %", share * 100.0));
        return Some(format!(
            "{law} fits best in {:.0} % of the resamples only{rival}: more rounds, stages or a wider range may tell",
            judgement.agreement * 100.0
        ));
    }
    None
}

fn interval(values: &[f64]) -> Option<[f64; 2]> {
    let sorted = ascending(values);
    // Fewer do not have the percentiles.
    (sorted.len() >= LEAST_RESAMPLES).then_some(())?;
    Some([quantile(&sorted, 0.025)?, quantile(&sorted, 0.975)?])
}

/// By the runs test at 5 %, where the deviations are not too small to matter.
fn bends(choice: &Choice, points: &[Point]) -> bool {
    const SMALL: f64 = 0.03;
    let deviations = residuals(&choice.curve, points);
    let sizes: Vec<f64> = deviations.iter().map(|value| value.abs()).collect();
    points.len() > LEAST_STAGES
        && median(&sizes).is_some_and(|median| median > SMALL)
        && few_runs(&deviations).is_some_and(|probability| probability < 0.05)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of three rounds with noise in proportion to them, and one round in three a tenth slower as a whole.
    fn samples(law: impl Fn(f64) -> f64, noise: f64, seed: u64) -> Samples {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let sizes: Vec<f64> = (1..=12).map(|stage| f64::from(stage * stage * 139)).collect();
        // The sum of twelve uniform ones is nearly normal.
        let mut normal = || (0..12).map(|_| rng.random_range(-0.5..0.5)).sum::<f64>();
        let rounds = (0..3)
            .map(|round| {
                let slower = if round == 1 { 1.0 + noise } else { 1.0 };
                sizes.iter().map(|&n| law(n) * slower * (1.0 + noise * normal()).max(0.1)).collect()
            })
            .collect();
        Samples { sizes, rounds }
    }

    const SEEDS: u64 = 20;

    /// Resamples: without optimisation four hundred take a minute.
    const FEW: usize = 60;

    /// How often each law is found.
    fn found(law: impl Fn(f64) -> f64, noise: f64) -> BTreeMap<Option<Law>, u64> {
        let mut found = BTreeMap::new();
        for seed in 0..SEEDS {
            let judgement = judge_by(&samples(&law, noise, seed), 1, FEW).unwrap();
            *found.entry(judgement.law).or_default() += 1;
        }
        found
    }

    /// Real adds: 80 to some 2,000 µs at 20,000 classes; a logarithm's growth is smaller by nature.
    #[test]
    fn with_five_percent_of_noise_nineteen_of_twenty_are_right_and_none_is_wrong() {
        for law in Law::GROWING {
            let rise = if law == Law::Logarithmic { 400.0 } else { 2_000.0 };
            let slope = rise / (law.of(20_000.0) - law.of(139.0));
            let found = found(|n| 80.0 + slope * (law.of(n) - law.of(139.0)), 0.05);
            let right = found.get(&Some(law)).copied().unwrap_or_default();
            let unsure = found.get(&None).copied().unwrap_or_default();
            assert!(right >= SEEDS - 1 && right + unsure == SEEDS, "{law}: {found:?}");
        }
    }

    #[test]
    fn pure_noise_is_constant_or_inconclusive_and_never_growth() {
        for noise in [0.02, 0.1] {
            let found = found(|_| 2.3, noise);
            assert!(
                found.get(&Some(Law::Constant)).copied().unwrap_or_default() >= SEEDS - 1,
                "{noise}: {found:?}"
            );
            assert!(found.keys().all(|law| matches!(law, None | Some(Law::Constant))), "{noise}: {found:?}");
        }
        let found = found(|_| 2.3, 0.6);
        assert!(found.keys().all(|law| matches!(law, None | Some(Law::Constant))), "{found:?}");
        assert!(found.get(&None).copied().unwrap_or_default() >= SEEDS / 2, "{found:?}");
    }

    #[test]
    fn a_knee_is_linear_with_two_slopes() {
        let law = |n: f64| 80.0 + 0.09 * n + 0.15 * (n - 8_000.0).max(0.0);
        for seed in 0..SEEDS {
            let judgement = judge_by(&samples(law, 0.02, seed), 1, FEW).unwrap();
            assert_eq!(judgement.law, Some(Law::Linear), "{judgement:?}");
            let knee = judgement.curve.knee.unwrap();
            assert!(knee.slope_beyond > 1.5 * judgement.curve.slope, "{judgement:?}");
        }
    }

    #[test]
    fn the_true_slope_lies_in_its_interval() {
        let mut inside = 0;
        for seed in 0..SEEDS {
            let judgement = judge_by(&samples(|n| 80.0 + 0.1 * n, 0.05, seed), 1, FEW).unwrap();
            let [least, most] = judgement.slope_interval;
            inside += u64::from((least..=most).contains(&0.1));
        }
        assert!(inside >= SEEDS - 3, "{inside} of {SEEDS}");
    }

    #[test]
    fn it_is_the_same_again_and_few_sizes_are_too_few() {
        let samples = samples(|n| 80.0 + 0.1 * n, 0.05, 1);
        assert_eq!(judge(&samples, 7), judge(&samples, 7));
        let few = Samples { sizes: samples.sizes[..4].to_vec(), rounds: samples.rounds };
        assert_eq!(judge(&few, 7), None);
    }

    /// As of adds in an emulated machine, where memory gets slow beyond some 3,000 classes.
    #[test]
    fn the_best_of_bad_laws_is_none() {
        let steep = |n: f64| (10.0 + 0.15 * n) * if n > 4_000.0 { 5.0 } else { 1.0 };
        let judgement = judge_by(&samples(steep, 0.1, 1), 1, FEW).unwrap();
        assert!(judgement.error > MOST_ERROR && judgement.law.is_none(), "{judgement:?}");
    }

    /// Five sizes in a single round, as of adds to a tree that is still small: a resample's line may lead below zero.
    #[test]
    fn what_has_no_bound_is_null_and_is_read_again() {
        let sizes = vec![10.0, 50.0, 90.0, 140.0, 200.0];
        let judgement =
            judge(&Samples { sizes, rounds: vec![vec![900.0, 100.0, 20.0, 400.0, 10.0]] }, 1).unwrap();
        assert!(judgement.relative_rise_interval.iter().any(|bound| bound.is_infinite()), "{judgement:?}");
        assert!(judgement.law.is_none(), "{judgement:?}");
        let text = serde_json::to_string(&judgement).unwrap();
        assert!(text.contains("null"), "{text}");
        let read: Judgement = serde_json::from_str(&text).unwrap();
        let bits = |judgement: &Judgement| judgement.relative_rise_interval.map(f64::to_bits);
        assert_eq!(bits(&read), bits(&judgement));
    }

    #[test]
    fn a_fall_is_told_by_its_sign() {
        let judgement = judge(&samples(|n| 100_000.0 / (1.0 + n / 2_000.0), 0.02, 1), 1).unwrap();
        assert!(judgement.relative_rise < -1.0, "{judgement:?}");
    }
}
