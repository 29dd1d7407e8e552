//! Whether something rare happens more often: two counts over different numbers of trials.

/// The probability of so many of all events on the second side, or more, if each trial of either side had the same chance: given their sum,
/// the second side's count is binomial (Przyborowski and Wilenski, Homogeneity of Results in Testing Samples from Poisson Series,
/// 1940). 1 where there is no event; `None` without a trial on one of the sides.
pub fn more_often(events: [u64; 2], trials: [u64; 2]) -> Option<f64> {
    if trials.contains(&0) {
        return None;
    }
    let [first, second] = trials.map(|count| count as f64);
    let share = second / (first + second);
    let all = events[0] + events[1];
    if events[1] as f64 <= all as f64 * share {
        // No more than was to be expected; that is enough to know, and sums of millions of terms are not wanted.
        return Some(1.0);
    }
    // From the observed count upwards each term follows from the one before, and they fall.
    let (ln_share, ln_rest) = (share.ln(), (-share).ln_1p());
    let mut ln_term = ln_choose(all, events[1]) + events[1] as f64 * ln_share + events[0] as f64 * ln_rest;
    let mut sum = 0.0;
    for count in events[1]..=all {
        let term = ln_term.exp();
        sum += term;
        if count == all || (sum > 0.0 && term < sum * 1e-12) {
            break;
        }
        ln_term += ((all - count) as f64).ln() - ((count + 1) as f64).ln() + ln_share - ln_rest;
    }
    Some(sum.min(1.0))
}

/// By Stirling's series (Abramowitz and Stegun, 6.1.41), exact to nine digits from 10 on, and by multiplying below.
fn ln_factorial(n: u64) -> f64 {
    if n < 10 {
        return (2..=n).map(|factor| (factor as f64).ln()).sum();
    }
    let n = n as f64;
    (n + 0.5) * n.ln() - n + 0.5 * (2.0 * std::f64::consts::PI).ln() + 1.0 / (12.0 * n)
        - 1.0 / (360.0 * n.powi(3))
}

fn ln_choose(n: u64, k: u64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(events: [u64; 2], trials: [u64; 2]) -> f64 {
        more_often(events, trials).unwrap()
    }

    #[test]
    fn counts_are_binomial() {
        assert!((p([0, 1], [100, 100]) - 0.5).abs() < 1e-9);
        assert!((p([0, 5], [100, 100]) - 1.0 / 32.0).abs() < 1e-9);
        assert!((p([0, 2], [300, 100]) - 1.0 / 16.0).abs() < 1e-9);
        assert!((p([0, 0], [100, 100]) - 1.0).abs() < 1e-12);
        assert!((p([9, 3], [100, 100]) - 1.0).abs() < 1e-12);
        // 12 to 15 of 20: 0.2517 - … by tables of the binomial distribution: P(X >= 15 | 20, 1/2) = 0.0207.
        assert!((p([5, 15], [7, 7]) - 0.020_694_7).abs() < 1e-6);
        assert_eq!(more_often([0, 1], [0, 100]), None);
    }

    #[test]
    fn large_counts_end_and_are_small() {
        let tiny = p([100_000, 120_000], [10_000_000, 10_000_000]);
        assert!((0.0..1e-100).contains(&tiny), "{tiny}");
        let near = p([100_000, 100_300], [10_000_000, 10_000_000]);
        assert!((0.2..0.3).contains(&near), "{near}");
    }
}
