//! How many observations a figure needs before it says anything.

/// So many values must lie beyond a percentile. Their number is binomial; with `n·p ≥ 10` and `n·(1 − p) ≥ 10` it is near enough to
/// normal (Moore, `McCabe` and Craig, Introduction to the Practice of Statistics, section 5.2), with a standard error of a third.
pub const FEWEST_BEYOND: u64 = 10;

/// How many values the percentile `share` (0.95 for the 95th) needs: 200 for p95, 1,000 for p99, 10,000 for p99.9; 20 for the median. The
/// largest value, `share` 1, is a fact of the run and needs one.
pub fn percentile_needs(share: f64) -> u64 {
    let rarer = share.min(1.0 - share);
    if rarer <= 0.0 {
        return 1;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and rounded")]
    let needed = (FEWEST_BEYOND as f64 / rarer).round() as u64;
    needed
}

/// How many trials without a failure it takes to say with 95 % confidence that fewer than `share` of them fail: the rule of three
/// (Hanley and Lippman-Hand, If nothing goes wrong, is everything all right?, JAMA 249, 1983). `None` for a share of 0, which no number proves.
pub fn trials_need(share: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturates")]
    (share > 0.0).then(|| (3.0 / share - 1e-9).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_values_lie_beyond() {
        assert_eq!(
            [0.5, 0.9, 0.95, 0.99, 0.999, 1.0].map(percentile_needs),
            [20, 100, 200, 1_000, 10_000, 1]
        );
    }

    #[test]
    fn three_hundred_successes_are_less_than_a_percent_of_failures() {
        assert_eq!([0.01, 0.5, 1.0].map(trials_need), [Some(300), Some(6), Some(3)]);
        assert_eq!(trials_need(0.0), None);
    }
}
