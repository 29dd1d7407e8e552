//! Times, in `tc`'s units.

use std::fmt;
use std::str::FromStr;

use crate::decimal::Decimal;
use crate::text::serde_as_text;

/// How long: 0 to 2^64 - 1 nanoseconds.
///
/// As text, the units of tc(8): `s`, `sec`, `secs`; `ms`, `msec`, `msecs`; `us`, `usec`, `usecs` or a bare number: microseconds;
/// `ns`, `nsec`, `nsecs`; case does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

/// The text is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time: expected a number and one of s, ms, us, ns")]
pub struct ParseTimeError(String);

/// Unit and its size in nanoseconds (`lib/utils.c`, `get_time64`; `tc/tc_util.c`, `get_time` for the bare number).
const UNITS: [(&str, u64); 13] = [
    ("", 1_000),
    ("s", 1_000_000_000),
    ("sec", 1_000_000_000),
    ("secs", 1_000_000_000),
    ("ms", 1_000_000),
    ("msec", 1_000_000),
    ("msecs", 1_000_000),
    ("us", 1_000),
    ("usec", 1_000),
    ("usecs", 1_000),
    ("ns", 1),
    ("nsec", 1),
    ("nsecs", 1),
];

impl Time {
    /// A time in nanoseconds.
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// A time in microseconds.
    pub const fn from_microseconds(microseconds: u32) -> Self {
        Self(microseconds as u64 * 1_000)
    }

    /// A time in milliseconds.
    pub const fn from_milliseconds(milliseconds: u32) -> Self {
        Self(milliseconds as u64 * 1_000_000)
    }

    /// The time in nanoseconds.
    pub const fn nanoseconds(self) -> u64 {
        self.0
    }

    /// Whole microseconds, what most qdiscs take.
    pub const fn microseconds(self) -> u64 {
        self.0 / 1_000
    }
}

/// Exact, in the largest unit in which the number is whole: `5ms`, `1500us`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];
        let whole = units.into_iter().find(|(_, size)| self.0 != 0 && self.0.is_multiple_of(*size));
        let (unit, size) = whole.unwrap_or(("ns", 1));
        f.pad(&format!("{}{unit}", self.0 / size))
    }
}

serde_as_text!(Time, Time::to_string);

impl FromStr for Time {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (number, unit) = Decimal::split(text)?;
            let (_, nanoseconds) = UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
            number.scale(*nanoseconds, 1)
        };
        parse().map(Self).ok_or_else(|| ParseTimeError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_of_tc() {
        for (text, nanoseconds) in [
            ("5ms", 5_000_000),
            ("100", 100_000),
            ("1.5s", 1_500_000_000),
            ("7nsecs", 7),
            ("0", 0),
            ("20USEC", 20_000),
        ] {
            assert_eq!(text.parse(), Ok(Time(nanoseconds)), "{text}");
        }
        for text in ["", "ms", "1 ms", "-1ms", "5m", "99999999999s"] {
            assert!(text.parse::<Time>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn survives_the_round_trip(nanoseconds in prop_oneof![any::<u64>(), (0_u64..1 << 30).prop_map(|n| n * 1_000)]) {
            prop_assert_eq!(Time(nanoseconds).to_string().parse(), Ok(Time(nanoseconds)));
        }
    }
}
