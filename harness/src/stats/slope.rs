//! How fast a figure grows with time, for the search for leaks. Pure.
//!
//! What makes this harder than a line through points: memory warms up and then stays; allocators take it in steps; and a sample
//! resembles the one before it. So
//!
//! 1. the first fifth of the time is left out ([`WARM_UP`]);
//! 2. the rate is the median of the slopes between all pairs of samples (Theil 1950; Sen, Estimates of the Regression Coefficient Based
//!    on Kendall's Tau, 1968), which up to 29 % of wild values do not move;
//! 3. the rest of the time is cut into nine parts, and the interval reaches from the least to the greatest rate between the medians of
//!    neighbouring parts. This is the sign test's interval for the median of eight increments (Conover, Practical Nonparametric
//!    Statistics, 3.2): 99.2 % where increments are independent, and far more where only the samples are noisy (all eight rise in 1 of
//!    9! orders of nine medians). The worst that autocorrelation leads to is a random walk, whose increments of medians resemble their
//!    neighbours a little: that is what there is to spare for. A growth that is above zero has been there in each part of the run: a
//!    single step is none;
//! 4. growth that slows down is carried on: the interval reaches to what the rate would be after another half as long, if it went on
//!    falling as it fell from the first half to the second. So what fills up to a limit, as caches do, is no leak, unless it
//!    takes more than about six tenths of the run for it: then nobody could tell yet.

use super::order::median;

/// The share of the time, from the beginning, that is left out.
pub const WARM_UP: f64 = 0.2;

/// Parts of the rest. Odd, so that the middle one divides the halves.
const PARTS: usize = 9;

/// A median of fewer is hardly more than a sample.
const FEWEST_IN_A_PART: usize = 4;

/// Of more, every second, third … is taken for the slopes of all pairs, whose number grows with the square.
const MOST_PAIRED: usize = 256;

/// A rate, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// Units a second.
    pub per_second: f64,
    /// It lies in here with at least 95 % confidence.
    pub interval: [f64; 2],
}

/// How fast the values grow. Samples are seconds and value, in any order; what is not finite is passed over. `None` where they are too
/// few: 36 are needed after the warm-up, spread over all of the time.
pub fn slope(samples: &[(f64, f64)]) -> Option<Slope> {
    let kept = settled(samples)?;
    let parts = parts(&kept)?;
    let rates: Vec<f64> = parts.windows(2).map(|pair| rate(pair[0], pair[1])).collect();
    let per_second = theil_sen(&kept)?;
    let [first, middle, last] = [0, PARTS / 2, PARTS - 1].map(|index| parts[index]);
    let (before, after) = (rate(first, middle), rate(middle, last));
    let carried_on = 2.0 * after - before;
    let slows_down = before.abs() > after.abs() && before.signum() == after.signum();
    let ends = rates.into_iter().chain([per_second]).chain(slows_down.then_some(carried_on));
    let interval =
        ends.fold([f64::INFINITY, f64::NEG_INFINITY], |[least, most], end| [least.min(end), most.max(end)]);
    Some(Slope { per_second, interval })
}

/// By time, without the warm-up.
fn settled(samples: &[(f64, f64)]) -> Option<Vec<(f64, f64)>> {
    let finite = |&(time, value): &(f64, f64)| time.is_finite() && value.is_finite();
    let mut kept: Vec<_> = samples.iter().copied().filter(finite).collect();
    kept.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (first, last) = (kept.first()?.0, kept.last()?.0);
    let begin = first + (last - first) * WARM_UP;
    kept.retain(|sample| sample.0 >= begin);
    Some(kept)
}

/// The medians of times and values in equal parts of the time.
fn parts(kept: &[(f64, f64)]) -> Option<[(f64, f64); PARTS]> {
    let (first, last) = (kept.first()?.0, kept.last()?.0);
    let length = (last - first) / PARTS as f64;
    if length <= 0.0 {
        return None;
    }
    let mut medians = [(0.0, 0.0); PARTS];
    let mut rest = kept;
    for (index, middle) in medians.iter_mut().enumerate() {
        let end = first + length * (index + 1) as f64;
        let count =
            if index + 1 == PARTS { rest.len() } else { rest.partition_point(|sample| sample.0 < end) };
        let (part, others) = rest.split_at(count);
        if part.len() < FEWEST_IN_A_PART {
            return None;
        }
        let of = |which: fn(&(f64, f64)) -> f64| median(&part.iter().map(which).collect::<Vec<_>>());
        *middle = (of(|sample| sample.0)?, of(|sample| sample.1)?);
        rest = others;
    }
    Some(medians)
}

fn rate(one: (f64, f64), other: (f64, f64)) -> f64 {
    (other.1 - one.1) / (other.0 - one.0)
}

fn theil_sen(kept: &[(f64, f64)]) -> Option<f64> {
    let thinned: Vec<_> = kept.iter().copied().step_by(kept.len().div_ceil(MOST_PAIRED).max(1)).collect();
    let mut slopes = Vec::with_capacity(thinned.len() * thinned.len() / 2);
    for (index, &one) in thinned.iter().enumerate() {
        let later = thinned[index + 1..].iter().filter(|other| other.0 > one.0);
        slopes.extend(later.map(|&other| rate(one, other)));
    }
    let middle = slopes.len() / 2;
    // The median of an even number would be the mean of two; of thousands of slopes the upper one is as good.
    (!slopes.is_empty()).then(|| *slopes.select_nth_unstable_by(middle, f64::total_cmp).1)
}

impl Slope {
    /// Whether the figure grew in each part of the time, and goes on.
    pub fn grows(&self) -> bool {
        self.interval[0] > 0.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    const SAMPLES: usize = 120;
    const SEEDS: u64 = 400;
    /// 12 MB an hour.
    const LEAK: f64 = 12e6 / 3_600.0;

    /// The sum of twelve uniforms, less six.
    fn normal(random: &mut ChaCha8Rng) -> f64 {
        (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
    }

    /// A sample a second.
    fn series(mut value: impl FnMut(f64) -> f64) -> Vec<(f64, f64)> {
        (0..SAMPLES).map(|second| (second as f64, value(second as f64))).collect()
    }

    /// Saturation is the same for every seed but for its noise.
    const FEW: u64 = 40;

    /// Of how many seeds the share is that are said to grow.
    fn share(seeds: u64, of: impl Fn(&mut ChaCha8Rng) -> Vec<(f64, f64)>) -> f64 {
        let grows = |seed: &u64| {
            let mut random = ChaCha8Rng::seed_from_u64(*seed);
            slope(&of(&mut random)).unwrap().grows()
        };
        (0..seeds).filter(grows).count() as f64 / seeds as f64
    }

    fn autoregressive(random: &mut ChaCha8Rng, coefficient: f64) -> Vec<(f64, f64)> {
        let mut state = 0.0;
        series(|_| {
            state = coefficient * state + normal(random);
            state
        })
    }

    #[test]
    fn what_does_not_grow_is_hardly_ever_said_to() {
        let white = share(SEEDS, |random| series(|_| normal(random)));
        let correlated =
            [0.5, 0.9, 0.99].map(|coefficient| share(SEEDS, |random| autoregressive(random, coefficient)));
        let walk = share(SEEDS, |random| autoregressive(random, 1.0));
        // An allocator's arena comes or goes twice a minute.
        let steps = share(SEEDS, |random| {
            let mut level = 0.0;
            series(|_| {
                if random.random::<f64>() < 1.0 / 30.0 {
                    level += normal(random) * 132e3;
                }
                level + normal(random) * 1e3
            })
        });
        println!("white {white}, AR(1) {correlated:?}, random walk {walk}, steps {steps}");
        for share in correlated.into_iter().chain([white, walk, steps]) {
            assert!(share < 0.02, "{share}");
        }
    }

    #[test]
    fn warming_up_is_no_leak() {
        for of_the_run in [0.02, 0.05, 0.1, 0.2, 0.4] {
            let constant = SAMPLES as f64 * of_the_run;
            for noise in [0.0, 1e3, 100e3] {
                let share = share(FEW, |random| {
                    series(|time| 20e6 * (1.0 - (-time / constant).exp()) + normal(random) * noise)
                });
                assert!(
                    share < 0.02,
                    "{share} with a time constant of {of_the_run} of the run, noise {noise}"
                );
            }
        }
    }

    #[test]
    fn one_step_is_no_leak() {
        for at in 0..SAMPLES {
            let stepped = series(|time| if time < at as f64 { 0.0 } else { 1e6 });
            assert!(!slope(&stepped).unwrap().grows(), "at {at}");
        }
    }

    #[test]
    fn twelve_megabytes_an_hour_are_found_within_two_minutes() {
        for noise in [0.0, 2e3, 5e3] {
            let found = (0..SEEDS).filter(|&seed| {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                // Kept a page at a time, after a warm-up that is over when sampling counts: a longer one hides it.
                let leak = series(|time| {
                    let pages = (LEAK * time / 4_096.0).floor() * 4_096.0;
                    pages + 5e6 * (1.0 - (-time / 4.0).exp()) + normal(&mut random) * noise
                });
                let slope = slope(&leak).unwrap();
                slope.grows() && slope.per_second * 3_600.0 > 10e6
            });
            let found = found.count() as f64 / SEEDS as f64;
            println!("noise {noise}: found {found}");
            assert!(found > 0.95, "noise {noise}: {found}");
        }
    }

    #[test]
    fn a_line_is_itself_whatever_the_order() {
        let mut line = series(|time| 7.0 + 3.0 * time);
        line.reverse();
        let slope = slope(&line).unwrap();
        for rate in [slope.per_second, slope.interval[0], slope.interval[1]] {
            assert!((rate - 3.0).abs() < 1e-9, "{slope:?}");
        }
        assert!(!super::slope(&series(|time| -time)).unwrap().grows());
    }

    #[test]
    fn too_few_samples_say_nothing() {
        assert_eq!(slope(&[]), None);
        assert_eq!(slope(&series(|time| time)[..40]), None);
        assert_eq!(slope(&[(1.0, 1.0); 100]), None, "all at one time");
        // A hole as large as a part.
        let holed: Vec<_> =
            series(|time| time).into_iter().filter(|(time, _)| !(60.0..75.0).contains(time)).collect();
        assert_eq!(slope(&holed), None);
        assert_eq!(slope(&series(|_| f64::NAN)), None);
    }

    proptest! {
        #[test]
        fn the_rate_lies_in_its_interval(samples in prop::collection::vec((0.0..1e5_f64, -1e12..1e12_f64), 0..120)) {
            if let Some(slope) = slope(&samples) {
                prop_assert!(slope.interval[0] <= slope.per_second && slope.per_second <= slope.interval[1]);
            }
        }
    }
}
