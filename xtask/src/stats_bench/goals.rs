//! What the statistics are to reach, and how it is measured.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::{
    Error,
    noise::{Measured, Pair, Series},
    protocol::{Statistics, Verdict},
};

/// What a share has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// A row of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) goal: Goal,
    /// Of all cases.
    pub(super) share: f64,
    pub(super) cases: u32,
}

impl Row {
    /// Whether the goal is reached, and if not, whether chance alone could have done that: the share is within two standard errors of it.
    pub(super) fn standing(&self) -> Standing {
        let (short, goal) = match self.goal {
            Goal::AtMost(goal) => (self.share - goal, goal),
            Goal::AtLeast(goal) => (goal - self.share, goal),
        };
        let error = (goal * (1.0 - goal) / f64::from(self.cases)).sqrt();
        if short <= 0.0 {
            Standing::Reached
        } else if short <= 2.0 * error {
            Standing::WithinChance
        } else {
            Standing::Missed
        }
    }
}

/// How a row stands to its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Reached,
    /// Missed by no more than the number of cases leaves open.
    WithinChance,
    Missed,
}

/// Cases, of which each has its own seed.
pub(super) struct Cases {
    pub(super) seed: u64,
    pub(super) repetitions: u32,
}

impl Cases {
    /// The share of all repetitions of these kinds of cases for which something holds.
    fn share<Kind: Copy>(
        &self,
        name: &str,
        kinds: &[Kind],
        mut holds: impl FnMut(Kind, &mut ChaCha8Rng) -> Result<bool, Error>,
    ) -> Result<(f64, u32), Error> {
        let (mut count, mut cases) = (0_u32, 0_u32);
        for (stream, &kind) in (stream(name)..).zip(kinds) {
            let mut random = ChaCha8Rng::seed_from_u64(self.seed);
            random.set_stream(stream);
            for _ in 0..self.repetitions {
                count += u32::from(holds(kind, &mut random)?);
                cases += 1;
            }
        }
        Ok((f64::from(count) / f64::from(cases), cases))
    }
}

/// Each row draws from numbers of its own, whatever rows there are besides (FNV-1a of its name).
fn stream(name: &str) -> u64 {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, hash) >> 8
}

/// Change points in series: false alarms, and steps that are found within five points of where they are.
pub(super) fn of_series(cases: &Cases, statistics: &mut Statistics) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for count in [40, 100] {
        for noise in Series::ALL {
            let what = format!("false alarms: {}, {count} points", noise.name());
            let most = if noise == Series::Autocorrelated { 0.10 } else { 0.02 };
            let variation = if noise == Series::LogNormal { 0.3 } else { 0.05 };
            let (share, of) = cases.share(&what, &[noise], |noise, random| {
                Ok(!statistics.changes(&noise.values(count, variation, random))?.is_empty())
            })?;
            rows.push(Row { what, goal: Goal::AtMost(most), share, cases: of });
        }
    }
    for (step, variation, after, least) in
        [(0.05, 0.02, 10, 0.98), (0.10, 0.05, 10, 0.91), (0.20, 0.10, 10, 0.88), (0.10, 0.03, 3, 0.94)]
    {
        const BEFORE: usize = 30;
        const NEAR: u64 = 5;
        let percent = |share: f64| 100.0 * share;
        let what = format!(
            "found: {:.0} % where values vary by {:.0} %, {after} points after it",
            percent(step),
            percent(variation)
        );
        let (share, of) = cases.share(&what, &[Series::Normal], |noise, random| {
            let mut values = noise.values(BEFORE + after, variation, random);
            for value in &mut values[BEFORE..] {
                *value *= 1.0 + step;
            }
            Ok(statistics.changes(&values)?.iter().any(|place| place.abs_diff(BEFORE as u64) <= NEAR))
        })?;
        rows.push(Row { what, goal: Goal::AtLeast(least), share, cases: of });
    }
    // A real history has more than one: all are to be found, and nothing else.
    for (name, levels) in HISTORIES {
        const VARIATION: f64 = 0.03;
        const NEAR: u64 = 3;
        let what = format!("found: all of {name}, values vary by 3 %");
        let (share, of) = cases.share(&what, &[Series::Normal], |noise, random| {
            let count = levels.iter().map(|(count, _)| count).sum();
            let mut values = noise.values(count, VARIATION, random);
            let factors = levels.iter().flat_map(|&(count, level)| std::iter::repeat_n(level, count));
            values.iter_mut().zip(factors).for_each(|(value, level)| *value *= level);
            let mut at = 0;
            let steps = levels[..levels.len() - 1].iter().map(|&(count, _)| {
                at += count as u64;
                at
            });
            let found = statistics.changes(&values)?;
            Ok(found.len() == levels.len() - 1
                && found.iter().zip(steps).all(|(found, step)| found.abs_diff(step) <= NEAR))
        })?;
        rows.push(Row { what, goal: Goal::AtLeast(0.80), share, cases: of });
    }
    Ok(rows)
}

/// Levels, each of so many values.
type Levels = &'static [(usize, f64)];

/// Histories with several steps, by what they are called.
const HISTORIES: [(&str, Levels); 3] = [
    ("two steps up by 20 %", &[(15, 1.0), (15, 1.2), (15, 1.44)]),
    ("three steps, up and down by 20 %", &[(15, 1.0), (15, 1.2), (15, 1.0), (15, 1.2)]),
    (
        "seven steps of 10 to 25 %",
        &[(40, 1.0), (30, 1.1), (25, 1.3), (40, 1.15), (20, 1.4), (40, 1.2), (30, 1.0), (40, 1.1)],
    ),
];

/// How two sides are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Usual,
    Strict,
    /// It is told that both sides were measured in turns, so that nobody has to look for a drift.
    Interleaved,
}

impl Mode {
    /// What is said to `qdiscope stats`.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Usual => "compare --stdio",
            Self::Strict => "compare --stdio --strict",
            Self::Interleaved => "compare --stdio --interleaved",
        }
    }
}

/// Two sides: alarms about the same, by kind of noise and order of measuring, and slowdowns that are found.
pub(super) fn of_pairs(cases: &Cases, statistics: &mut Statistics, mode: Mode) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    let mut row = |what: String, kinds: &[Pair], (count, step, order): (usize, f64, Measured), goal: Goal| {
        let (share, of) = cases.share(&what, kinds, |kind, random| {
            let verdict = statistics.verdict(&kind.sides(count, step, order, random))?;
            // Of the same, both are wrong.
            Ok(verdict == Verdict::Regression || (step == 0.0 && verdict == Verdict::Improvement))
        })?;
        rows.push(Row { what, goal, share, cases: of });
        Ok::<(), Error>(())
    };
    let in_order = Measured::OneAfterTheOther;
    let (false_alarms, found) = match mode {
        Mode::Strict => (0.012, [0.86, 0.62, 0.73]),
        Mode::Usual | Mode::Interleaved => (0.055, [0.96, 0.84, 0.90]),
    };
    for count in [5, 10, 20] {
        let what = format!("false alarms: independent, {count} a side");
        row(what, &Pair::INDEPENDENT, (count, 0.0, in_order), Goal::AtMost(false_alarms))?;
    }
    for (kind, least) in Pair::INDEPENDENT.into_iter().zip(found) {
        let what = format!("found: 10 %, {}, 10 a side", kind.name());
        row(what, &[kind], (10, 0.10, in_order), Goal::AtLeast(least))?;
    }
    if mode == Mode::Strict {
        return Ok(rows);
    }
    row(
        "found: 10 %, all three, 5 a side".into(),
        &Pair::INDEPENDENT,
        (5, 0.10, in_order),
        Goal::AtLeast(0.58),
    )?;
    row(
        "found: 5 %, all three, 20 a side".into(),
        &Pair::INDEPENDENT,
        (20, 0.05, in_order),
        Goal::AtLeast(0.75),
    )?;
    for count in [5, 10, 20] {
        let dependent = [Pair::Drift, Pair::Autocorrelated];
        let what = format!("false alarms: drift and AR(1), in turns, {count} a side");
        row(what, &dependent, (count, 0.0, Measured::InTurns), Goal::AtMost(0.05))?;
        if mode == Mode::Interleaved {
            continue;
        }
        for kind in [Pair::Drift, Pair::HostShift] {
            let what = format!("false alarms: {}, one after the other, {count} a side", kind.name());
            row(what, &[kind], (count, 0.0, in_order), Goal::AtMost(0.30))?;
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_held_against_its_goal() {
        let standing = |goal, share| Row { what: String::new(), goal, share, cases: 300 }.standing();
        assert_eq!(standing(Goal::AtMost(0.02), 0.02), Standing::Reached);
        assert_eq!(standing(Goal::AtMost(0.02), 0.035), Standing::WithinChance);
        assert_eq!(standing(Goal::AtMost(0.02), 0.04), Standing::Missed);
        assert_eq!(standing(Goal::AtLeast(0.9), 0.95), Standing::Reached);
        assert_eq!(standing(Goal::AtLeast(0.9), 0.87), Standing::WithinChance);
        assert_eq!(standing(Goal::AtLeast(0.9), 0.8), Standing::Missed);
    }

    #[test]
    fn rows_draw_from_numbers_of_their_own() {
        let cases = Cases { seed: 1, repetitions: 2 };
        let drawn = |name| {
            let mut drawn = Vec::new();
            let kinds = [Series::Normal; 2];
            cases
                .share(name, &kinds, |noise, random| {
                    drawn.push(noise.values(1, 0.05, random)[0].to_bits());
                    Ok(false)
                })
                .unwrap();
            drawn
        };
        let one = drawn("one");
        assert_eq!(one, drawn("one"));
        assert!(one.iter().all(|value| !drawn("other").contains(value)));
        assert!(one[0] != one[2]);
    }
}
