//! What a count of hits says of their share (Clopper and Pearson, The Use of Confidence or Fiducial Limits Illustrated in the Case of the
//! Binomial, 1934). Pure.

/// Each tail of 95 %.
const TAIL: f64 = 0.025;
/// Halvings: below the distance of two doubles.
const STEPS: u32 = 60;

/// Where the share lies with 95 % confidence at least; all there is where there was no trial.
pub(super) fn interval(hits: u32, trials: u32) -> [f64; 2] {
    let least = match hits {
        0 => 0.0,
        _ => share_where(|share| 1.0 - at_most(hits - 1, trials, share) < TAIL),
    };
    let most = if hits >= trials { 1.0 } else { share_where(|share| at_most(hits, trials, share) > TAIL) };
    [least, most]
}

/// The share up to which something holds.
fn share_where(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// The probability of so many hits or fewer, in logarithms: (1 − share)ⁿ is no double for many trials.
fn at_most(hits: u32, trials: u32, share: f64) -> f64 {
    let (hit, miss) = (share.ln(), (-share).ln_1p());
    let mut ways = 0.0;
    let mut sum = 0.0;
    for count in 0..=hits.min(trials) {
        if count > 0 {
            ways += (f64::from(trials - count + 1) / f64::from(count)).ln();
        }
        sum += (ways + f64::from(count) * hit + f64::from(trials - count) * miss).exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(hits: u32, trials: u32) -> [String; 2] {
        interval(hits, trials).map(|share| format!("{share:.4}"))
    }

    /// As tables have them.
    #[test]
    fn limits_are_those_of_clopper_and_pearson() {
        assert_eq!(rounded(0, 10), ["0.0000", "0.3085"]);
        assert_eq!(rounded(1, 10), ["0.0025", "0.4450"]);
        assert_eq!(rounded(5, 10), ["0.1871", "0.8129"]);
        assert_eq!(rounded(19, 20), ["0.7513", "0.9987"]);
        assert_eq!(rounded(10, 200), ["0.0242", "0.0900"]);
    }

    /// Without a hit there is a formula, and hits and misses are the same but for the name.
    #[test]
    fn limits_are_right_at_the_ends_and_on_both_sides() {
        for trials in [1, 20, 200, 10_000] {
            let [least, most] = interval(0, trials);
            let formula = 1.0 - TAIL.powf(1.0 / f64::from(trials));
            assert!(least == 0.0 && (most - formula).abs() < 1e-9, "{trials}: {most}");
            for hits in [0, 1, trials / 3, trials - 1] {
                let ([least, most], [fewest, greatest]) =
                    (interval(hits, trials), interval(trials - hits, trials));
                assert!((least - (1.0 - greatest)).abs() < 1e-9 && (most - (1.0 - fewest)).abs() < 1e-9);
            }
        }
        assert_eq!(rounded(0, 0), ["0.0000", "1.0000"]);
    }
}
