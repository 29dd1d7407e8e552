//! A sample by its order statistics: nothing is assumed of how latencies are distributed.

/// Of an ascending list, by linear interpolation between the two nearest ranks (Hyndman and Fan, Sample Quantiles in
/// Statistical Packages, 1996, definition 7). `None` of an empty one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the list")]
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = share.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let below = rank.floor() as usize;
    let above = sorted.get(below + 1).copied().unwrap_or(sorted[below]);
    let (below, share) = (sorted[below], rank.fract());
    // What is infinite has no middle: of an infinite neighbour the nearer one is taken, and never what is no number.
    Some(match (below.is_finite() && above.is_finite(), share < 0.5) {
        (true, _) => below + (above - below) * share,
        (false, true) => below,
        (false, false) => above,
    })
}

/// Half lie below it. `None` of an empty list, which need not be sorted.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(&ascending(values), 0.5)
}

/// A sorted copy.
pub fn ascending(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// An interval that holds the true median with at least `confidence`, whatever the distribution: the order statistics of the
/// sign test (Conover, Practical Nonparametric Statistics, 3.2). `None` where even the whole range has less.
pub fn median_interval(sorted: &[f64], confidence: f64) -> Option<[f64; 2]> {
    let out = left_out(sorted.len(), confidence)?;
    Some([sorted[out], sorted[sorted.len() - 1 - out]])
}

/// How many values at each end lie outside of the interval.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie within the list")]
fn left_out(count: usize, confidence: f64) -> Option<usize> {
    /// 2^-1000 is still a normal number; from there on the binomial distribution is the normal one.
    const EXACT: usize = 1_000;
    /// Of 95 % and less: more than is asked for is no harm.
    const DEVIATIONS: f64 = 1.96;
    if count > EXACT && confidence <= 0.95 {
        let out = (count as f64 - DEVIATIONS * (count as f64).sqrt()) / 2.0 - 1.0;
        return Some(out.floor() as usize);
    }
    let mut tail = 0.0;
    let mut probability = 0.5_f64.powi(i32::try_from(count).ok()?);
    let mut out = None;
    for below in 0..count.div_ceil(2) {
        tail += probability;
        if 1.0 - 2.0 * tail < confidence {
            break;
        }
        out = Some(below);
        probability *= (count - below) as f64 / (below + 1) as f64;
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_lie_between_ranks() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[1.0, 2.0, 4.0, 8.0], 0.5), Some(3.0));
        assert_eq!(quantile(&[1.0, 2.0], 1.0), Some(2.0));
        assert_eq!(quantile(&[7.0], 0.95), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
        let endless = [f64::NEG_INFINITY, f64::NEG_INFINITY, 1.0, f64::INFINITY];
        for (share, expected) in
            [(0.1, endless[0]), (0.4, endless[0]), (0.6, 1.0), (0.7, 1.0), (0.9, f64::INFINITY)]
        {
            assert_eq!(quantile(&endless, share), Some(expected), "{share}");
        }
        assert_eq!(median(&[8.0, 1.0, 4.0, 2.0]), Some(3.0));
    }

    /// Tables of the sign test, 95 %: n = 6: the range (96.9 %); 9: all but one at each end; 20: the 6th to the 15th.
    #[test]
    fn the_interval_is_the_sign_tests() {
        for (count, out) in [(1, None), (5, None), (6, Some(0)), (9, Some(1)), (20, Some(5)), (100, Some(39))]
        {
            assert_eq!(left_out(count, 0.95), out, "{count} values");
        }
    }

    #[test]
    fn large_samples_have_the_intervals_of_those_a_little_smaller() {
        let (exact, normal) = (left_out(1_000, 0.95).unwrap(), left_out(1_001, 0.95).unwrap());
        assert!(normal.abs_diff(exact) <= 1, "{exact} and {normal}");
        assert_eq!(left_out(0, 0.95), None);
    }

    proptest! {
        #[test]
        fn quantiles_ascend_and_stay_within(values in prop::collection::vec(0.0..1e9_f64, 1..200), a in 0.0..=1.0, b in 0.0..=1.0) {
            let sorted = ascending(&values);
            let [low, high] = if a <= b { [a, b] } else { [b, a] }.map(|share| quantile(&sorted, share).unwrap());
            prop_assert!(sorted[0] <= low && low <= high && high <= sorted[sorted.len() - 1]);
        }

        #[test]
        fn the_interval_holds_the_median(values in prop::collection::vec(0.0..1e9_f64, 6..2_000)) {
            let sorted = ascending(&values);
            let [least, most] = median_interval(&sorted, 0.95).unwrap();
            let median = quantile(&sorted, 0.5).unwrap();
            prop_assert!(least <= median && median <= most);
        }
    }
}
