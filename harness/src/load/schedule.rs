//! When each request of an open loop is due. Pure.

use std::time::Duration;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::Ramp;

/// How requests follow each other at a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arrivals {
    /// Evenly.
    #[default]
    Constant,
    /// As a Poisson process, which is what many independent callers look like: the same rate on average, with bursts.
    Poisson,
    /// So many at the same moment, at least one, and then none for as long as the rate asks for: subscribers who come back together
    /// after an outage, or a program that applies its changes all at once.
    Bursts(u32),
}

impl Arrivals {
    /// The name in profiles and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
            Self::Bursts(_) => "bursts",
        }
    }

    /// How many requests are due at the same moment, where that is asked for.
    pub fn burst(self) -> Option<u32> {
        match self {
            Self::Bursts(burst) => Some(burst),
            Self::Constant | Self::Poisson => None,
        }
    }
}

/// Requests at a rate, which may change in a straight line.
///
/// Each due time is computed from the start, so that no rounding adds up. A Poisson process of a rate that changes is one of
/// rate 1 on a clock that runs as the rate's integral does (Lewis and Shedler, Simulation of nonhomogeneous Poisson processes by
/// thinning, 1979, section 1: the time-scale transformation).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    rate: Ramp,
    arrivals: Arrivals,
    seed: u64,
    duration: Duration,
}

impl Schedule {
    /// `rate` operations per second, positive and finite, evenly for `duration`.
    pub fn new(rate: f64, duration: Duration) -> Self {
        Self { rate: Ramp::constant(rate), arrivals: Arrivals::Constant, seed: 0, duration }
    }

    /// A rate that changes, neither end negative, and arrivals that chance decides.
    pub fn staged(rate: Ramp, arrivals: Arrivals, seed: u64, duration: Duration) -> Self {
        Self { rate, arrivals, seed, duration }
    }

    /// How many requests it holds: of a Poisson process on average.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and both are positive"
    )]
    pub fn count(&self) -> u64 {
        let seconds = self.duration.as_secs_f64();
        self.rate.integral(seconds, seconds).round() as u64
    }

    /// How long it is, past the last request.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// The intended start of each request, after the schedule's own start, in ascending order.
    ///
    /// The first burst is due at the start, and each other one when those before it are what the rate has asked for; the last is smaller
    /// where the bursts do not divide [`Self::count`].
    pub fn dues(&self) -> impl Iterator<Item = Duration> + use<> {
        let Self { rate, arrivals, seed, duration } = *self;
        let length = duration.as_secs_f64();
        let all = rate.integral(length, length);
        let count = self.count();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut index, mut amount) = (0_u64, 0.0_f64);
        std::iter::from_fn(move || {
            amount = match arrivals {
                // As many as were promised.
                Arrivals::Constant | Arrivals::Bursts(_) if index >= count => return None,
                Arrivals::Constant => index as f64,
                Arrivals::Bursts(burst) => (index - index % u64::from(burst.max(1))) as f64,
                Arrivals::Poisson => amount - (1.0 - rng.random_range(0.0..1.0_f64)).ln(),
            };
            index += 1;
            if amount >= all && arrivals == Arrivals::Poisson {
                return None;
            }
            Some(Duration::from_secs_f64(rate.when(amount, length).clamp(0.0, length)))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bursts_have_the_rate_and_come_at_one_moment() {
        let bursts = Schedule::staged(Ramp::constant(100.0), Arrivals::Bursts(40), 1, Duration::from_secs(1));
        let dues: Vec<_> = bursts.dues().collect();
        assert_eq!((dues.len() as u64, bursts.count()), (100, 100));
        let sizes: Vec<_> =
            dues.chunk_by(|a, b| a == b).map(|burst| (burst[0].as_millis(), burst.len())).collect();
        assert_eq!(sizes, [(0, 40), (400, 40), (800, 20)], "the last is what is left");
    }

    proptest! {
        #[test]
        fn bursts_hold_the_area_below_a_rate_that_changes(
            from in 0.0..2_000.0_f64, to in 0.0..2_000.0_f64, burst in 2_u32..500, tenths in 1_u32..50
        ) {
            let (rate, length) = (Ramp { from, to }, f64::from(tenths) / 10.0);
            let duration = Duration::from_secs_f64(length);
            let schedule = Schedule::staged(rate, Arrivals::Bursts(burst), 1, duration);
            let dues: Vec<_> = schedule.dues().collect();
            prop_assert_eq!(dues.len() as u64, schedule.count());
            prop_assert!(dues.is_sorted() && dues.iter().all(|due| *due <= duration));
            for (number, some) in dues.chunks(burst as usize).enumerate() {
                prop_assert!(some.iter().all(|due| *due == some[0]), "burst {number}");
                // Those before it are what the rate has asked for by then.
                let before = number as f64 * f64::from(burst);
                let asked = rate.integral(some[0].as_secs_f64(), length);
                prop_assert!((asked - before).abs() < 0.6, "burst {number}: {before} sent, {asked} asked for");
            }
        }
    }

    #[test]
    fn a_schedule_offers_its_rate() {
        let schedule = Schedule::new(1_000.0, Duration::from_secs(30));
        assert_eq!(schedule.count(), 30_000);
        let dues: Vec<_> = schedule.dues().collect();
        assert_eq!(dues.len(), 30_000);
        assert_eq!(dues[0], Duration::ZERO);
        assert_eq!(dues[1], Duration::from_millis(1));
        assert_eq!(dues[29_999], Duration::from_millis(29_999));
    }

    #[test]
    fn odd_rates_do_not_drift() {
        let schedule = Schedule::new(7.0, Duration::from_hours(1));
        let dues: Vec<_> = schedule.dues().collect();
        assert_eq!(dues.len(), 25_200);
        assert_eq!(dues[25_193], Duration::from_secs(3_599));
        assert!(dues.is_sorted());
    }

    #[test]
    fn a_rate_that_rises_holds_the_area_below_it() {
        let ramp = Ramp { from: 0.0, to: 200.0 };
        let schedule = Schedule::staged(ramp, Arrivals::Constant, 1, Duration::from_secs(10));
        let dues: Vec<_> = schedule.dues().collect();
        assert_eq!(dues.len(), 1_000);
        let in_first_half = dues.iter().filter(|due| **due < Duration::from_secs(5)).count();
        assert!((249..=251).contains(&in_first_half), "a quarter of the triangle: {in_first_half}");
        assert!(dues.is_sorted());
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_one() {
        let schedule =
            Schedule::staged(Ramp::constant(1_000.0), Arrivals::Poisson, 7, Duration::from_mins(1));
        let dues: Vec<_> = schedule.dues().collect();
        // Within four standard deviations of 60,000.
        assert!(dues.len().abs_diff(60_000) < 980, "{}", dues.len());
        let gaps: Vec<f64> =
            dues.windows(2).map(|pair| pair[1].as_secs_f64() - pair[0].as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        let variation = variance.sqrt() / mean;
        assert!((0.97..1.03).contains(&variation), "an exponential distribution's is 1: {variation}");
        assert_eq!(dues, schedule.dues().collect::<Vec<_>>(), "the seed decides");
    }
}
