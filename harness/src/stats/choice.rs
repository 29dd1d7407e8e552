//! Which law of growth describes the figures: the one that best foretells the stages that it was not shown.
//!
//! Leave-one-out cross-validation (Stone, Cross-Validatory Choice and Assessment of Statistical Predictions, 1974), one whole stage
//! at a time. On its own it takes chance for growth every few times, so a law with more parameters has to be better by a margin.

use super::growth::{Curve, Law, Point, fit, fit_with_knee};
use super::order::median;

/// Growth by less than a fifth over the whole range is called none: the same machine differs by as much from day to day.
pub const MATERIAL_RISE: f64 = 0.2;

/// A law that grows must err less than this share of what a constant errs.
const BETTER_THAN_CONSTANT: f64 = 0.7;

/// Two lines with a knee must err less than this share of what the best law without one errs.
const BETTER_THAN_STRAIGHT: f64 = 0.6;

/// By so much the two slopes have to differ: any two lines bend a little.
const MATERIAL_BEND: f64 = 1.25;

/// At each side of a knee.
const STAGES_BESIDE_KNEE: usize = 3;

/// Fewer stages decide nothing.
pub const LEAST_STAGES: usize = 4;

/// What was chosen, and what it was chosen from.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The fit of the chosen law.
    pub curve: Curve,
    /// How far each law was from the stages that it was not shown: mean relative error.
    pub errors: Vec<(Law, f64)>,
    /// That of the chosen fit, which has a knee perhaps.
    pub error: f64,
}

impl Choice {
    /// The best law beside the chosen one, and its error.
    pub fn next_best(&self) -> Option<(Law, f64)> {
        let others = self.errors.iter().filter(|(law, _)| *law != self.curve.law);
        others.copied().min_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// Chooses. `None` with fewer than [`LEAST_STAGES`] different sizes.
pub fn choose(points: &[Point]) -> Option<Choice> {
    let sizes = sizes(points);
    if sizes.len() < LEAST_STAGES {
        return None;
    }
    let (from, to) = (sizes[0], sizes[sizes.len() - 1]);
    let error = |law| cross_validated(points, &sizes, |points| fit(law, points));
    let constant = error(Law::Constant)?;
    let errors: Vec<(Law, f64)> = std::iter::once((Law::Constant, constant))
        .chain(Law::GROWING.into_iter().filter_map(|law| Some((law, error(law)?))))
        .collect();
    let (law, best) = errors[1..].iter().copied().min_by(|a, b| a.1.total_cmp(&b.1))?;
    let straight = fit(law, points)?;
    let (curve, error) = match knee(points, &sizes) {
        Some((curve, error)) if error < BETTER_THAN_STRAIGHT * best => (curve, error),
        _ => (straight, best),
    };
    if error >= BETTER_THAN_CONSTANT * constant || curve.relative_rise(from, to).abs() < MATERIAL_RISE {
        return Some(Choice { curve: fit(Law::Constant, points)?, errors, error: constant });
    }
    Some(Choice { curve, errors, error })
}

/// Ascending, each once.
fn sizes(points: &[Point]) -> Vec<f64> {
    let mut sizes: Vec<f64> = points.iter().map(|point| point.n).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    sizes
}

/// The two lines that fit best, and their error. Those that fall anywhere are no knee but something else.
fn knee(points: &[Point], sizes: &[f64]) -> Option<(Curve, f64)> {
    let inner = sizes.get(STAGES_BESIDE_KNEE - 1..=sizes.len().checked_sub(STAGES_BESIDE_KNEE)?)?;
    let off = |curve: &Curve| mean_error(points.iter().map(|point| relative_error(curve, *point)));
    let curve = inner
        .windows(2)
        .flat_map(|pair| [pair[0], f64::midpoint(pair[0], pair[1])])
        .filter_map(|at| fit_with_knee(points, at))
        .filter(|curve| {
            curve.slope > 0.0 && curve.knee.is_some_and(|knee| bends(curve.slope, knee.slope_beyond))
        })
        .min_by(|a, b| off(a).total_cmp(&off(b)))?;
    let at = curve.knee?.at;
    let error = cross_validated(points, sizes, |points| fit_with_knee(points, at))?;
    Some((curve, error))
}

fn bends(slope: f64, beyond: f64) -> bool {
    let ratio = beyond / slope;
    ratio >= MATERIAL_BEND || (ratio > 0.0 && ratio <= 1.0 / MATERIAL_BEND)
}

/// Each stage's error by a fit to all the others; their mean. Errors of stages that are measured again and again count as one: their
/// median.
fn cross_validated(points: &[Point], sizes: &[f64], fit: impl Fn(&[Point]) -> Option<Curve>) -> Option<f64> {
    let mut others = Vec::with_capacity(points.len());
    let mut errors = Vec::with_capacity(sizes.len());
    for &left_out in sizes {
        others.clear();
        others.extend(points.iter().filter(|point| point.n.total_cmp(&left_out).is_ne()));
        let curve = fit(&others)?;
        let here: Vec<f64> = points
            .iter()
            .filter(|point| point.n.total_cmp(&left_out).is_eq())
            .map(|point| relative_error(&curve, *point))
            .collect();
        errors.push(median(&here)?);
    }
    Some(mean_error(errors.into_iter()))
}

/// The same for twice as much as for half as much; at most a factor of 100, also where a fit says less than nothing.
fn relative_error(curve: &Curve, point: Point) -> f64 {
    const MOST: f64 = 100.0;
    (point.y / curve.at(point.n).max(point.y / MOST)).max(1.0 / MOST).ln().abs()
}

fn mean_error(errors: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = errors.len() as f64;
    errors.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(law: impl Fn(f64) -> f64) -> Vec<Point> {
        (1..=12).map(|stage| f64::from(stage * stage * 139)).map(|n| Point { n, y: law(n) }).collect()
    }

    #[test]
    fn without_noise_each_law_is_chosen() {
        for law in Law::GROWING {
            let slope = 500.0 / law.of(20_000.0);
            let choice = choose(&points(|n| 80.0 + slope * law.of(n))).unwrap();
            assert_eq!((choice.curve.law, choice.curve.knee), (law, None), "{choice:?}");
            assert_ne!(choice.next_best().unwrap().0, law);
        }
        assert_eq!(choose(&points(|_| 2.3)).unwrap().curve.law, Law::Constant);
    }

    #[test]
    fn a_tenth_more_over_the_whole_range_is_no_growth() {
        assert_eq!(choose(&points(|n| 2.3 + n * 1e-5)).unwrap().curve.law, Law::Constant);
    }

    #[test]
    fn a_knee_is_found_near_where_it_is() {
        let choice = choose(&points(|n| 80.0 + 0.09 * n + 0.15 * (n - 8_000.0).max(0.0))).unwrap();
        let knee = choice.curve.knee.unwrap();
        assert!((6_000.0..10_000.0).contains(&knee.at), "{knee:?}");
        assert!((knee.slope_beyond - 0.24).abs() < 0.03, "{knee:?}");
    }

    #[test]
    fn a_bend_by_a_twentieth_is_none() {
        let choice = choose(&points(|n| 8.0 + 0.078 * n + 0.004 * (n - 2_000.0).max(0.0))).unwrap();
        assert_eq!((choice.curve.law, choice.curve.knee), (Law::Linear, None));
    }

    #[test]
    fn three_sizes_decide_nothing() {
        assert_eq!(choose(&points(|n| n)[..3]), None);
    }

    /// Any law over any range in which it rises enough to be seen, with noise of up to a percent.
    fn measured() -> impl Strategy<Value = (Law, Vec<Point>)> {
        let law = prop::sample::select(Law::GROWING.to_vec());
        let noise = prop::collection::vec(0.99..1.01_f64, 12);
        (law, 1.0..1e3_f64, 5.0..50.0_f64, 500.0..65_535.0_f64, noise).prop_map(
            |(law, base, rise, to, noise)| {
                let size = |stage: usize| to * ((stage + 1) as f64 / 12.0).powi(2);
                let slope = base * rise / (law.of(to) - law.of(size(0)));
                let y = |n: f64| base + slope * (law.of(n) - law.of(size(0)));
                (
                    law,
                    noise
                        .iter()
                        .enumerate()
                        .map(|(stage, noise)| Point { n: size(stage), y: y(size(stage)) * noise })
                        .collect(),
                )
            },
        )
    }

    proptest! {
        #[test]
        fn a_law_is_found_whatever_the_range_and_the_unit((law, points) in measured(), unit in 1e-3..1e6_f64) {
            let choice = choose(&points).unwrap();
            prop_assert_eq!((choice.curve.law, choice.curve.knee), (law, None), "{:?}", choice);
            let scaled: Vec<Point> = points.iter().map(|point| Point { y: point.y * unit, ..*point }).collect();
            let other = choose(&scaled).unwrap();
            prop_assert_eq!(other.curve.law, law);
            prop_assert!((other.curve.slope / choice.curve.slope / unit - 1.0).abs() < 1e-3);
        }

        #[test]
        fn the_order_of_points_does_not_matter((_, points) in measured()) {
            let reversed: Vec<Point> = points.iter().rev().copied().collect();
            prop_assert_eq!(choose(&points).unwrap().curve.law, choose(&reversed).unwrap().curve.law);
        }

        #[test]
        fn nothing_makes_it_panic(points in prop::collection::vec((0.0..1e5_f64, 1e-3..1e6_f64), 0..30)) {
            let points: Vec<Point> = points.into_iter().map(|(n, y)| Point { n: n.floor(), y }).collect();
            if let Some(choice) = choose(&points) {
                prop_assert!(choice.error.is_finite() && choice.curve.at(1.0).is_finite());
            }
        }
    }
}
