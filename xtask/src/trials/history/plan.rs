//! What the commits of the histories do. Pure.

/// A commit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Revision {
    pub(super) subject: String,
    /// By how much an operation is slower with it than without any delay.
    pub(super) slower_percent: f64,
}

/// What the bad commit costs.
const STEP_PERCENT: f64 = 20.0;
/// What each commit costs where all do.
const DRIFT_PERCENT: f64 = 0.6;
/// Where the bad commit is: the 14th of 40.
const BAD: (usize, usize) = (14, 40);

/// The place of the bad commit among so many, counted from 0.
pub(super) fn bad(count: usize) -> usize {
    (count * BAD.0 / BAD.1).saturating_sub(1)
}

/// One commit makes it slower, and the others change words.
pub(super) fn stepped(count: usize) -> Vec<Revision> {
    let revision = |place: usize| Revision {
        subject: if place == bad(count) {
            "Look everything up twice".into()
        } else {
            format!("README: say more, part {}", place + 1)
        },
        slower_percent: if place < bad(count) { 0.0 } else { STEP_PERCENT },
    };
    (0..count).map(revision).collect()
}

/// Each commit but the first makes it slower, by so little that nobody sees it.
pub(super) fn drifting(count: usize) -> Vec<Revision> {
    let revision = |place: usize| Revision {
        subject: format!("Handle one more case, the {}", ordinal(place + 1)),
        slower_percent: DRIFT_PERCENT * place as f64,
    };
    (0..count).map(revision).collect()
}

/// By how much the last is slower than the first.
pub(super) fn drift_percent(count: usize) -> f64 {
    DRIFT_PERCENT * count.saturating_sub(1) as f64
}

fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_commit_is_bad_and_the_others_change_nothing() {
        for (count, place) in [(40, 13), (20, 6), (16, 4)] {
            let plan = stepped(count);
            assert_eq!((plan.len(), bad(count)), (count, place));
            let changes: Vec<usize> = (1..count)
                .filter(|&at| plan[at].slower_percent.to_bits() != plan[at - 1].slower_percent.to_bits())
                .collect();
            assert_eq!(changes, [place]);
            assert!((plan[count - 1].slower_percent - STEP_PERCENT).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn a_drift_is_as_small_with_each_commit() {
        let plan = drifting(40);
        let last = plan.last().unwrap();
        assert_eq!((plan.len(), plan[0].slower_percent.to_bits()), (40, 0));
        assert!(
            plan.windows(2).all(|pair| (pair[1].slower_percent - pair[0].slower_percent - 0.6).abs() < 1e-9)
        );
        assert!((last.slower_percent - drift_percent(40)).abs() < 1e-9);
        let mut subjects: Vec<_> = plan.into_iter().map(|revision| revision.subject).collect();
        assert_eq!(subjects[21], "Handle one more case, the 22nd");
        subjects.dedup();
        assert_eq!(subjects.len(), 40);
    }

    #[test]
    fn numbers_have_their_endings() {
        let all: Vec<_> = [1, 2, 3, 4, 11, 12, 13, 21, 112].map(ordinal).into();
        assert_eq!(all, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th"]);
    }
}
