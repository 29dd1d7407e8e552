//! Measurements whose truth is known: noise of several kinds, and changes in it. Seeded, so that a figure can be had again.

use rand::{Rng, RngExt as _};
use rand_distr::{Distribution, Pareto, StandardNormal, StudentT};

/// The level around which values lie.
const LEVEL: f64 = 100.0;

/// Noise of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Series {
    Normal,
    LogNormal,
    /// Student's t with three degrees of freedom.
    HeavyTails,
    /// One value of twenty is two to four times as great.
    Outliers,
    /// Neighbours correlate by 0.5.
    Autocorrelated,
}

impl Series {
    pub(super) const ALL: [Self; 5] =
        [Self::Normal, Self::LogNormal, Self::HeavyTails, Self::Outliers, Self::Autocorrelated];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::LogNormal => "lognormal",
            Self::HeavyTails => "t, 3 degrees of freedom",
            Self::Outliers => "normal with 5 % outliers",
            Self::Autocorrelated => "AR(1), 0.5",
        }
    }

    /// So many values, whose standard deviation is that share of their level (of outliers: without them).
    pub(super) fn values(self, count: usize, variation: f64, random: &mut impl Rng) -> Vec<f64> {
        let mut state = normal(random);
        (0..count)
            .map(|_| match self {
                Self::Normal => LEVEL * (1.0 + variation * normal(random)),
                Self::LogNormal => {
                    let variance = (variation * variation).ln_1p();
                    LEVEL * (variance.sqrt() * normal(random) - variance / 2.0).exp()
                }
                Self::HeavyTails => {
                    let t: f64 = StudentT::new(3.0).expect("three degrees of freedom").sample(random);
                    LEVEL * (1.0 + variation * t / 3.0_f64.sqrt())
                }
                Self::Outliers => {
                    let spike = if random.random_bool(0.05) { random.random_range(2.0..4.0) } else { 1.0 };
                    LEVEL * (1.0 + variation * normal(random)) * spike
                }
                Self::Autocorrelated => {
                    let value = LEVEL * (1.0 + variation * state);
                    state = follow(state, random);
                    value
                }
            })
            .collect()
    }
}

/// Noise of two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pair {
    LogNormal,
    /// Log-normal, and one of twelve a good deal above.
    Heavy,
    /// Two modes, 12 % apart.
    Bimodal,
    /// 5 % up from the first value to the last.
    Drift,
    /// Neighbours correlate by 0.5.
    Autocorrelated,
    /// Each side has a shift of its own, as another machine or day has.
    HostShift,
}

/// In which order both sides are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measured {
    OneAfterTheOther,
    InTurns,
}

impl Pair {
    /// Noise that no order of measuring changes.
    pub(super) const INDEPENDENT: [Self; 3] = [Self::LogNormal, Self::Heavy, Self::Bimodal];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LogNormal => "lognormal",
            Self::Heavy => "heavy tail",
            Self::Bimodal => "bimodal",
            Self::Drift => "drift",
            Self::Autocorrelated => "AR(1), 0.5",
            Self::HostShift => "host shift",
        }
    }

    /// Both sides, of so many values each, the second greater by a share.
    pub(super) fn sides(
        self,
        count: usize,
        step: f64,
        measured: Measured,
        random: &mut impl Rng,
    ) -> [Vec<f64>; 2] {
        let all = self.values(2 * count, random);
        let is_first = |place: usize| match measured {
            Measured::OneAfterTheOther => place < count,
            Measured::InTurns => place.is_multiple_of(2),
        };
        let mut sides = [Vec::new(), Vec::new()];
        for (place, value) in all.into_iter().enumerate() {
            if is_first(place) {
                sides[0].push(value);
            } else {
                sides[1].push(value * (1.0 + step));
            }
        }
        sides
    }

    fn values(self, count: usize, random: &mut impl Rng) -> Vec<f64> {
        let mut state = normal(random);
        let shifts = [normal(random), normal(random)];
        (0..count)
            .map(|place| match self {
                Self::LogNormal => LEVEL * (0.05 * normal(random)).exp(),
                Self::Heavy => {
                    let spike = if random.random_bool(0.08) {
                        1.0 + 0.2 * Pareto::new(1.0, 1.5).expect("a scale and a shape").sample(random)
                    } else {
                        1.0
                    };
                    LEVEL * (0.05 * normal(random)).exp() * spike
                }
                Self::Bimodal => {
                    let mode = if random.random_bool(0.6) { 1.0 } else { 1.12 };
                    LEVEL * mode * (0.02 * normal(random)).exp()
                }
                Self::Drift => {
                    LEVEL * (1.0 + 0.05 * place as f64 / count as f64) * (0.02 * normal(random)).exp()
                }
                Self::Autocorrelated => {
                    let value = LEVEL * (1.0 + 0.04 * state);
                    state = follow(state, random);
                    value
                }
                Self::HostShift => {
                    let shift = shifts[usize::from(2 * place >= count)];
                    LEVEL * (0.02 * shift + 0.03 * normal(random)).exp()
                }
            })
            .collect()
    }
}

/// The next of a series whose neighbours correlate by 0.5 and whose variance stays 1.
fn follow(state: f64, random: &mut impl Rng) -> f64 {
    0.5 * state + 0.75_f64.sqrt() * normal(random)
}

fn normal(random: &mut impl Rng) -> f64 {
    StandardNormal.sample(random)
}
