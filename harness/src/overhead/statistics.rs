//! Figures from windows and rounds. Pure.

use super::model::Summary;
use crate::stats::order::median_interval;

/// The confidence that [`summary`]'s interval has at least. Five rounds give 93.75 % with their whole range.
const CONFIDENCE: f64 = 0.93;

/// Of an ascending, non-empty list.
pub fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// A window's figure: its lower quartile. Whatever else the machine does can only make a slice slower, so the faster ones
/// say most; what a contestant does at least once a slice is in all of them.
pub(super) fn lower_quartile(slices: &[f64]) -> Option<f64> {
    let mut sorted = slices.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 4).copied()
}

/// The median of the rounds, their range, and an interval in which the true median lies with 93 % confidence or more.
/// `None` of no rounds.
pub(super) fn summary(rounds: &[f64]) -> Option<Summary> {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (&least, &most) = (sorted.first()?, sorted.last()?);
    let interval = median_interval(&sorted, CONFIDENCE);
    Some(Summary { median: median(&sorted), least, most, interval, rounds: sorted.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_is_between_the_middle_two() {
        assert!((median(&[1.0, 2.0, 4.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[1.0, 2.0, 4.0, 8.0]) - 3.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_disturbed_half_does_not_move_the_quartile() {
        assert_eq!(lower_quartile(&[9.0, 2.0, 9.0, 2.0, 2.0, 9.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(lower_quartile(&[3.0]), Some(3.0));
        assert_eq!(lower_quartile(&[]), None);
    }

    #[test]
    fn five_rounds_have_an_interval_and_four_have_none() {
        assert_eq!(summary(&[1.0, 2.0, 3.0, 4.0]).unwrap().interval, None);
        assert_eq!(summary(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap().interval, Some([1.0, 5.0]));
    }

    #[test]
    fn a_summary_knows_its_range_and_its_interval() {
        let summary = summary(&[1.3, 1.1, 1.2, 1.5, 1.4]).unwrap();
        assert_eq!((summary.median, summary.least, summary.most), (1.3, 1.1, 1.5));
        assert_eq!(summary.interval, Some([1.1, 1.5]));
        assert_eq!(super::summary(&[]), None);
    }
}
