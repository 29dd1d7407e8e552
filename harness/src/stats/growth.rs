//! How a figure grows with a size: fits of y = a + b·g(n).
//!
//! Latencies disperse in proportion to their size, so deviations are weighted relative to the fit (iteratively reweighted
//! least squares, as for a constant coefficient of variation: `McCullagh` and Nelder, Generalized Linear Models, chapter 8),
//! and a stage that something else disturbed weighs less (Huber, Robust Estimation of a Location Parameter, 1964).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::least_squares::{COLUMNS, Row, solve};
use super::order::median;

/// A law of growth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Law {
    /// It does not grow.
    Constant,
    /// By the same amount with each doubling.
    Logarithmic,
    /// By the same amount with each one more.
    Linear,
    /// By an amount that itself grows linearly.
    Quadratic,
}

impl Law {
    /// Those that grow.
    pub const GROWING: [Self; 3] = [Self::Logarithmic, Self::Linear, Self::Quadratic];

    /// g(n).
    pub fn of(self, n: f64) -> f64 {
        match self {
            Self::Constant => 0.0,
            // Of an empty qdisc it is that of one class.
            Self::Logarithmic => n.max(1.0).ln(),
            Self::Linear => n,
            Self::Quadratic => n * n,
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Logarithmic => "logarithmic",
            Self::Linear => "linear",
            Self::Quadratic => "quadratic",
        }
    }
}

impl std::fmt::Display for Law {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A size, and what was observed there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The size, at least 0.
    pub n: f64,
    /// The figure, above 0.
    pub y: f64,
}

/// A fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Curve {
    /// The law.
    pub law: Law,
    /// a of a + b·g(n).
    pub intercept: f64,
    /// b of a + b·g(n); up to the knee where there is one.
    pub slope: f64,
    /// Where a linear growth gets steeper, if it does.
    pub knee: Option<Knee>,
}

/// Where a straight line bends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Knee {
    /// The size.
    pub at: f64,
    /// The slope beyond it.
    pub slope_beyond: f64,
}

impl Curve {
    /// What it says for a size.
    pub fn at(&self, n: f64) -> f64 {
        let straight = self.intercept + self.slope * self.law.of(n);
        match self.knee {
            Some(knee) => straight + (knee.slope_beyond - self.slope) * (n - knee.at).max(0.0),
            None => straight,
        }
    }

    /// How much it changes between two sizes, relative to the smaller of the two figures; negative where it falls. Infinite
    /// where one of them is not positive: it has left the range in which it means anything.
    pub fn relative_rise(&self, from: f64, to: f64) -> f64 {
        let (first, last) = (self.at(from), self.at(to));
        let smaller = first.min(last);
        if smaller > 0.0 { (last - first) / smaller } else { (last - first).signum() * f64::INFINITY }
    }
}

/// Fits a law. `None` where the points do not determine it.
pub fn fit(law: Law, points: &[Point]) -> Option<Curve> {
    let used = if law == Law::Constant { 1 } else { 2 };
    let [intercept, slope, _] = robust(points, used, |n| [1.0, law.of(n), 0.0])?;
    Some(Curve { law, intercept, slope, knee: None })
}

/// Fits two straight lines that meet at `at`.
pub fn fit_with_knee(points: &[Point], at: f64) -> Option<Curve> {
    let [intercept, slope, more] = robust(points, COLUMNS, |n| [1.0, n, (n - at).max(0.0)])?;
    Some(Curve { law: Law::Linear, intercept, slope, knee: Some(Knee { at, slope_beyond: slope + more }) })
}

/// Deviations relative to the fit, in the order of the points.
pub fn residuals(curve: &Curve, points: &[Point]) -> Vec<f64> {
    points.iter().map(|point| point.y / floored(curve.at(point.n), points) - 1.0).collect()
}

/// A fit that dips below zero would have weights without bounds.
fn floored(fitted: f64, points: &[Point]) -> f64 {
    let least = points.iter().map(|point| point.y).fold(f64::INFINITY, f64::min);
    fitted.max(least * 0.1)
}

fn robust(points: &[Point], used: usize, columns: impl Fn(f64) -> [f64; COLUMNS]) -> Option<[f64; COLUMNS]> {
    /// Enough for four digits.
    const ROUNDS: usize = 12;
    const CLOSE: f64 = 1e-5;
    /// Huber's constant: 95 % as efficient as least squares where all is normal.
    const HUBER: f64 = 1.345;
    /// What makes the median of absolute deviations a standard deviation.
    const NORMAL: f64 = 1.4826;
    /// Below half a percent nothing is an outlier.
    const LEAST_SCALE: f64 = 0.005;
    let mut rows: Vec<Row> = points
        .iter()
        .map(|point| Row { columns: columns(point.n), observed: point.y, weight: point.y.powi(-2) })
        .collect();
    let mut coefficients = solve(&rows, used)?;
    for _ in 0..ROUNDS {
        let fitted: Vec<f64> = rows
            .iter()
            .map(|row| floored(row.columns.iter().zip(coefficients).map(|(c, b)| c * b).sum(), points))
            .collect();
        let deviations: Vec<f64> =
            rows.iter().zip(&fitted).map(|(row, fitted)| (row.observed / fitted - 1.0).abs()).collect();
        let scale = (NORMAL * median(&deviations)?).max(LEAST_SCALE);
        for ((row, fitted), deviation) in rows.iter_mut().zip(fitted).zip(deviations) {
            let huber = (HUBER * scale / deviation.max(f64::MIN_POSITIVE)).min(1.0);
            row.weight = huber / (fitted * fitted);
        }
        let next = solve(&rows, used)?;
        let moved = |(a, b): (f64, f64)| (a - b).abs() > CLOSE * b.abs();
        let settled = !next.into_iter().zip(coefficients).any(moved);
        coefficients = next;
        if settled {
            break;
        }
    }
    Some(coefficients)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(law: impl Fn(f64) -> f64) -> Vec<Point> {
        (1..=12).map(|stage| f64::from(stage * stage * 139)).map(|n| Point { n, y: law(n) }).collect()
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-3 * b.abs()
    }

    #[test]
    fn each_law_is_fitted_exactly_where_it_holds() {
        for law in Law::GROWING {
            let slope = 500.0 / law.of(20_000.0);
            let curve = fit(law, &points(|n| 80.0 + slope * law.of(n))).unwrap();
            assert!(close(curve.intercept, 80.0) && close(curve.slope, slope), "{law}: {curve:?}");
        }
        let curve = fit(Law::Constant, &points(|_| 2.3)).unwrap();
        assert!(close(curve.at(7.0), 2.3) && curve.relative_rise(1.0, 9.0).abs() < 1e-9);
    }

    #[test]
    fn a_knee_is_fitted_exactly_where_it_is() {
        let curve =
            fit_with_knee(&points(|n| 80.0 + 0.1 * n + 0.15 * (n - 8_000.0).max(0.0)), 8_000.0).unwrap();
        assert!(close(curve.slope, 0.1) && close(curve.knee.unwrap().slope_beyond, 0.25), "{curve:?}");
        assert!(close(curve.at(18_000.0), 80.0 + 1_800.0 + 1_500.0));
    }

    #[test]
    fn one_disturbed_stage_moves_little() {
        let mut points = points(|n| 80.0 + 0.1 * n);
        points[8].y *= 3.0;
        let curve = fit(Law::Linear, &points).unwrap();
        assert!((curve.slope - 0.1).abs() < 0.005, "{curve:?}");
    }

    #[test]
    fn too_few_points_determine_nothing() {
        assert!(fit(Law::Linear, &points(|n| n)[..1]).is_none());
        assert!(fit(Law::Constant, &[]).is_none());
    }
}
