//! How a count stands to its goal. Pure.

use std::fmt;

use super::binomial::interval;

/// What the share of hits has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// Hits among trials of which it could be told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Score {
    pub(super) hits: u32,
    pub(super) trials: u32,
    pub(super) goal: Goal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Reached,
    /// Missed, and the number of trials leaves open whether by chance.
    WithinChance,
    Missed,
    /// There was no trial.
    Inconclusive,
}

impl Score {
    pub(super) fn standing(&self) -> Standing {
        if self.trials == 0 {
            return Standing::Inconclusive;
        }
        let share = f64::from(self.hits) / f64::from(self.trials);
        let [least, most] = interval(self.hits, self.trials);
        let (reached, open) = match self.goal {
            Goal::AtMost(goal) => (share <= goal, least <= goal),
            Goal::AtLeast(goal) => (share >= goal, most >= goal),
        };
        match (reached, open) {
            (true, _) => Standing::Reached,
            (false, true) => Standing::WithinChance,
            (false, false) => Standing::Missed,
        }
    }

    /// Where the share lies.
    pub(super) fn interval(&self) -> String {
        let [least, most] = interval(self.hits, self.trials).map(|share| share * 100.0);
        format!("{least:.1} to {most:.1} %")
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(share) => write!(f, "≤ {} %", share * 100.0),
            Self::AtLeast(share) => write!(f, "≥ {} %", share * 100.0),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reached => "reached",
            Self::WithinChance => "missed, perhaps by chance",
            Self::Missed => "missed",
            Self::Inconclusive => "inconclusive",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_held_against_its_goal() {
        let standing = |goal, hits, trials| Score { hits, trials, goal }.standing();
        assert_eq!(standing(Goal::AtMost(0.05), 10, 200), Standing::Reached);
        assert_eq!(standing(Goal::AtMost(0.05), 11, 200), Standing::WithinChance);
        assert_eq!(standing(Goal::AtMost(0.05), 40, 200), Standing::Missed);
        assert_eq!(standing(Goal::AtLeast(0.95), 19, 20), Standing::Reached);
        assert_eq!(standing(Goal::AtLeast(0.95), 18, 20), Standing::WithinChance);
        assert_eq!(standing(Goal::AtLeast(0.95), 10, 20), Standing::Missed);
        assert_eq!(standing(Goal::AtMost(0.05), 0, 0), Standing::Inconclusive);
    }

    #[test]
    fn it_is_said_in_per_cent() {
        let score = Score { hits: 10, trials: 200, goal: Goal::AtMost(0.05) };
        assert_eq!(format!("{} {}", score.goal, score.interval()), "≤ 5 % 2.4 to 9.0 %");
        assert_eq!(Goal::AtLeast(0.95).to_string(), "≥ 95 %");
    }
}
