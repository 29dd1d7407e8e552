//! Whether two sides were measured in turns. Pure.

use jiff::Timestamp;

/// As blocks of one run of each side in any order leave them: AB, BA, AB …
const LONGEST_STRETCH: usize = 2;

/// Whether runs of both sides follow each other in turns, by the moments at which they began: never more than two of one side on end.
/// Moments that are the same, or not known, have no order.
pub(super) fn in_turns(baseline: &[Option<Timestamp>], candidate: &[Option<Timestamp>]) -> bool {
    let of = |side: bool| move |at: &Option<Timestamp>| at.map(|at| (at, side));
    let all: Option<Vec<(Timestamp, bool)>> =
        baseline.iter().map(of(false)).chain(candidate.iter().map(of(true))).collect();
    let Some(mut all) = all else { return false };
    all.sort_unstable();
    let in_order = all.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let stretches = all.chunk_by(|one, next| one.1 == next.1);
    let longest = stretches.map(<[_]>::len).max().unwrap_or_default();
    !baseline.is_empty() && !candidate.is_empty() && in_order && longest <= LONGEST_STRETCH
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moments of each side, where the letters follow each other second by second.
    fn judged(letters: &str) -> bool {
        let of = |side: char| -> Vec<Option<Timestamp>> {
            let places = letters.chars().zip(0..).filter(|(letter, _)| *letter == side);
            places.map(|(_, second)| Timestamp::from_second(second).ok()).collect()
        };
        in_turns(&of('A'), &of('B'))
    }

    #[test]
    fn turns_have_no_long_stretch() {
        for turns in ["AB", "ABAB", "ABBAAB", "BABAABBA", "AABB"] {
            assert!(judged(turns), "{turns}");
        }
        for other in ["AAABBB", "ABABABBB", "AAAB", "ABAAAB", "AAAAA", ""] {
            assert!(!judged(other), "{other}");
        }
    }

    #[test]
    fn moments_without_an_order_are_no_turns() {
        let at = |second| Timestamp::from_second(second).ok();
        assert!(in_turns(&[at(1), at(3)], &[at(2), at(4)]));
        assert!(!in_turns(&[at(1), at(3)], &[at(1), at(4)]));
        assert!(!in_turns(&[at(1), None], &[at(2), at(4)]));
    }
}
