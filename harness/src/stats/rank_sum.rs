//! Whether one sample lies above another: the rank-sum test (Mann and Whitney, On a Test of Whether one of Two Random Variables is
//! Stochastically Larger than the Other, 1947), exactly.

/// Beyond it the exact distribution costs more than it tells.
const MOST: usize = 50;

/// The probability that `above` lies as far above `below` as it does, or farther, if both came from the same distribution; whatever that
/// distribution is. Ties count against it. `None` where one is empty.
///
/// Of more than 50 values every so many are taken: figures of consecutive seconds resemble each other, so that little is lost.
pub fn lies_above(below: &[f64], above: &[f64]) -> Option<f64> {
    let (below, above) = (thinned(below), thinned(above));
    if below.is_empty() || above.is_empty() {
        return None;
    }
    let greater: usize = above.iter().map(|value| below.iter().filter(|other| value > other).count()).sum();
    Some(at_least(greater, below.len(), above.len()))
}

fn thinned(values: &[f64]) -> Vec<f64> {
    let step = values.len().div_ceil(MOST).max(1);
    values.iter().copied().step_by(step).collect()
}

/// P(U ≥ `greater`) for samples of `n` and `m` values without ties: Mann and Whitney's recurrence, by the sample that the greatest
/// value belongs to.
fn at_least(greater: usize, n: usize, m: usize) -> f64 {
    // row[j][u]: the probability of U = u with i values below and j above.
    let mut row: Vec<Vec<f64>> = vec![vec![1.0]; m + 1];
    for i in 1..=n {
        let mut next: Vec<Vec<f64>> = vec![vec![1.0]];
        for j in 1..=m {
            let (i_share, j_share) = (i as f64 / (i + j) as f64, j as f64 / (i + j) as f64);
            let mut law = vec![0.0; i * j + 1];
            // The greatest is one of those below: it is above none.
            for (u, probability) in row[j].iter().enumerate() {
                law[u] += i_share * probability;
            }
            // Or one of those above: it is above all `i`.
            for (u, probability) in next[j - 1].iter().enumerate() {
                law[u + i] += j_share * probability;
            }
            next.push(law);
        }
        row = next;
    }
    row[m].iter().skip(greater).sum::<f64>().min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Table I of the paper, and counting: of two and two values both orders that are fully apart are 1 of 6.
    #[test]
    fn small_samples_are_counted() {
        let p = |below: &[f64], above: &[f64]| lies_above(below, above).unwrap();
        assert!((p(&[1.0, 2.0], &[3.0, 4.0]) - 1.0 / 6.0).abs() < 1e-12);
        assert!((p(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]) - 0.05).abs() < 1e-12);
        assert!((p(&[1.0, 3.0, 5.0], &[2.0, 4.0, 6.0]) - 0.35).abs() < 1e-12);
        assert!((p(&[3.0, 4.0], &[1.0, 2.0]) - 1.0).abs() < 1e-12);
        // Nothing but ties proves nothing.
        assert!((p(&[1.0; 5], &[1.0; 5]) - 1.0).abs() < 1e-12);
        assert_eq!(lies_above(&[], &[1.0]), None);
    }

    proptest! {
        #[test]
        fn it_is_a_probability(below in prop::collection::vec(0.0..1e6_f64, 1..70), above in prop::collection::vec(0.0..1e6_f64, 1..70)) {
            let p = lies_above(&below, &above).unwrap();
            prop_assert!((0.0..=1.0).contains(&p), "{}", p);
        }

        /// One of both directions is at least even.
        #[test]
        fn both_directions_are_not_unlikely_at_once(below in prop::collection::vec(0.0..1e6_f64, 1..30), above in prop::collection::vec(0.0..1e6_f64, 1..30)) {
            let sum = lies_above(&below, &above).unwrap() + lies_above(&above, &below).unwrap();
            prop_assert!(sum >= 1.0 - 1e-9, "{}", sum);
        }
    }
}
