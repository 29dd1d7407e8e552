//! Whether one sample of measurements is slower than another, by how much, and how sure that is. Pure, and the same for the same values.
//!
//! The test is a permutation test (Fisher, The Design of Experiments, 1935; Pitman, Significance Tests Which May Be Applied to Samples from
//! any Populations, 1937): had both sides the same law, each way to deal the values out to them would be as likely as the one that was seen.
//! All ways are counted where there are few, and `DEALS` at random where there are many. What is compared is the greatest of three
//! differences, each in its own standard deviations, of logarithms of the values:
//!
//! - of the means of values clipped at `FAR` standard deviations, which finds most where noise is normal or has two modes, and does
//!   not see how wild a wild value is (Huber, Robust Estimation of a Location Parameter, 1964);
//! - of the means of values clipped at `NEAR` standard deviation, which several wild values do not blind;
//! - of the mean ranks (Wilcoxon, Individual Comparisons by Ranking Methods, 1945), from `RANKED` values a side on: of fewer there are so
//!   few rank sums that they cost more than they find.
//!
//! The greatest of several tests finds what the best of them finds, and counting its law costs no false alarms for it (the max-t method:
//! Westfall and Young, Resampling-Based Multiple Testing, 1993).
//!
//! The change is the ratio of the sides by Hodges and Lehmann (Estimates of Location Based on Rank Tests, 1963), and its interval are all
//! ratios that the same test would not refuse, from the least to the greatest. With wild values some between them may be refused, and 1 be one
//! of those: an alarm is given only where the interval leaves out 1, too.
//!
//! **No test repairs the order of measuring.** Where both sides were measured one after the other, what drifts meanwhile (a
//! temperature, a neighbour) looks like a change. What can be seen of it is a slope inside both sides: where that, going on from one
//! side's middle to the other's, would explain most of the change, the comparison is inconclusive. A shift of everything between
//! both, as between two machines, is not to be seen at all: measure interleaved.

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use super::order::{ascending, median};
use super::scores::{Scale, clipped, deviations, standardised};

/// Values of a side, at least. More are needed where no way to deal them out would be rare enough: four against four, and five for
/// [`Certainty::Strict`].
pub const FEWEST: usize = 3;
/// Values of a side from which on ranks are compared, too.
const RANKED: usize = 12;
/// Values of a side from which on a slope inside both is looked for: of fewer it is anything.
const SLOPED: usize = 8;
/// The share of a change that a slope has to explain to make it doubtful.
const EXPLAINED: f64 = 0.8;
/// Deals at random, where there are too many to count; more where the level asks for it ([`DEALS_BELOW`]).
const DEALS: usize = 1_999;
/// So many deals at random are to be expected below the level, at least.
const DEALS_BELOW: f64 = 10.0;
/// No level asks for more deals than this, which take a second.
const MOST_DEALS: usize = 200_000;
/// So many are counted.
const COUNTED: usize = 8_000;
/// Standard deviations, by the median absolute deviation, at which values are clipped so that only what is wild is touched.
const FAR: f64 = 4.0;
/// And so that a third of normal values is.
const NEAR: f64 = 1.0;
/// Sums of scores that differ by no more are the same, but for how they were rounded.
const ROUNDED: f64 = 1e-9;

/// How sure an alarm has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Certainty {
    /// 5 % of comparisons of the same with the same may alarm.
    #[default]
    Usual,
    /// 1 % may.
    Strict,
}

impl Certainty {
    /// The share of comparisons of the same with the same that may alarm.
    pub fn level(self) -> f64 {
        match self {
            Self::Usual => 0.05,
            Self::Strict => 0.01,
        }
    }
}

/// In which order both sides were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Nothing is known of it: all of the one may have been measured before the other.
    #[default]
    Unknown,
    /// In turns, so that a drift meets both alike.
    Interleaved,
}

/// What became of the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It takes longer.
    Regression,
    /// It takes less long.
    Improvement,
    /// Nothing was found. It may still have changed, by what the interval has room for.
    NoChange,
    /// It cannot be told.
    Inconclusive(Doubt),
}

/// Why it cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// There are too few values for any difference to be sure.
    TooFew,
    /// A value is no number, or infinite, or the change is.
    NotFinite,
    /// Values drift inside both sides so that the change would follow from it.
    Drift,
}

/// Two sides, compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// What became of the candidate.
    pub verdict: Verdict,
    /// By what share the candidate's values are greater (−0.5: half of the baseline's); by how much where that is not [`Self::relative`].
    pub change: f64,
    /// Whether ratios were compared. Of zero and less there are none.
    pub relative: bool,
    /// The change lies in here, with as much confidence as was asked for. `None` where there are too few values.
    pub interval: Option<[f64; 2]>,
    /// The probability of a difference as great, had both sides the same law.
    pub p: f64,
    /// How much more often a value of the candidate is above one of the baseline than below: −1 to 1, ties counting for nothing (Cliff,
    /// Dominance Statistics, 1993).
    pub effect: f64,
}

/// Compares two sides of which greater values are worse.
pub fn compare(baseline: &[f64], candidate: &[f64], certainty: Certainty, order: Order) -> Comparison {
    at_level(baseline, candidate, certainty.level(), order)
}

/// As [`compare`], where a share `level` (above 0, below 1) of comparisons of the same with the same may alarm; the interval's confidence is the rest.
pub fn at_level(baseline: &[f64], candidate: &[f64], level: f64, order: Order) -> Comparison {
    let all = [baseline, candidate].concat();
    if !all.iter().all(|value| value.is_finite()) {
        return Comparison::doubtful(Doubt::NotFinite);
    }
    let scale = Scale::of(&all);
    let (before, after) = (scale.scaled(baseline), scale.scaled(candidate));
    let Some(shift) = shift(&before, &after) else { return Comparison::doubtful(Doubt::TooFew) };
    let (change, relative) = (scale.change(shift), scale == Scale::Ratios);
    if !change.is_finite() {
        return Comparison::doubtful(Doubt::NotFinite);
    }
    let effect = dominance(&before, &after);
    let known = Comparison { change, relative, effect, ..Comparison::doubtful(Doubt::TooFew) };
    if before.len().min(after.len()) < FEWEST || !can_be_rare(before.len(), after.len(), level) {
        return known;
    }
    let deals = Deals::of(before.len(), after.len(), level);
    let found = deals.probability(&before, &after, 0.0);
    let side = if found.above { 1.0 } else { -1.0 };
    let interval = deals.interval(&before, &after, shift, level);
    // The test may see a few wild values where the sides are alike otherwise.
    let apart = interval.iter().all(|end| end * side > 0.0);
    let agreed = shift * side > 0.0 && known.effect * side > 0.0 && apart;
    let verdict = if found.p >= level || !agreed {
        Verdict::NoChange
    } else if order == Order::Unknown && follows_from_a_slope(&before, &after, shift) {
        Verdict::Inconclusive(Doubt::Drift)
    } else if found.above {
        Verdict::Regression
    } else {
        Verdict::Improvement
    };
    Comparison { verdict, interval: Some(interval.map(|shift| scale.change(shift))), p: found.p, ..known }
}

impl Comparison {
    fn doubtful(doubt: Doubt) -> Self {
        Self {
            verdict: Verdict::Inconclusive(doubt),
            change: f64::NAN,
            relative: true,
            interval: None,
            p: f64::NAN,
            effect: f64::NAN,
        }
    }
}

/// The median of the differences of all pairs.
fn shift(before: &[f64], after: &[f64]) -> Option<f64> {
    let pairs: Vec<f64> =
        after.iter().flat_map(|above| before.iter().map(move |below| above - below)).collect();
    median(&pairs)
}

fn dominance(before: &[f64], after: &[f64]) -> f64 {
    let sign = |above: &f64, below: &f64| f64::from(i8::from(above > below) - i8::from(above < below));
    let sum: f64 = after.iter().flat_map(|above| before.iter().map(move |below| sign(above, below))).sum();
    sum / (before.len() * after.len()) as f64
}

/// Whether the slope that both sides have in common would lead from the middle of the one to that of the other: the median of the slopes
/// between all pairs of a side's values (Sen, Estimates of the Regression Coefficient Based on Kendall's Tau, 1968).
fn follows_from_a_slope(before: &[f64], after: &[f64], shift: f64) -> bool {
    if before.len().min(after.len()) < SLOPED {
        return false;
    }
    let between = |side: &[f64], one: usize, other: usize| (side[other] - side[one]) / (other - one) as f64;
    let slopes: Vec<f64> = [before, after]
        .into_iter()
        .flat_map(|side| {
            (0..side.len())
                .flat_map(move |one| (one + 1..side.len()).map(move |other| between(side, one, other)))
        })
        .collect();
    let apart = (before.len() + after.len()) as f64 / 2.0;
    median(&slopes).is_some_and(|slope| slope * apart / shift > EXPLAINED)
}

/// What a test found.
struct Found {
    p: f64,
    /// Whether the candidate is above the baseline, by the difference that counts.
    above: bool,
}

/// Ways to deal the values of both sides out: for each the places of those that the second side gets.
struct Deals {
    places: Vec<Vec<u16>>,
    /// All that there are.
    all: bool,
}

impl Deals {
    fn of(before: usize, after: usize, level: f64) -> Self {
        let count = before + after;
        if ways(count, after).is_some_and(|ways| ways <= COUNTED) {
            return Self { places: combinations(count, after), all: true };
        }
        // The same values are always judged alike.
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut places: Vec<u16> = (0..count).map(|place| u16::try_from(place).unwrap_or(u16::MAX)).collect();
        let deal = |_| places.partial_shuffle(&mut random, after).0.to_vec();
        Self { places: (0..deals(level)).map(deal).collect(), all: false }
    }

    /// Tests whether the second side, lowered by a shift, has the law of the first.
    fn probability(&self, before: &[f64], after: &[f64], shift: f64) -> Found {
        let values: Vec<f64> =
            before.iter().copied().chain(after.iter().map(|value| value - shift)).collect();
        let scores = scores(&values, before.len().min(after.len()) >= RANKED);
        let seen = scores.iter().map(|scores| scores[before.len()..].iter().sum::<f64>());
        let greatest =
            seen.fold(0.0, |greatest: f64, sum| if sum.abs() > greatest.abs() { sum } else { greatest });
        if scores.is_empty() {
            return Found { p: 1.0, above: false };
        }
        let as_great = |places: &&Vec<u16>| {
            scores.iter().any(|scores| {
                let sum: f64 = places.iter().map(|&place| scores[usize::from(place)]).sum();
                sum.abs() >= greatest.abs() - ROUNDED
            })
        };
        let count = self.places.iter().filter(as_great).count();
        // What was seen is one of all ways; of those at random it is one more (Phipson and Smyth, Permutation P-values Should Never Be
        // Zero, 2010).
        let itself = usize::from(!self.all);
        Found { p: (count + itself) as f64 / (self.places.len() + itself) as f64, above: greatest > 0.0 }
    }

    /// The least and the greatest shift that the test does not refuse, to a thousandth of the distance between the sides.
    fn interval(&self, before: &[f64], after: &[f64], shift: f64, level: f64) -> [f64; 2] {
        let width = spread(before).max(spread(after)).max(shift.abs() * 1e-3);
        [-1.0, 1.0].map(|direction| {
            let kept =
                |distance: f64| self.probability(before, after, shift + direction * distance).p >= level;
            let (mut inside, mut outside) = (0.0, width);
            // Sides that do not vary have no width; others are apart when they are so by twice what they vary.
            while outside > 0.0 && outside < 1e3 * width && kept(outside) {
                (inside, outside) = (outside, outside * 2.0);
            }
            for _ in 0..BISECTIONS {
                let middle = f64::midpoint(inside, outside);
                if kept(middle) { inside = middle } else { outside = middle }
            }
            shift + direction * outside
        })
    }
}

/// Halvings of an interval's end.
const BISECTIONS: u8 = 10;

fn spread(side: &[f64]) -> f64 {
    let sorted = ascending(side);
    sorted.last().zip(sorted.first()).map_or(0.0, |(most, least)| most - least)
}

/// Whether the rarest deals, which are two (the one that was seen, and with the sides exchanged), are below a level.
fn can_be_rare(before: usize, after: usize, level: f64) -> bool {
    ways(before + after, after).is_none_or(|ways| 2.0 / (ways as f64) < level)
}

/// The least probability that any values could have, with so many on each side: that of the one deal which was seen and its mirror image, or
/// of one at random among those that are tried.
pub fn least_p(before: usize, after: usize) -> f64 {
    match ways(before + after, after) {
        Some(ways) if ways <= COUNTED => (2.0 / ways as f64).min(1.0),
        _ => 1.0 / (DEALS + 1) as f64,
    }
}

/// How many ways there are to choose; `None` where that is more than can be counted.
fn ways(count: usize, chosen: usize) -> Option<usize> {
    (0..chosen).try_fold(1_usize, |ways, taken| Some(ways.checked_mul(count - taken)? / (taken + 1)))
}

/// How many deals at random a level asks for.
fn deals(level: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it saturates, and is clamped"
    )]
    let asked = (DEALS_BELOW / level).ceil() as usize;
    asked.clamp(DEALS, MOST_DEALS)
}

/// All ways to choose, in lexicographic order.
fn combinations(count: usize, chosen: usize) -> Vec<Vec<u16>> {
    let mut current: Vec<usize> = (0..chosen).collect();
    let mut all = Vec::new();
    loop {
        all.push(current.iter().map(|&place| u16::try_from(place).unwrap_or(u16::MAX)).collect());
        let Some(last) = (0..chosen).rev().find(|&place| current[place] < count - chosen + place) else {
            return all;
        };
        current[last] += 1;
        for place in last + 1..chosen {
            current[place] = current[place - 1] + 1;
        }
    }
}

/// The values in the scales that are compared, each with mean 0 and the same variance. None of values that are all the same.
fn scores(values: &[f64], ranked: bool) -> Vec<Vec<f64>> {
    let (deviations, deviation) = deviations(values);
    // Where more than half of the values are the same, none is wild.
    let mut scales: Vec<Vec<f64>> = if deviation > 0.0 {
        [FAR, NEAR].iter().map(|clip| clipped(&deviations, clip * deviation)).collect()
    } else {
        vec![deviations]
    };
    if ranked {
        scales.push(ranks(values));
    }
    scales.into_iter().filter_map(standardised).collect()
}

/// Ranks; those of equal values are their mean.
fn ranks(values: &[f64]) -> Vec<f64> {
    let sorted = ascending(values);
    let rank = |value: &f64| {
        let below = sorted.partition_point(|other| other < value);
        let not_above = sorted.partition_point(|other| other <= value);
        (below + not_above) as f64 / 2.0
    };
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BELOW: [f64; 8] = [100.0, 103.0, 98.0, 101.0, 99.0, 104.0, 97.0, 102.0];

    fn usual(baseline: &[f64], candidate: &[f64]) -> Comparison {
        compare(baseline, candidate, Certainty::Usual, Order::Interleaved)
    }

    fn times(values: &[f64], factor: f64) -> Vec<f64> {
        values.iter().map(|value| value * factor).collect()
    }

    #[test]
    fn all_deals_are_counted() {
        // Fully apart: one of 70 ways, and the one with the sides exchanged.
        let comparison = usual(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]);
        assert!((comparison.p - 2.0 / 70.0).abs() < 1e-12, "{comparison:?}");
        assert_eq!(comparison.verdict, Verdict::Regression);
        assert!((comparison.effect - 1.0).abs() < 1e-12);
        assert_eq!(combinations(5, 2).len(), 10);
        assert_eq!((ways(40, 20), ways(10_000, 5_000)), (Some(137_846_528_820), None));
    }

    #[test]
    fn a_lower_level_is_asked_of_more_deals_and_has_a_wider_interval() {
        assert_eq!([0.05, 0.01, 1e-3, 1e-9].map(deals), [DEALS, DEALS, 10_000, MOST_DEALS]);
        let noisy: Vec<f64> = BELOW.iter().cycle().take(16).copied().collect();
        let slower = times(&noisy, 1.1);
        let at = |level| at_level(&noisy, &slower, level, Order::Interleaved);
        let (usual, low) = (at(0.05), at(1e-3));
        let ([least, most], [lower, upper]) = (usual.interval.unwrap(), low.interval.unwrap());
        assert!(lower < least && most < upper && low.p < 1e-3, "{usual:?} and {low:?}");
        assert_eq!(usual, compare(&noisy, &slower, Certainty::Usual, Order::Interleaved));
        // Two of 70 ways are more than the level.
        let few = at_level(&BELOW[..4], &slower[..4], 1e-3, Order::Interleaved);
        assert_eq!(few.verdict, Verdict::Inconclusive(Doubt::TooFew));
    }

    #[test]
    fn a_change_has_its_size_and_direction() {
        let slower = usual(&BELOW, &times(&BELOW, 1.1));
        assert_eq!(slower.verdict, Verdict::Regression);
        let [least, most] = slower.interval.unwrap();
        assert!(least > 0.0 && least < 0.1 && most > 0.1 && most < 0.15, "{slower:?}");
        assert!((slower.change - 0.1).abs() < 0.01, "{slower:?}");
        let faster = usual(&BELOW, &times(&BELOW, 0.9));
        assert_eq!((faster.verdict, faster.change < -0.09), (Verdict::Improvement, true));
        let same = usual(&BELOW, &BELOW);
        assert_eq!((same.verdict, same.p > 0.9), (Verdict::NoChange, true));
        assert_eq!(
            compare(&BELOW, &times(&BELOW, 1.1), Certainty::Strict, Order::Unknown).verdict,
            Verdict::Regression
        );
    }

    #[test]
    fn what_cannot_be_told_is_not() {
        let doubt = |baseline: &[f64], candidate: &[f64], certainty| match compare(
            baseline,
            candidate,
            certainty,
            Order::Unknown,
        )
        .verdict
        {
            Verdict::Inconclusive(doubt) => Some(doubt),
            _ => None,
        };
        let (below, above) = ([1.0, 1.1, 1.2, 1.3], [9.0, 9.1, 9.2, 9.3]);
        assert_eq!(doubt(&below[..3], &above[..3], Certainty::Usual), Some(Doubt::TooFew));
        assert_eq!(doubt(&below, &above, Certainty::Usual), None);
        assert_eq!(doubt(&below, &above, Certainty::Strict), Some(Doubt::TooFew));
        assert_eq!(doubt(&[], &above, Certainty::Usual), Some(Doubt::TooFew));
        assert_eq!(doubt(&[1.0; 40], &[2.0; 2], Certainty::Usual), Some(Doubt::TooFew));
        assert_eq!(doubt(&[1.0, 1.0, 1.0, f64::NAN], &above, Certainty::Usual), Some(Doubt::NotFinite));
        assert_eq!(doubt(&[f64::MAX; 5], &[f64::MIN; 5], Certainty::Usual), Some(Doubt::NotFinite));
    }

    #[test]
    fn values_that_do_not_vary_are_compared() {
        let same = usual(&[7.0; 10], &[7.0; 10]);
        assert_eq!((same.verdict, same.p, same.interval), (Verdict::NoChange, 1.0, Some([0.0, 0.0])));
        let apart = usual(&[7.0; 10], &[7.7; 10]);
        assert_eq!(apart.verdict, Verdict::Regression);
        assert!((apart.change - 0.1).abs() < 1e-9, "{apart:?}");
        // Of zero there is no share.
        let from_zero = usual(&[0.0; 10], &[3.0; 10]);
        assert_eq!(
            (from_zero.verdict, from_zero.relative, from_zero.change),
            (Verdict::Regression, false, 3.0)
        );
    }

    #[test]
    fn a_drift_through_both_sides_is_no_change() {
        let drifting: Vec<f64> =
            (0..20_u8).zip(BELOW.iter().cycle()).map(|(at, value)| value / 10.0 + f64::from(at)).collect();
        let (before, after) = drifting.split_at(10);
        let one_after_the_other = compare(before, after, Certainty::Usual, Order::Unknown);
        assert_eq!(one_after_the_other.verdict, Verdict::Inconclusive(Doubt::Drift));
        // It is not mistaken for one where both are level.
        assert_eq!(
            compare(&BELOW, &times(&BELOW, 1.1), Certainty::Usual, Order::Unknown).verdict,
            Verdict::Regression
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Exchanging the sides turns the verdict around, and the interval has room for no change exactly where there is no alarm.
        #[test]
        fn the_parts_of_a_comparison_agree(
            // So few that all deals are counted: those at random are others when the sides are exchanged.
            before in prop::collection::vec(90.0..110.0_f64, 4..8),
            after in prop::collection::vec(90.0..130.0_f64, 4..8),
        ) {
            let (there, back) = (usual(&before, &after), usual(&after, &before));
            let turned = match there.verdict {
                Verdict::Regression => Verdict::Improvement,
                Verdict::Improvement => Verdict::Regression,
                other => other,
            };
            prop_assert_eq!(back.verdict, turned);
            prop_assert!((0.0..=1.0).contains(&there.p) && (-1.0..=1.0).contains(&there.effect), "{:?}", there);
            let [least, most] = there.interval.unwrap();
            prop_assert!(least <= there.change && there.change <= most, "{:?}", there);
            match there.verdict {
                Verdict::Regression => prop_assert!(least > 0.0, "{:?}", there),
                Verdict::Improvement => prop_assert!(most < 0.0, "{:?}", there),
                _ => {}
            }
        }

        #[test]
        fn whatever_comes_is_judged(
            before in prop::collection::vec(prop_oneof![Just(0.0), -1e9..1e9_f64, Just(1.0), Just(f64::NAN)], 0..12),
            after in prop::collection::vec(prop_oneof![Just(0.0), -1e9..1e9_f64, Just(1.0)], 0..12),
        ) {
            let comparison = compare(&before, &after, Certainty::Usual, Order::Unknown);
            if let Some([least, most]) = comparison.interval {
                prop_assert!(least <= most, "{:?}", comparison);
            }
        }
    }
}
