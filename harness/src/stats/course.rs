//! The course of a series: where it steps, and whether it drifts. Pure, and the same for the same values.
//!
//! A slow drift looks like a staircase to whoever looks for steps, and a step like a steep slope to whoever looks for a slope. So both are tried,
//! alone and together: the steps of `change_points`; a line; a line with the steps that are left when it is taken away. Each is a model of the
//! series with as many numbers as it needs, two for a step and one for a slope, and Schwarz's criterion weighs what a model explains against
//! those (Estimating the Dimension of a Model, 1978). A drift has to be better than the best without one by `EVIDENCE` (Kass and Raftery, Bayes
//! Factors, 1995, section 3.2, who call six to ten strong): steps are what happens to software.
//!
//! Slopes are medians of those between all pairs of values between two steps, each pair weighing as much as its values lie apart (Sen, Estimates
//! of the Regression Coefficient Based on Kendall's Tau, 1968; Jaeckel, Estimating Regression Coefficients by Minimizing the Dispersion of
//! the Residuals, 1972). Wild values count as far ones, and neighbours that resemble each other as fewer values than they are.

use std::ops::Range;

use super::change_points::{ChangePoint, SHORTEST, Search, change_points_of, correlation_of_neighbours};
use super::order::median;
use super::scores::{Scale, clipped, deviations};

/// Values of a series, at least, in which a drift is looked for.
pub const FEWEST: usize = 16;
/// By how much a model with a drift has to be better than the best without, in Schwarz's criterion.
const EVIDENCE: f64 = 6.0;
/// Standard deviations beyond which a residual is as far away as any.
const CLIP: f64 = 4.5;
/// So many values of a series are paired with each other.
const MOST_PAIRED: usize = 120;
/// Steps and slope depend on each other: so often is each looked for anew.
const ROUNDS: u8 = 3;

/// A series, explained.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Where it steps, in its order; with a drift, beside that: the levels are those that it has where it steps.
    pub steps: Vec<ChangePoint>,
    /// How it drifts.
    pub drift: Option<Drift>,
}

/// A gradual change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// By what share it grows from the first value to the last, steps left out; by how much where that is not [`Self::relative`].
    pub change: f64,
    /// Whether it is a share. Of zero and less there is none.
    pub relative: bool,
}

/// Explains a series. What is not finite is passed over.
pub fn course(values: &[f64]) -> Course {
    let (places, kept): (Vec<usize>, Vec<f64>) =
        values.iter().copied().enumerate().filter(|(_, value)| value.is_finite()).unzip();
    let scale = Scale::of(&kept);
    let scaled = scale.scaled(&kept);
    let stepped = Model::of(&scaled, change_points_of(&scaled, Search::Thorough), 0.0);
    let drifting = (kept.len() >= FEWEST).then(|| best_with_drift(&scaled, &stepped)).flatten();
    let drift = drifting.as_ref().map(|model| Drift {
        change: scale.change(model.slope * (kept.len() - 1) as f64),
        relative: scale == Scale::Ratios,
    });
    let Model { steps, slope, .. } = drifting.unwrap_or(stepped);
    let ends: Vec<Range<usize>> = segments(&steps, kept.len()).collect();
    let straight = without(&scaled, slope);
    // Beside a drift a level is not the same at both of its ends: what counts is what it is where the step is.
    let level = |segment: &Range<usize>, at: usize| match drift {
        None => median(&kept[segment.clone()]).unwrap_or(f64::NAN),
        Some(_) => median(&straight[segment.clone()])
            .map_or(f64::NAN, |middle| scale.unscaled(middle + slope * (at as f64 - 0.5))),
    };
    let steps = steps
        .iter()
        .zip(ends.windows(2))
        .map(|(&(at, p), ends)| ChangePoint {
            at: places[at],
            p,
            levels: [level(&ends[0], at), level(&ends[1], at)],
        })
        .collect();
    Course { steps, drift }
}

/// Steps, with the share of chance of each.
type Steps = Vec<(usize, f64)>;

/// A way to explain a series.
struct Model {
    steps: Steps,
    /// From one value to the next.
    slope: f64,
    residuals: Vec<f64>,
}

impl Model {
    fn of(values: &[f64], steps: Steps, slope: f64) -> Self {
        let level = without(values, slope);
        let residuals = segments(&steps, values.len())
            .flat_map(|segment| {
                let middle = median(&level[segment.clone()]).unwrap_or_default();
                level[segment].iter().map(|value| value - middle).collect::<Vec<_>>()
            })
            .collect();
        Self { steps, slope, residuals }
    }

    /// Its numbers: the levels, the places of the steps, the slope.
    fn numbers(&self) -> f64 {
        1.0 + 2.0 * self.steps.len() as f64 + f64::from(u8::from(self.slope != 0.0))
    }
}

/// The best model with a drift, where it is better than the one without by enough.
fn best_with_drift(values: &[f64], stepped: &Model) -> Option<Model> {
    let mut models = Vec::new();
    let mut add = |steps: Steps| {
        let slope = slope(values, &steps);
        models.push(Model::of(values, steps, slope));
        slope
    };
    let straight = add(Vec::new());
    // From the line, from the staircase, and from the one place where a step leaves least of a line.
    let beginnings = [steps(values, straight), stepped.steps.clone(), steepest(values)];
    for mut current in beginnings {
        for _ in 0..ROUNDS {
            let next = steps(values, slope(values, &current));
            add(next.clone());
            if next == current {
                break;
            }
            current = next;
        }
    }
    let all = || models.iter().chain([stepped]);
    // One measure for all: that of the model that leaves least.
    let deviation = all().map(|model| deviations(&model.residuals).1).fold(f64::INFINITY, f64::min);
    let far = if deviation > 0.0 { CLIP * deviation } else { f64::INFINITY };
    let squares =
        |model: &Model| clipped(&model.residuals, far).iter().map(|value| value * value).sum::<f64>();
    // What explains everything is still no better than anything can be.
    let left = |model: &Model| squares(model).max(f64::MIN_POSITIVE);
    let least = all().min_by(|one, other| left(one).total_cmp(&left(other)))?;
    let correlation = correlation_of_neighbours(&clipped(&least.residuals, far));
    let independent = values.len() as f64 * (1.0 - correlation) / (1.0 + correlation);
    let criterion = |model: &Model| {
        independent * (left(model) / values.len() as f64).ln() + model.numbers() * independent.ln()
    };
    let without = criterion(stepped);
    let best = models.into_iter().min_by(|one, other| criterion(one).total_cmp(&criterion(other)))?;
    (best.slope != 0.0 && criterion(&best) + EVIDENCE < without).then_some(best)
}

/// What is left of values when a slope is taken from them.
fn without(values: &[f64], slope: f64) -> Vec<f64> {
    values.iter().enumerate().map(|(at, value)| value - slope * at as f64).collect()
}

fn steps(values: &[f64], slope: f64) -> Steps {
    change_points_of(&without(values, slope), Search::Quick)
}

/// The stretches between steps.
fn segments(steps: &[(usize, f64)], count: usize) -> impl Iterator<Item = Range<usize>> {
    let begins = [0].into_iter().chain(steps.iter().map(|&(at, _)| at));
    let ends = steps.iter().map(|&(at, _)| at).chain([count]);
    begins.zip(ends).map(|(begin, end)| begin..end)
}

/// The slope that the stretches have in common. Of a long series some pairs tell as much as all.
fn slope(values: &[f64], steps: &[(usize, f64)]) -> f64 {
    let stride = values.len().div_ceil(MOST_PAIRED);
    let mut pairs: Vec<(f64, f64)> = segments(steps, values.len())
        .flat_map(|segment| {
            let others = segment.clone();
            segment
                .step_by(stride)
                .flat_map(move |one| (one + 1..others.end).step_by(stride).map(move |other| (one, other)))
        })
        .map(|(one, other)| {
            let apart = (other - one) as f64;
            ((values[other] - values[one]) / apart, apart)
        })
        .collect();
    pairs.sort_by(|one, other| one.0.total_cmp(&other.0));
    let half = pairs.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut sum = 0.0;
    let middle = pairs.iter().find(|(_, weight)| {
        sum += weight;
        sum >= half
    });
    middle.map_or(0.0, |(slope, _)| *slope)
}

/// The one step beside which a line explains most.
fn steepest(values: &[f64]) -> Steps {
    let left = |at: &usize| {
        let step = vec![(*at, 1.0)];
        let slope = slope(values, &step);
        Model::of(values, step, slope).residuals.iter().map(|value| value.abs()).sum::<f64>()
    };
    // A long series is looked through in strides: its steps are found anew from there.
    let stride = values.len().div_ceil(40);
    let places = (SHORTEST..values.len() - SHORTEST).step_by(stride);
    places
        .map(|at| (at, left(&at)))
        .min_by(|one, other| one.1.total_cmp(&other.1))
        .map(|(at, _)| (at, 1.0))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// A level with noise of so many per cent (a sum of uniform values, which is nearly normal), to which something happens.
    fn series(seed: u64, count: usize, percent: f64, happens: impl Fn(usize) -> f64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut noise = || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        (0..count).map(|at| 100.0 * (1.0 + percent / 100.0 * noise()) * happens(at)).collect()
    }

    fn rising(by: f64, count: usize) -> impl Fn(usize) -> f64 {
        move |at| 1.0 + by * at as f64 / (count - 1) as f64
    }

    #[test]
    fn a_step_is_no_drift_and_a_drift_no_staircase() {
        let step = |at: usize| if at < 16 { 1.0 } else { 1.2 };
        let (mut false_drifts, mut stairs, mut drifts, mut both) = (0, 0, 0, 0);
        for seed in 0..20 {
            false_drifts += usize::from(course(&series(seed, 40, 3.0, step)).drift.is_some());
            let slow = course(&series(seed, 40, 2.0, rising(0.25, 40)));
            drifts += usize::from(slow.drift.is_some_and(|drift| (0.15..0.35).contains(&drift.change)));
            stairs += usize::from(!slow.steps.is_empty());
            let rise = rising(0.25, 40);
            let mixed = course(&series(seed, 40, 2.0, |at| step(at) * rise(at)));
            both += usize::from(
                mixed.drift.is_some() && mixed.steps.iter().any(|step| step.at.abs_diff(16) <= 1),
            );
        }
        assert!(
            false_drifts <= 1 && drifts >= 18 && stairs <= 5 && both >= 14,
            "{false_drifts} {drifts} {stairs} {both}"
        );
    }

    /// A level that a drift has raised says nothing of the step.
    #[test]
    fn beside_a_drift_a_step_is_what_happens_there() {
        let mended =
            series(3, 60, 1.0, |at| 1.8_f64.powf(at as f64 / 59.0) * if at < 40 { 1.0 } else { 0.85 });
        let Course { steps, drift } = course(&mended);
        let [step] = &steps[..] else { panic!("{steps:?}") };
        assert!(drift.is_some_and(|drift| (drift.change - 0.8).abs() < 0.1), "{drift:?}");
        assert!(step.at.abs_diff(40) <= 1 && (step.change() + 0.15).abs() < 0.03, "{step:?}");
        // 100 × 1.8^(39.5 / 59)
        assert!((step.levels[0] - 148.0).abs() < 5.0, "{step:?}");
    }

    #[test]
    fn noise_does_neither() {
        let found = |seed| {
            let course = course(&series(seed, 40, 5.0, |_| 1.0));
            usize::from(course.drift.is_some()) + course.steps.len()
        };
        assert!((0..40).map(found).sum::<usize>() <= 3);
    }

    #[test]
    fn what_is_short_constant_or_unmeasured_is_explained_all_the_same() {
        let nothing = Course { steps: Vec::new(), drift: None };
        for values in
            [vec![], vec![1.0], vec![5.0; 30], vec![0.0; 30], vec![f64::NAN; 30], vec![1.0, 2.0, 3.0]]
        {
            assert_eq!(course(&values), nothing, "{values:?}");
        }
        // A straight line without noise.
        let line = course(&(0..30).map(f64::from).map(|at| 100.0 + at).collect::<Vec<_>>());
        assert!(line.drift.is_some_and(|drift| (drift.change - 0.29).abs() < 0.05), "{line:?}");
        // A gap keeps its place.
        let mut gap = [vec![100.0; 10], vec![120.0; 10]].concat();
        gap.insert(3, f64::NAN);
        assert_eq!(course(&gap).steps.iter().map(|step| step.at).collect::<Vec<_>>(), [11]);
        // Where values are zero or less, a drift is an amount.
        let from_zero = course(&(0..30).map(f64::from).collect::<Vec<_>>());
        assert!(
            from_zero.drift.is_some_and(|drift| !drift.relative && (drift.change - 29.0).abs() < 1.0),
            "{from_zero:?}"
        );
    }
}
