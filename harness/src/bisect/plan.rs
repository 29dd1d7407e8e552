//! When values are looked at, and how sure each look has to be.
//!
//! Whoever looks at growing data again and again finds a difference in the end (Armitage, `McPherson` and Rowe, Repeated Significance Tests on
//! Accumulating Data, 1969). So there are few looks, each at twice as many runs as the one before, and the level is divided by their number
//! (Bonferroni), which holds whatever the values' law is. It is shared out before: a quarter for the endpoints, a quarter for the
//! confirmation, a half for all commits between.

use crate::stats::two_samples::Certainty;

/// What a comparison is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Bad against good.
    Endpoints,
    /// A commit against good: the how many that is measured, from 0.
    Step(u32),
    /// The commit that was found against its parent.
    Confirmation,
}

/// Looks and levels.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    level: f64,
    looks: Vec<u32>,
    steps: u32,
}

impl Plan {
    /// From `runs` a side (from 1) up to `most` (not fewer), where one of so many commits is looked for.
    pub fn new(certainty: Certainty, runs: u32, most: u32, commits: usize) -> Self {
        let doubled = std::iter::successors(Some(runs.max(1)), |runs| runs.checked_mul(2));
        let looks = doubled.take_while(|runs| *runs < most).chain([most]).collect();
        // Each answer halves what is left, but merges and commits that are passed over make that uneven.
        let steps = commits.max(1).next_power_of_two().ilog2() + 1;
        Self { level: certainty.level(), looks, steps }
    }

    /// How many runs a side there are at each look, ascending.
    pub fn looks(&self) -> &[u32] {
        &self.looks
    }

    /// The share of answers that may be wrong in all.
    pub fn whole_level(&self) -> f64 {
        self.level
    }

    /// How many commits are measured, about.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// The level of one look.
    pub fn level(&self, stage: Stage) -> f64 {
        let share = match stage {
            Stage::Endpoints | Stage::Confirmation => 0.25,
            Stage::Step(number) => 0.5 * self.step_share(number),
        };
        self.level * share / self.looks.len() as f64
    }

    /// The same for as many as are expected; from then on shares of one more that never add up to more than it: 1/2 + 1/6 + 1/12 + … = 1.
    fn step_share(&self, number: u32) -> f64 {
        let one = 1.0 / f64::from(self.steps + 1);
        match number.checked_sub(self.steps) {
            None => one,
            Some(beyond) => one / (f64::from(beyond + 1) * f64::from(beyond + 2)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_double_and_end_with_the_most() {
        let looks = |runs, most| Plan::new(Certainty::Usual, runs, most, 9).looks().to_vec();
        assert_eq!(looks(10, 60), [10, 20, 40, 60]);
        assert_eq!(looks(10, 80), [10, 20, 40, 80]);
        assert_eq!(looks(7, 7), [7]);
        assert_eq!(looks(1, 3), [1, 2, 3]);
    }

    #[test]
    fn all_looks_together_are_no_surer_than_was_asked_for() {
        for (certainty, commits) in
            [(Certainty::Usual, 1), (Certainty::Usual, 1_000), (Certainty::Strict, 17)]
        {
            let plan = Plan::new(certainty, 10, 60, commits);
            let looks = plan.looks().len() as f64;
            let ends = plan.level(Stage::Endpoints) + plan.level(Stage::Confirmation);
            let steps: f64 = (0..10_000).map(|number| plan.level(Stage::Step(number))).sum();
            let all = (ends + steps) * looks;
            assert!(all <= certainty.level() + 1e-12 && all > 0.99 * certainty.level(), "{commits}: {all}");
            assert!(plan.level(Stage::Step(0)) >= plan.level(Stage::Step(plan.steps())));
        }
        assert_eq!(
            [1, 2, 3, 16, 17].map(|commits| Plan::new(Certainty::Usual, 10, 60, commits).steps()),
            [1, 2, 3, 5, 6]
        );
    }
}
