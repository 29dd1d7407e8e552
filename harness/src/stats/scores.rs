//! Values as scores: what tests that shuffle values compare instead of them.

use super::order::median;

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
