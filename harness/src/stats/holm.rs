//! Several tests at once.
//!
//! Of twenty tests of the same with the same one alarms at 5 %, by chance. Holm's step-down (A Simple Sequentially Rejective Multiple Test
//! Procedure, 1979) holds the chance of *any* false alarm among them at the level, whatever the tests have to do with each other, and finds
//! what Bonferroni's does and more.

/// The probabilities, adjusted so that each may be held against the level that all are to keep together. In the order of `p`, each of
/// which is a number.
pub fn adjusted(p: &[f64]) -> Vec<f64> {
    let mut by_size: Vec<usize> = (0..p.len()).collect();
    by_size.sort_by(|&one, &other| p[one].total_cmp(&p[other]));
    let mut adjusted = vec![0.0; p.len()];
    let mut greatest: f64 = 0.0;
    for (passed, place) in by_size.into_iter().enumerate() {
        // None is surer than one that is less probable.
        greatest = greatest.max(p[place] * (p.len() - passed) as f64).min(1.0);
        adjusted[place] = greatest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Worked by hand: 4 × 0.005, 3 × 0.01, then 2 × 0.03, below which 0.04 × 1 does not fall.
    #[test]
    fn steps_go_down() {
        let all = adjusted(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in all.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{all:?}");
        }
        assert_eq!(adjusted(&[0.2]), [0.2]);
        assert_eq!(adjusted(&[0.6, 0.7]), [1.0, 1.0]);
        assert!(adjusted(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn none_becomes_surer_and_none_less_sure_than_by_bonferroni(p in prop::collection::vec(0.0..=1.0_f64, 1..40)) {
            let all = adjusted(&p);
            let pairs = || p.iter().zip(&all);
            for (before, after) in pairs() {
                prop_assert!(before <= after && *after <= (before * p.len() as f64).min(1.0) + 1e-12);
                prop_assert!(pairs().all(|(other, after_other)| other < before || after_other >= after));
            }
        }
    }
}
