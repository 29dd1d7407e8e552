//! Whether deviations from a fit follow each other: the runs test (Wald and Wolfowitz, On a Test Whether Two Samples are from
//! the Same Population, 1940).

/// The probability of as few runs of equal sign, or fewer, if the signs came in random order. `None` where all have one sign
/// or none.
pub fn few_runs(deviations: &[f64]) -> Option<f64> {
    let signs: Vec<bool> =
        deviations.iter().filter(|&&value| value != 0.0).map(|&value| value > 0.0).collect();
    let above = signs.iter().filter(|&&sign| sign).count();
    let below = signs.len() - above;
    if above == 0 || below == 0 {
        return None;
    }
    let runs = 1 + signs.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let orders = choose(signs.len(), above);
    Some((2..=runs).map(|runs| with_runs(above, below, runs)).sum::<f64>() / orders)
}

/// In how many orders the signs make so many runs.
fn with_runs(above: usize, below: usize, runs: usize) -> f64 {
    let split = |parts: usize| (choose(above - 1, parts - 1), choose(below - 1, parts - 1));
    let half = runs / 2;
    let (a, b) = split(half);
    if runs.is_multiple_of(2) {
        return 2.0 * a * b;
    }
    let (one_more_a, one_more_b) = split(half + 1);
    one_more_a * b + a * one_more_b
}

fn choose(of: usize, count: usize) -> f64 {
    if count > of {
        return 0.0;
    }
    (0..count).map(|i| (of - i) as f64 / (i + 1) as f64).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(text: &str) -> Option<f64> {
        few_runs(&text.chars().map(|sign| if sign == '+' { 1.0 } else { -1.0 }).collect::<Vec<_>>())
    }

    /// Swed and Eisenhart, Tables for Testing Randomness of Grouping, 1943: of six and six, three runs or fewer have 0.013.
    #[test]
    fn the_probabilities_are_the_tables() {
        assert!((signs("+++------+++").unwrap() - 0.013).abs() < 5e-4);
        assert!((signs("+-+-+-+-+-+-").unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(signs("++++"), None);
        assert_eq!(signs(""), None);
    }
}
