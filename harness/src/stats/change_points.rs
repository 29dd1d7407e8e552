//! Where a series of measurements changes its level: the first points of new regimes. Pure, and the same for the same values.
//!
//! The series is cut in two where the means of both sides differ most, by a test; then each side is (Scott and Knott, A Cluster Analysis
//! Method for Grouping Means in the Analysis of Variance, 1974; binary segmentation). What keeps it from crying wolf:
//!
//! 1. logarithms, so that a change is a share of the level, and deviations of more than `CLIP` standard deviations (by the median absolute
//!    deviation) count as those: one spike of four times the level is no regime (Huber, Robust Estimation of a Location Parameter, 1964);
//! 2. the law of the greatest difference is not assumed but counted, in `SHUFFLES` shuffles of the same values (as in E-divisive: Matteson
//!    and James, A Nonparametric Approach for Multiple Change Point Analysis of Multivariate Data, 2014), so that trying all places costs
//!    no false alarms;
//! 3. runs of the same machine resemble their neighbours, and shuffles do not: each difference is held against what the mean of so many
//!    autocorrelated values varies by (Bayley and Hammersley, The "Effective" Number of Independent Observations in an Autocorrelated Time
//!    Series, 1946), the correlation of neighbours being that around both sides' medians;
//! 4. differences at the ends weigh a little more (`TILT`): what changed in the last three runs is what people wait for (weighted
//!    cumulative sums: Csörgő and Horváth, Limit Theorems in Change-Point Analysis, 1997, chapter 2).
//!
//! A level that is left and come back to, as a regression that was mended, differs little from the rest when it is cut in two. Where no cut is found,
//! each stretch inside is held against what surrounds it, by the same means. And around one cut several levels look like neighbours that resemble
//! each other; so where neither is found, the series is cut into as many pieces as it may have, at once (`pieces.rs`).
//!
//! How often it is wrong, and what it finds, `cargo xtask stats-bench` prints.

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use super::order::median;
use super::pieces::Pieces;
use super::scores::{Scale, clipped, deviations, standardised};

/// Runs of a regime, at least: of two nobody could tell whether they are one.
pub const SHORTEST: usize = 3;
/// Values of a series, at least, in which a change is looked for.
pub const FEWEST: usize = 8;
/// A cut is kept where no more than this share of the shuffles shows as great a difference anywhere.
pub const LEVEL: f64 = 0.018;
/// The same for a stretch inside, of which there are many more.
const ARC_LEVEL: f64 = 0.002;
/// The stretch that differs most takes more of its neighbours' resemblance away than a cut does, so that less is left to be seen: what is seen
/// counts this often, and so much is taken for granted. Found by simulation; it costs what differs little, and no more.
const ARC_CAUTION: f64 = 2.0;
const ARC_CORRELATION: f64 = 0.2;
/// So many places are ends of stretches.
const MOST_ARCS: usize = 200;
/// What a cut of several has to explain, as a number of times the logarithm of the count; less is left to the pieces, which are looked through
/// again. Schwarz's criterion has 1 for a level and its place (Estimating the Dimension of a Model, 1978).
const PIECE_COST: f64 = 3.0;
/// As above, for several cuts.
const PIECE_CAUTION: f64 = 1.2;
const PIECE_CORRELATION: f64 = 0.1;
/// How often the values are shuffled.
const SHUFFLES: u16 = 499;
/// Standard deviations beyond which a value is as far away as any.
const CLIP: f64 = 4.5;
/// The exponent by which cuts near the ends weigh more.
const TILT: f64 = 0.06;
/// Correlation of neighbours that is taken for chance.
const CHANCE: f64 = 0.09;
/// And by how much the rest is taken for more than it looks: what is estimated from few values is estimated too low as often as too high,
/// and too low costs more.
const CAUTION: f64 = 1.2;
/// No more is believed, or nothing would ever be a change.
const MOST_CORRELATED: f64 = 0.9;
/// The first point of a new regime.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangePoint {
    /// Its index in the series.
    pub at: usize,
    /// The share of shuffles that showed as great a difference anywhere.
    pub p: f64,
    /// The medians of the regime before it, and of its own.
    pub levels: [f64; 2],
}

impl ChangePoint {
    /// The change of the level, as a share of that before.
    pub fn change(&self) -> f64 {
        self.levels[1] / self.levels[0] - 1.0
    }
}

/// All changes of a series, in its order. What is not finite is passed over. Where a value is zero or less, differences count instead of
/// ratios.
pub fn change_points(values: &[f64]) -> Vec<ChangePoint> {
    let (places, kept): (Vec<usize>, Vec<f64>) =
        values.iter().copied().enumerate().filter(|(_, value)| value.is_finite()).unzip();
    let cuts = change_points_of(&Scale::of(&kept).scaled(&kept), Search::Thorough);
    let ends = |index: usize| cuts.get(index).map_or(kept.len(), |&(at, _)| at);
    let level = |from: usize, to: usize| median(&kept[from..to]).unwrap_or(f64::NAN);
    let mut before = 0;
    let mut changes = Vec::new();
    for (index, &(at, p)) in cuts.iter().enumerate() {
        let levels = [level(before, at), level(at, ends(index + 1))];
        changes.push(ChangePoint { at: places[at], p, levels });
        before = at;
    }
    changes
}

/// The places of the changes of finite values whose differences count, with the share of shuffles that showed as great a difference.
pub(super) fn change_points_of(scaled: &[f64], search: Search) -> Vec<(usize, f64)> {
    let mut cuts = Vec::new();
    // The same series has the same changes whenever it is asked.
    cut(scaled, search, 0, &mut ChaCha8Rng::seed_from_u64(0), &mut cuts);
    cuts
}

/// How hard changes are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// One cut after the other.
    Quick,
    /// Several at once, too: a hundred times as long where there are several.
    Thorough,
}

/// Cuts where the difference is greatest, as long as it is no chance; and where no cut is, around what differs from all that surrounds it.
fn cut(values: &[f64], search: Search, offset: usize, random: &mut ChaCha8Rng, cuts: &mut Vec<(usize, f64)>) {
    if values.len() < FEWEST {
        return;
    }
    let Some(scores) = scores(values) else { return };
    let found = cut_in_two(values, &scores, random).map(|(at, p)| (vec![at], p));
    let found = found.or_else(|| cut_out(values, scores.clone(), random));
    let found = found.or_else(|| match search {
        Search::Quick => None,
        Search::Thorough => cut_to_pieces(values, scores, random),
    });
    let Some((places, p)) = found else { return };
    let ends = places.iter().copied().chain([values.len()]);
    let mut from = 0;
    for to in ends {
        cut(&values[from..to], search, offset + from, random, cuts);
        if to < values.len() {
            cuts.push((offset + to, p));
        }
        from = to;
    }
}

fn cut_in_two(values: &[f64], scores: &[f64], random: &mut ChaCha8Rng) -> Option<(usize, f64)> {
    let independent = Scan::new(values.len(), 0.0);
    let (_, first) = independent.greatest(scores);
    let correlation = correlation_of_neighbours(&around_medians(values, &[first]));
    let (greatest, at) = Scan::new(values.len(), correlation).greatest(scores);
    let p = share_of_shuffles(scores.to_vec(), random, LEVEL, |shuffled| {
        independent.greatest(shuffled).0 >= greatest
    })?;
    Some((at, p))
}

/// A level that was left and come back to, as a regression that was mended: cut in two, it differs little on the whole (circular binary
/// segmentation: Olshen and others, Circular Binary Segmentation for the Analysis of Array-Based DNA Copy Number Data, 2004).
fn cut_out(values: &[f64], scores: Vec<f64>, random: &mut ChaCha8Rng) -> Option<(Vec<usize>, f64)> {
    let arcs = Arcs::new(values.len())?;
    let (greatest, [begin, end]) = arcs.greatest(&scores);
    let correlation = correlation_of_neighbours(&around_medians(values, &[begin, end]));
    let correlation = (correlation * ARC_CAUTION + ARC_CORRELATION).min(MOST_CORRELATED);
    // What the variance of a mean of many grows by.
    let greatest = greatest * ((1.0 - correlation) / (1.0 + correlation)).sqrt();
    let p = share_of_shuffles(scores, random, ARC_LEVEL, |shuffled| arcs.greatest(shuffled).0 >= greatest)?;
    Some((vec![begin, end], p))
}

/// Several levels at once: how many of them explain most, for what they cost, against what as many explain in shuffles.
fn cut_to_pieces(values: &[f64], scores: Vec<f64>, random: &mut ChaCha8Rng) -> Option<(Vec<usize>, f64)> {
    let pieces = Pieces::new(values.len())?;
    let count = values.len() as f64;
    // The logarithm of a likelihood ratio of so many independent values.
    let gain = |left: f64, cuts: usize, independent: f64| {
        independent / 2.0 * ((count - 1.0) / left.max(1e-9)).ln() - PIECE_COST * cuts as f64 * count.ln()
    };
    let best = pieces.best(&scores);
    let gains = best.iter().map(|cuts| {
        let correlation = correlation(&around_medians(values, &cuts.places), cuts.places.len() + 1);
        let correlation = (correlation * PIECE_CAUTION + PIECE_CORRELATION).clamp(0.0, MOST_CORRELATED);
        gain(cuts.left, cuts.places.len(), count * (1.0 - correlation) / (1.0 + correlation))
    });
    let (greatest, cuts) = gains.zip(&best).max_by(|one, other| one.0.total_cmp(&other.0))?;
    let p = share_of_shuffles(scores, random, ARC_LEVEL, |shuffled| {
        pieces.least(shuffled).into_iter().zip(2..).any(|(left, cuts)| gain(left, cuts, count) >= greatest)
    })?;
    let standing = standing(values, cuts.places.clone(), random);
    (!standing.is_empty()).then_some((standing, p))
}

/// Of several cuts those that are found as well between the pieces beside them alone.
fn standing(values: &[f64], mut cuts: Vec<usize>, random: &mut ChaCha8Rng) -> Vec<usize> {
    let mut nth = 0;
    while nth < cuts.len() {
        let from = nth.checked_sub(1).map_or(0, |before| cuts[before]);
        let both = &values[from..cuts.get(nth + 1).copied().unwrap_or(values.len())];
        if both.len() >= FEWEST && scores(both).and_then(|scores| cut_in_two(both, &scores, random)).is_some()
        {
            nth += 1;
        } else {
            cuts.remove(nth);
        }
    }
    cuts
}

/// The share of shuffles of which something holds that holds of the series; `None` where that is more than a level.
fn share_of_shuffles(
    mut scores: Vec<f64>,
    random: &mut ChaCha8Rng,
    level: f64,
    holds: impl Fn(&[f64]) -> bool,
) -> Option<f64> {
    let mut as_great = 1_u16;
    for _ in 0..SHUFFLES {
        scores.shuffle(random);
        as_great += u16::from(holds(&scores));
        if share(as_great) > level {
            return None;
        }
    }
    Some(share(as_great))
}

/// Of the shuffles and the series itself, which is one of its own shuffles (Phipson and Smyth, Permutation P-values Should Never Be Zero,
/// 2010).
fn share(as_great: u16) -> f64 {
    f64::from(as_great) / f64::from(SHUFFLES + 1)
}

/// Deviations from the median, clipped, then with mean 0 and variance 1. `None` where all values are the same.
fn scores(values: &[f64]) -> Option<Vec<f64>> {
    let (deviations, deviation) = deviations(values);
    // More than half of them may be the same.
    let most = if deviation > 0.0 { CLIP * deviation } else { f64::INFINITY };
    standardised(clipped(&deviations, most))
}

/// What is left around the medians of the stretches between cuts.
fn around_medians(values: &[f64], cuts: &[usize]) -> Vec<f64> {
    let begins = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([values.len()]);
    begins
        .zip(ends)
        .flat_map(|(begin, end)| {
            let middle = median(&values[begin..end]).unwrap_or_default();
            values[begin..end].iter().map(move |value| value - middle)
        })
        .collect()
}

/// By how much neighbours resemble each other beyond chance, 0 to [`MOST_CORRELATED`].
pub(super) fn correlation_of_neighbours(residuals: &[f64]) -> f64 {
    ((correlation(residuals, 1) - CHANCE) * CAUTION).clamp(0.0, MOST_CORRELATED)
}

/// By how much neighbours resemble each other, corrected for what estimating so many middles takes from it (Kendall, Note on Bias in the Estimation
/// of Autocorrelation, 1954).
fn correlation(residuals: &[f64], middles: usize) -> f64 {
    let Some(scores) = scores(residuals) else { return 0.0 };
    let products: f64 = scores.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let count = residuals.len() as f64;
    let correlation = products / (count - 1.0);
    correlation + middles as f64 * (1.0 + 3.0 * correlation) / count
}

/// All cuts of a series of one length, by what a difference of means weighs at each.
struct Scan {
    /// What the sum of the scores before a cut is multiplied by; 0 where a side would be too short.
    weights: Vec<f64>,
    /// The same as if values were independent, and cuts alike.
    plain: Vec<f64>,
}

impl Scan {
    fn new(count: usize, correlation: f64) -> Self {
        let all = count as f64;
        let variance = |side: usize| variance_of_mean(side, correlation);
        let inside = |at: &usize| (SHORTEST..=count - SHORTEST).contains(at);
        let weight = |at: usize| {
            if !inside(&at) {
                return 0.0;
            }
            let (before, after) = (at as f64, all - at as f64);
            // Scores sum up to zero: the difference of the means is this often the sum of those before the cut.
            let difference = all / (before * after);
            let tilt = (before * after / (all * all)).powf(-TILT);
            difference / (variance(at) + variance(count - at)).sqrt() * tilt
        };
        let plain = |at: usize| (all / (at as f64 * (all - at as f64))).sqrt();
        Self { weights: (0..count).map(weight).collect(), plain: (0..count).map(plain).collect() }
    }

    /// The greatest difference of means in its standard deviations, those being of what is left on both sides of the cut, and where it is.
    fn greatest(&self, scores: &[f64]) -> (f64, usize) {
        let count = scores.len() as f64;
        let mut greatest = (0.0, SHORTEST);
        let mut sum = 0.0;
        for at in 1..scores.len() {
            sum += scores[at - 1];
            if self.weights[at] == 0.0 {
                continue;
            }
            let explained = (sum * self.plain[at]).powi(2);
            let left = ((count - 1.0 - explained) / (count - 2.0)).max(1e-9);
            let difference = f64::abs(sum) * self.weights[at] / left.sqrt();
            if difference > greatest.0 {
                greatest = (difference, at);
            }
        }
        greatest
    }
}

/// All stretches inside a series, each held against the rest.
struct Arcs {
    count: usize,
    /// Of a long series every so many values are looked at.
    stride: usize,
}

impl Arcs {
    /// `None`: the series is too short for three regimes.
    fn new(count: usize) -> Option<Self> {
        (count >= 3 * SHORTEST).then(|| Self { count, stride: count.div_ceil(MOST_ARCS) })
    }

    /// The greatest difference of means in its standard deviations, those being of what is left in and out of the stretch, and its ends.
    fn greatest(&self, scores: &[f64]) -> (f64, [usize; 2]) {
        let mut sums = vec![0.0; self.count + 1];
        for (at, score) in scores.iter().enumerate() {
            sums[at + 1] = sums[at] + score;
        }
        let all = self.count as f64;
        let mut greatest = (0.0, [SHORTEST, 2 * SHORTEST]);
        for begin in (SHORTEST..=self.count - 2 * SHORTEST).step_by(self.stride) {
            for end in (begin + SHORTEST..=self.count - SHORTEST).step_by(self.stride) {
                let inside = (end - begin) as f64;
                // Scores sum up to zero, as above; here the square is compared, and its root taken at the end.
                let explained = (sums[end] - sums[begin]).powi(2) * all / (inside * (all - inside));
                if explained > greatest.0 {
                    greatest = (explained, [begin, end]);
                }
            }
        }
        let left = ((all - 1.0 - greatest.0) / (all - 2.0)).max(1e-9);
        ((greatest.0 / left).sqrt(), greatest.1)
    }
}

/// Of so many values with variance 1, of which neighbours correlate, and others by powers of that.
fn variance_of_mean(count: usize, correlation: f64) -> f64 {
    /// A power that adds nothing any more.
    const NOTHING: f64 = 1e-4;
    let all = count as f64;
    let mut power = 1.0;
    let mut sum = 1.0;
    for distance in 1..count {
        power *= correlation;
        if power < NOTHING {
            break;
        }
        sum += 2.0 * (1.0 - distance as f64 / all) * power;
    }
    sum / all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Values around levels, each of so many.
    fn series(levels: &[(usize, f64)]) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut noise = || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let around = |&(count, level): &(usize, f64)| {
            (0..count).map(|_| level * (1.0 + 0.02 * noise())).collect::<Vec<_>>()
        };
        levels.iter().flat_map(around).collect()
    }

    fn places(values: &[f64]) -> Vec<usize> {
        change_points(values).into_iter().map(|change| change.at).collect()
    }

    #[test]
    fn steps_are_found_where_they_are() {
        let values = series(&[(30, 100.0), (20, 110.0), (25, 90.0)]);
        let changes = change_points(&values);
        let [first, second] = changes[..] else { panic!("{changes:?}") };
        assert!(first.at.abs_diff(30) <= 1 && second.at.abs_diff(50) <= 1, "{changes:?}");
        assert!((first.change() - 0.1).abs() < 0.02 && first.p <= LEVEL, "{first:?}");
        assert!(
            (second.levels[0] - 110.0).abs() < 2.0 && (second.levels[1] - 90.0).abs() < 2.0,
            "{second:?}"
        );
        // Three runs are enough of a step that stands out.
        assert_eq!(places(&series(&[(30, 100.0), (3, 115.0)])), [30]);
    }

    #[test]
    fn what_is_no_change_is_none() {
        assert_eq!(places(&series(&[(80, 100.0)])), [0; 0]);
        assert_eq!(places(&[5.0; 50]), [0; 0]);
        assert_eq!(places(&[]), [0; 0]);
        // Two runs are not, and of seven values nobody knows.
        assert_eq!(places(&series(&[(30, 100.0), (2, 200.0)])), [0; 0]);
        assert_eq!(places(&[1.0, 1.0, 1.0, 1.0, 9.0, 9.0, 9.0]), [0; 0]);
        let mut spiked = series(&[(40, 100.0)]);
        spiked[11] *= 4.0;
        spiked[30] *= 3.0;
        assert_eq!(places(&spiked), [0; 0]);
    }

    #[test]
    fn levels_without_noise_zeros_and_gaps_are_no_obstacle() {
        assert_eq!(places(&[[100.0; 20], [101.0; 20]].concat()), [20]);
        assert_eq!(places(&[[0.0; 20], [1.0; 20]].concat()), [20]);
        assert_eq!(places(&[[0.0; 20], [1e300; 20]].concat()), [20]);
        // What was not measured keeps its place.
        let mut values = series(&[(30, 100.0), (20, 120.0)]);
        values.insert(3, f64::NAN);
        values.insert(10, f64::INFINITY);
        assert_eq!(places(&values), [32]);
    }

    #[test]
    fn what_was_left_and_come_back_to_is_found() {
        assert_eq!(places(&series(&[(15, 100.0), (15, 120.0), (15, 100.0)])), [15, 30]);
        assert_eq!(places(&series(&[(20, 100.0), (8, 80.0), (20, 100.0)])), [20, 28]);
        // A spike is none.
        let mut spike = series(&[(40, 100.0)]);
        spike[20] = 400.0;
        assert!(places(&spike).is_empty());
    }

    #[test]
    fn several_levels_are_found_at_once() {
        assert_eq!(places(&series(&[(15, 100.0), (15, 130.0), (15, 169.0)])), [15, 30]);
        assert_eq!(places(&series(&[(15, 100.0), (15, 130.0), (15, 100.0), (15, 130.0)])), [15, 30, 45]);
        let levels =
            [(40, 100.0), (30, 110.0), (25, 130.0), (40, 115.0), (20, 140.0), (40, 120.0), (30, 100.0)];
        let found = places(&series(&levels));
        let near = found
            .iter()
            .zip([40, 70, 95, 135, 155, 195_usize])
            .all(|(found, step)| found.abs_diff(step) <= 1);
        assert!(found.len() == 6 && near, "{found:?}");
    }

    #[test]
    fn correlated_values_vary_more_in_the_mean() {
        assert!((variance_of_mean(4, 0.0) - 0.25).abs() < 1e-12);
        // (3 + 2·2·0.5 + 2·1·0.25) / 9
        assert!((variance_of_mean(3, 0.5) - 5.5 / 9.0).abs() < 1e-12);
        let correlation = |value: fn(u8) -> f64| {
            correlation_of_neighbours(&around_medians(&(0..40).map(value).collect::<Vec<_>>(), &[20]))
        };
        // Neighbours that differ more than others make a mean no less sure.
        assert!(correlation(|at| f64::from(at % 2)).abs() < 1e-12);
        assert!((0.5..=MOST_CORRELATED).contains(&correlation(|at| f64::from(at / 5 % 2))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn whatever_comes_regimes_are_long_enough(values in prop::collection::vec(prop_oneof![-1e9..1e9_f64, Just(0.0), Just(f64::NAN)], 0..60)) {
            let changes = change_points(&values);
            prop_assert_eq!(&changes, &change_points(&values));
            let finite = |range: std::ops::Range<usize>| values[range].iter().filter(|value| value.is_finite()).count();
            let ends: Vec<usize> = [0].into_iter().chain(changes.iter().map(|change| change.at)).chain([values.len()]).collect();
            for pair in ends.windows(2).filter(|_| !changes.is_empty()) {
                prop_assert!(finite(pair[0]..pair[1]) >= SHORTEST, "{:?}", changes);
            }
        }
    }
}
