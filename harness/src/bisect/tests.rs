//! Whole searches in histories whose truth is known.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::model::Verdict;
use super::{Confirmed, Endpoints, Plan, Stage, Unmeasured, Worse, confirmed, endpoints, share, step};
use crate::compare::model::Better;
use crate::stats::two_samples::Certainty;

const STEADY: [f64; 10] = [100.0, 103.0, 98.0, 101.0, 99.0, 104.0, 97.0, 102.0, 100.5, 101.5];

fn times(factor: f64) -> Vec<f64> {
    STEADY.iter().map(|value| value * factor).collect()
}

fn worse(factor: f64, better: Better) -> Worse {
    Worse::of(&STEADY, &times(factor), better, 0.001).unwrap()
}

#[test]
fn a_throughput_that_falls_is_as_bad_as_a_time_that_grows() {
    let slower = worse(1.25, Better::Lower);
    assert!(slower.alarm && (slower.change_percent() - 25.0).abs() < 2.0, "{slower:?}");
    let less = worse(0.8, Better::Higher);
    assert!(less.alarm && (less.by - 0.25).abs() < 0.02 && less.effect > 0.9, "{less:?}");
    let [least, most] = less.interval_percent().unwrap();
    assert!(least < -20.0 && most > -20.0 && most < 0.0 && (less.change_percent() + 20.0).abs() < 1.5);
    assert!(!worse(1.25, Better::Higher).alarm && !worse(0.8, Better::Lower).alarm);
}

#[test]
fn what_was_not_measured_or_has_no_ratio_is_told() {
    let of = |value| Worse::of(&STEADY, &[value; 10], Better::Lower, 0.01).unwrap_err();
    assert_eq!(
        [f64::NAN, f64::INFINITY, 0.0, -1.0].map(of),
        [Unmeasured::Missing, Unmeasured::Missing, Unmeasured::NoRatio, Unmeasured::NoRatio]
    );
    // Of too few runs there is a change, and no interval that would decide.
    let few = Worse::of(&STEADY[..3], &times(2.0)[..3], Better::Lower, 0.01).unwrap();
    assert_eq!((few.interval, endpoints(&few, 0.03, false)), (None, Endpoints::MoreNeeded));
    assert_eq!(endpoints(&few, 0.03, true), Endpoints::Inconclusive);
    assert_eq!((step(&few, 1.0, false), step(&few, 1.0, true)), (None, Some(Verdict::Undecided)));
    assert_eq!(confirmed(&few, 1.0, true), Confirmed::Unconfirmed);
}

#[test]
fn endpoints_have_to_differ_by_what_matters_and_can_be_halved() {
    let of = |factor, threshold| endpoints(&worse(factor, Better::Lower), threshold, true);
    assert_eq!(of(1.2, 0.03), Endpoints::Differ);
    assert_eq!(of(0.8, 0.03), Endpoints::Improvement);
    assert_eq!(of(1.0, 0.1), Endpoints::NoRegression);
    assert_eq!(of(1.2, 0.5), Endpoints::NoRegression);
    // A room from nearly nothing to twice as much, and one that leaves nothing out.
    assert_eq!(of(1.05, 0.03), Endpoints::Inconclusive);
    assert_eq!(of(1.0, 0.001), Endpoints::Inconclusive);
}

#[test]
fn a_commit_is_judged_by_half_of_the_whole_change() {
    let of = |factor, whole| step(&worse(factor, Better::Lower), whole, true);
    assert_eq!(of(1.0, 0.2), Some(Verdict::Good));
    assert_eq!(of(1.2, 0.2), Some(Verdict::Bad));
    assert_eq!(of(1.2_f64.sqrt(), 0.2), Some(Verdict::Undecided));
    // A commit that is worse is good, where most of the change comes later.
    assert_eq!(of(1.2, 3.0), Some(Verdict::Good));
}

#[test]
fn what_is_found_carries_most_or_it_is_gradual() {
    let of = |factor, whole| confirmed(&worse(factor, Better::Lower), whole, true);
    assert_eq!(of(1.2, 0.2), Confirmed::Most);
    assert_eq!(of(1.2, 3.0), Confirmed::LessThanHalf);
    assert_eq!(of(1.2, 0.45), Confirmed::Worse);
    assert_eq!(of(1.01, 0.03), Confirmed::Unconfirmed);
    assert!((share(0.1, 0.21).unwrap() - 0.5).abs() < 1e-12);
    assert_eq!(share(0.1, 0.0), None);
}

/// A history: how slow each commit is, the first of which is good, and the last bad; and noise.
struct History {
    levels: Vec<f64>,
    /// Of the noise, as a share (the coefficient of variation).
    deviation: f64,
    random: ChaCha8Rng,
}

/// How a search ended.
#[derive(Debug, PartialEq)]
enum Ending {
    Found(usize),
    Gradual,
    /// Nothing was claimed.
    Inconclusive,
}

impl History {
    /// So many more runs, nearly normal: the sum of twelve even ones (the Irwin–Hall law) has variance 1.
    fn measure(&mut self, commit: usize, values: &mut Vec<f64>, until: u32) {
        while values.len() < until as usize {
            let noise: f64 = (0..12).map(|_| self.random.random_range(-0.5..0.5)).sum();
            values.push(self.levels[commit] * (noise * self.deviation).exp());
        }
    }

    fn compare<D>(
        &mut self,
        plan: &Plan,
        stage: Stage,
        sides: [usize; 2],
        decide: impl Fn(&Worse, bool) -> Option<D>,
    ) -> (D, f64) {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for &runs in plan.looks() {
            self.measure(sides[0], &mut before, runs);
            self.measure(sides[1], &mut after, runs);
            let worse = Worse::of(&before, &after, Better::Lower, plan.level(stage)).unwrap();
            if let Some(decision) = decide(&worse, Some(&runs) == plan.looks().last()) {
                return (decision, worse.by);
            }
        }
        unreachable!("the last look decides")
    }

    /// As the command line does it, but for git, which halves a line of commits.
    fn search(&mut self) -> Ending {
        let bad = self.levels.len() - 1;
        let plan = Plan::new(Certainty::Usual, 10, 40, bad);
        let ends = |worse: &Worse, last| match endpoints(worse, 0.03, last) {
            Endpoints::MoreNeeded => None,
            decision => Some(decision),
        };
        let (decision, whole) = self.compare(&plan, Stage::Endpoints, [0, bad], ends);
        if decision != Endpoints::Differ {
            return Ending::Inconclusive;
        }
        let (mut good, mut first, mut number) = (0, bad, 0);
        let mut passed_over = Vec::new();
        // What is nearest to the middle, of those that have not been tried.
        while let Some(commit) = (good + 1..first)
            .filter(|commit| !passed_over.contains(commit))
            .min_by_key(|commit| (2 * commit).abs_diff(good + first))
        {
            let stage = Stage::Step(number);
            number += 1;
            match self.compare(&plan, stage, [0, commit], |worse, last| step(worse, whole, last)).0 {
                Verdict::Good => good = commit,
                Verdict::Bad => first = commit,
                Verdict::Undecided | Verdict::Skipped => passed_over.push(commit),
            }
        }
        let last_word = |worse: &Worse, last| match confirmed(worse, whole, last) {
            Confirmed::MoreNeeded => None,
            decision => Some(decision),
        };
        match self.compare(&plan, Stage::Confirmation, [good, first], last_word).0 {
            Confirmed::Most | Confirmed::Worse if first - good == 1 => Ending::Found(first),
            Confirmed::LessThanHalf => Ending::Gradual,
            _ => Ending::Inconclusive,
        }
    }
}

/// Nothing wrong is claimed, and where the step is no smaller than twice the noise it is found.
#[test]
fn a_step_is_found_where_it_is_or_nowhere() {
    let commits = 12;
    let (mut found, mut open) = (0, 0);
    for case in 0..18_u8 {
        let deviation = [0.02, 0.05, 0.1][usize::from(case % 3)];
        let rise = [1.05, 1.1, 1.2][usize::from(case / 3 % 3)];
        let at = usize::from(case) % commits + 1;
        let levels = (0..=commits).map(|commit| if commit >= at { rise } else { 1.0 }).collect();
        let mut history = History { levels, deviation, random: ChaCha8Rng::seed_from_u64(case.into()) };
        match history.search() {
            Ending::Found(commit) => {
                assert_eq!(commit, at, "case {case}");
                found += 1;
            }
            Ending::Gradual => panic!("case {case}: one step is not gradual"),
            Ending::Inconclusive => {
                assert!(rise < 1.0 + 2.0 * deviation + 0.01, "case {case}: {rise} in a noise of {deviation}");
                open += 1;
            }
        }
    }
    assert!(found >= 9 && found + open == 18, "{found} found, {open} open");
}

#[test]
fn where_nothing_differs_nothing_is_claimed() {
    for case in 0..8 {
        let levels = vec![1.0; 9];
        let mut history = History { levels, deviation: 0.05, random: ChaCha8Rng::seed_from_u64(case) };
        assert_eq!(history.search(), Ending::Inconclusive, "case {case}");
    }
}

/// No commit of a ramp is blamed for it.
#[test]
fn a_ramp_is_gradual() {
    let mut gradual = 0;
    for case in 0..8 {
        let levels = (0_u8..=12).map(|commit| 1.03_f64.powi(i32::from(commit))).collect();
        let mut history = History { levels, deviation: 0.02, random: ChaCha8Rng::seed_from_u64(case) };
        match history.search() {
            Ending::Gradual => gradual += 1,
            Ending::Inconclusive => {}
            Ending::Found(commit) => panic!("case {case}: commit {commit} is blamed"),
        }
    }
    assert!(gradual >= 4, "only {gradual}");
}
