//! Values as scores: what tests that shuffle values compare instead of them.

use super::order::median;

/// In what values are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// Logarithms, whose differences are ratios.
    Ratios,
    /// Shares of the greatest magnitude, so that no square of a difference overflows. Of zero and less there are no ratios.
    Differences(f64),
}

impl Scale {
    /// That of finite values.
    pub(super) fn of(values: &[f64]) -> Self {
        if values.iter().all(|&value| value > 0.0) {
            return Self::Ratios;
        }
        let greatest = values.iter().fold(0.0, |greatest: f64, value| greatest.max(value.abs()));
        Self::Differences(if greatest > 0.0 { greatest } else { 1.0 })
    }

    pub(super) fn scaled(self, values: &[f64]) -> Vec<f64> {
        let scaled = |value: &f64| match self {
            Self::Ratios => value.ln(),
            Self::Differences(greatest) => value / greatest,
        };
        values.iter().map(scaled).collect()
    }

    /// The value of a scaled one.
    pub(super) fn unscaled(self, scaled: f64) -> f64 {
        match self {
            Self::Ratios => scaled.exp(),
            Self::Differences(greatest) => scaled * greatest,
        }
    }

    /// What a shift of scaled values is: by what share values are greater, or by how much.
    pub(super) fn change(self, shift: f64) -> f64 {
        match self {
            Self::Ratios => shift.exp_m1(),
            Self::Differences(greatest) => shift * greatest,
        }
    }
}

/// The median absolute deviation of normal values is so much less than their standard deviation.
const NORMAL: f64 = 1.4826;

/// Deviations from the median, and their standard deviation as the median absolute deviation tells it (Hampel, The Influence Curve and its
/// Role in Robust Estimation, 1974). That is zero where more than half of the values are the same.
pub(super) fn deviations(values: &[f64]) -> (Vec<f64>, f64) {
    let middle = median(values).unwrap_or_default();
    let deviations: Vec<f64> = values.iter().map(|value| value - middle).collect();
    let distances: Vec<f64> = deviations.iter().map(|deviation| deviation.abs()).collect();
    let deviation = NORMAL * median(&distances).unwrap_or_default();
    (deviations, deviation)
}

/// What is farther from zero counts as so far.
pub(super) fn clipped(deviations: &[f64], most: f64) -> Vec<f64> {
    deviations.iter().map(|deviation| deviation.clamp(-most, most)).collect()
}

/// With mean 0 and variance 1. `None` where all values are the same.
pub(super) fn standardised(mut values: Vec<f64>) -> Option<Vec<f64>> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
    if !deviation.is_normal() {
        return None;
    }
    for value in &mut values {
        *value = (*value - mean) / deviation;
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_wild_values_move_nothing() {
        let (all, deviation) = deviations(&[9.0, 10.0, 11.0, 12.0, 1e6]);
        assert_eq!((all[0], deviation), (-2.0, NORMAL));
        assert_eq!(clipped(&all, 2.5), [-2.0, -1.0, 0.0, 1.0, 2.5]);
        assert_eq!(deviations(&[7.0, 7.0, 7.0, 8.0]), (vec![0.0, 0.0, 0.0, 1.0], 0.0));
        assert_eq!(deviations(&[]), (vec![], 0.0));
    }

    #[test]
    fn no_scale_overflows() {
        let scaled = |values: &[f64]| Scale::of(values).scaled(values);
        assert_eq!(scaled(&[f64::MAX, 0.0, f64::MIN]), [1.0, 0.0, -1.0]);
        assert_eq!(scaled(&[0.0, 0.0]), [0.0, 0.0]);
        assert_eq!((Scale::of(&[f64::MIN_POSITIVE, f64::MAX]), scaled(&[1.0])), (Scale::Ratios, vec![0.0]));
        assert_eq!((Scale::Differences(8.0).change(0.25), Scale::Ratios.change(0.0)), (2.0, 0.0));
    }

    #[test]
    fn scores_have_a_mean_of_zero_and_a_variance_of_one() {
        let scores = standardised(vec![1.0, 2.0, 6.0]).unwrap();
        assert!(scores.iter().sum::<f64>().abs() < 1e-12);
        assert!((scores.iter().map(|score| score * score).sum::<f64>() / 2.0 - 1.0).abs() < 1e-12);
        assert_eq!(
            (standardised(vec![3.0; 4]), standardised(vec![3.0]), standardised(vec![])),
            (None, None, None)
        );
    }
}
