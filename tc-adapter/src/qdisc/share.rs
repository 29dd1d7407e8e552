//! Parts of all packets.

use std::fmt;
use std::str::FromStr;

use crate::text::serde_as_text;

/// The text is no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not {1}")]
pub struct ParseShareError(String, &'static str);

/// How likely: 0 to 1 - 2^-32, kept in units of 2^-32. As text a decimal fraction such as `0.02`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probability(u32);

/// How many in a hundred: 0 to 100, kept in units of 100 / (2^32 - 1). As text a decimal number, with or without `%` after it, such
/// as `0.1%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u32);

const WHOLE: f64 = 4_294_967_296.0;

/// The digits alone: no sign, exponent, infinity.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain.then(|| text.parse().ok()).flatten()
}

/// Of a number from 0 to 2^32 - 1; its fraction is cut off.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` keeps to the range of the type"
)]
fn whole(number: f64) -> u32 {
    number as u32
}

impl Probability {
    /// What `tc` assumes for random early detection.
    pub(super) const TWO_PERCENT: Self = Self(85_899_345);

    /// The probability `raw / 2^32`.
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// In units of 2^-32.
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// From 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / WHOLE
    }
}

impl Percent {
    /// All.
    pub const HUNDRED: Self = Self(u32::MAX);

    /// The share `raw / (2^32 - 1)`.
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// In units of 1 / (2^32 - 1).
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// From 0 to 1, as `tc` reads and rounds it (`parse_percent`, `set_percent`).
    pub(super) fn from_fraction(fraction: f64) -> Self {
        Self(whole((fraction * f64::from(u32::MAX)).round_ties_even()))
    }

    /// The fraction that `tc` reads; `None`: no number, or above 100.
    pub(super) fn read(text: &str) -> Option<f64> {
        let number = decimal(text.strip_suffix('%').unwrap_or(text))?;
        Some(number / 100.0).filter(|fraction| *fraction <= 1.0)
    }
}

/// Exact.
impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fraction().fmt(f)
    }
}

/// With so many digits that the same number is read again.
impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Most were written with a few digits, by which they are found again.
        let exact = f64::from(self.0) * 100.0 / f64::from(u32::MAX);
        for digits in 0..10 {
            let text = format!("{exact:.digits$}%");
            if text.parse() == Ok(*self) {
                return f.pad(&text);
            }
        }
        f.pad(&format!("{exact}%"))
    }
}

impl FromStr for Probability {
    type Err = ParseShareError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decimal(text)
            .filter(|number| *number < 1.0)
            .map(|number| Self(whole(number * WHOLE)))
            .ok_or_else(|| ParseShareError(text.to_owned(), "a probability from 0 to below 1, such as 0.02"))
    }
}

impl FromStr for Percent {
    type Err = ParseShareError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::read(text)
            .map(Self::from_fraction)
            .ok_or_else(|| ParseShareError(text.to_owned(), "a percentage from 0 to 100, such as 0.1%"))
    }
}

serde_as_text!(Probability, Probability::to_string);
serde_as_text!(Percent, Percent::to_string);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn read_as_tc_reads() {
        for (text, raw) in
            [("0", 0), ("100%", u32::MAX), ("50", 1 << 31), ("30%", 1_288_490_188), ("0.1%", 4_294_967)]
        {
            assert_eq!(text.parse(), Ok(Percent(raw)), "{text}");
        }
        for text in ["", "%", "101", "-1", "1e1", "nan", "5 %", "."] {
            assert!(text.parse::<Percent>().is_err(), "{text:?}");
        }
        assert_eq!("0.02".parse(), Ok(Probability::TWO_PERCENT));
        assert!("1".parse::<Probability>().is_err());
        assert_eq!(Percent(1_288_490_188).to_string(), "30%");
    }

    proptest! {
        #[test]
        fn survives_the_round_trip(raw: u32) {
            prop_assert_eq!(Percent(raw).to_string().parse(), Ok(Percent(raw)));
            prop_assert_eq!(Probability(raw).to_string().parse(), Ok(Probability(raw)));
        }
    }
}
