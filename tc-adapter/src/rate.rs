//! Rates, in `tc`'s units.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::decimal::Decimal;
use crate::text::serde_as_text;

/// How fast: 1 to 2^61 - 1 bytes per second, kept in bytes per second as the kernel does.
///
/// As text, the units of tc(8): a bare number or `bit` is bits per second, `bps` is *bytes* per second; `k`, `m`,
/// `g`, `t` are powers of 1000 and with an `i` after them powers of 1024; case does not matter. `tc`'s percentages
/// ("50%" of the link's speed) are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(NonZeroU64);

/// The number or the text is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RateError {
    /// The kernel refuses a rate of zero, with `EINVAL` and no text.
    #[error("a rate must be at least 8 bit/s (1 byte/s)")]
    Zero,
    /// More than 2^61 - 1 bytes/s: the value in bits per second would not fit 64 bits.
    #[error("a rate must be below 2^64 bit/s")]
    TooLarge,
    /// No number, or a unit that `tc` does not have.
    #[error(
        "{0:?} is not a rate: expected a number and one of bit, kbit, mbit, gbit, tbit, kibit, mibit, gibit, tibit, or (bytes) bps, kbps, mbps, gbps, tbps, kibps, mibps, gibps, tibps"
    )]
    Syntax(String),
}

/// Unit and its size in bits per second (`tc/tc_util.c`, `suffixes`).
const UNITS: [(&str, u64); 18] = [
    ("bit", 1),
    ("kibit", 1 << 10),
    ("kbit", 1_000),
    ("mibit", 1 << 20),
    ("mbit", 1_000_000),
    ("gibit", 1 << 30),
    ("gbit", 1_000_000_000),
    ("tibit", 1 << 40),
    ("tbit", 1_000_000_000_000),
    ("bps", 8),
    ("kibps", 8 << 10),
    ("kbps", 8_000),
    ("mibps", 8 << 20),
    ("mbps", 8_000_000),
    ("gibps", 8 << 30),
    ("gbps", 8_000_000_000),
    ("tibps", 8 << 40),
    ("tbps", 8_000_000_000_000),
];

impl Rate {
    /// Bits per second, rounded down to whole bytes as `tc` does.
    pub const fn from_bits_per_second(bits: u64) -> Result<Self, RateError> {
        Self::from_bytes_per_second(bits / 8)
    }

    /// Bytes per second.
    pub const fn from_bytes_per_second(bytes: u64) -> Result<Self, RateError> {
        if bytes > u64::MAX / 8 {
            return Err(RateError::TooLarge);
        }
        match NonZeroU64::new(bytes) {
            Some(bytes) => Ok(Self(bytes)),
            None => Err(RateError::Zero),
        }
    }

    /// Bits per second: a multiple of 8.
    pub const fn bits_per_second(self) -> u64 {
        self.0.get() * 8
    }

    /// As text that loses nothing, in the largest unit in which the number is whole: `10mbit`, `1234568bit`.
    pub fn exact(self) -> String {
        let bits = self.bits_per_second();
        let units =
            [("tbit", 1_000_000_000_000), ("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000)];
        let whole = units.into_iter().find(|(_, size)| bits.is_multiple_of(*size));
        let (unit, size) = whole.unwrap_or(("bit", 1));
        format!("{}{unit}", bits / size)
    }

    /// Bytes per second, never 0.
    pub const fn bytes_per_second(self) -> u64 {
        self.0.get()
    }
}

/// As `tc` prints it (`tc_print_rate`): in the largest unit in which the number is whole (`10Mbit`, `1500Kbit`,
/// `1016bit`), but at most six digits, the rest cut off: 34,359,738,368 bit/s is shown as `34359Mbit`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PREFIXES: [&str; 5] = ["", "K", "M", "G", "T"];
        let mut value = self.bits_per_second();
        let mut prefix = 0;
        while prefix + 1 < PREFIXES.len()
            && value >= 1000
            && (value.is_multiple_of(1000) || value >= 1_000_000)
        {
            value /= 1000;
            prefix += 1;
        }
        f.pad(&format!("{value}{}bit", PREFIXES[prefix]))
    }
}

serde_as_text!(Rate, |rate| rate.exact());

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || RateError::Syntax(text.to_owned());
        let (number, unit) = Decimal::split(text).ok_or_else(syntax)?;
        let bits = match unit {
            "" => 1,
            unit => UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name)).ok_or_else(syntax)?.1,
        };
        Self::from_bytes_per_second(number.scale(bits, 8).ok_or(RateError::TooLarge)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_of_tc() {
        for (text, bits) in [
            ("10mbit", 10_000_000),
            ("1mbps", 8_000_000),
            ("1kibit", 1024),
            ("1gibps", 8 << 30),
            ("8", 8),
            ("800bit", 800),
            ("1.5Mbit", 1_500_000),
            ("1TBIT", 1_000_000_000_000),
            ("1TiBps", 8 << 40),
            ("15bit", 8), // a byte and 7 bits: whole bytes only
            (".5kbps", 4_000),
        ] {
            assert_eq!(text.parse::<Rate>().map(Rate::bits_per_second), Ok(bits), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for text in ["", "mbit", "10 mbit", "10mb", "10%", "-1mbit", "1e6bit", "10mbits", "0x10"] {
            assert_eq!(text.parse::<Rate>(), Err(RateError::Syntax(text.to_owned())));
        }
        for text in ["0", "7bit", "0.1bps"] {
            assert_eq!(text.parse::<Rate>(), Err(RateError::Zero), "{text}");
        }
        assert_eq!("18446744073709551616bit".parse::<Rate>(), Err(RateError::TooLarge));
        assert_eq!("99999999tbps".parse::<Rate>(), Err(RateError::TooLarge));
        assert_eq!(Rate::from_bytes_per_second(u64::MAX), Err(RateError::TooLarge));
        assert_eq!(Rate::from_bits_per_second(0), Err(RateError::Zero));
    }

    #[test]
    fn printed_as_tc_prints() {
        for (bits, text) in [
            (8, "8bit"),
            (1000, "1Kbit"),
            (1016, "1016bit"),
            (10_000_000, "10Mbit"),
            (1_500_000, "1500Kbit"),
            (34_359_738_368, "34359Mbit"),
            (40_000_000_000, "40Gbit"),
            (1_234_568, "1234Kbit"),
            (1_000_000_008, "1Gbit"),
            (18_446_744_073_709_551_608, "18446744Tbit"),
        ] {
            assert_eq!(Rate::from_bits_per_second(bits).unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn shown_rates_lose_less_than_a_thousandth(bytes in 1_u64..=u64::MAX / 8) {
            let rate = Rate::from_bytes_per_second(bytes).unwrap();
            let shown: Rate = rate.to_string().parse().unwrap();
            prop_assert!(shown <= rate && rate.bits_per_second() - shown.bits_per_second() <= rate.bits_per_second() / 1000);
            prop_assert_eq!(shown.to_string(), rate.to_string());
        }

        #[test]
        fn whole_units_survive_the_round_trip(number in 1_u64..1000, unit in 0_usize..18) {
            let rate: Rate = format!("{number}{}", UNITS[unit].0).parse().or_else(|error| {
                if error == RateError::Zero { Rate::from_bits_per_second(8) } else { Err(error) }
            }).unwrap();
            let expected = (number * UNITS[unit].1 / 8).max(1);
            prop_assert_eq!(rate.bytes_per_second(), expected);
            if rate.bits_per_second() < 1_000_000 {
                prop_assert_eq!(rate.to_string().parse(), Ok(rate));
            }
        }

        #[test]
        fn exact_text_survives_the_round_trip(bytes in prop_oneof![1_u64..=u64::MAX / 8, (1_u64..1 << 20).prop_map(|n| n * 125)]) {
            let rate = Rate::from_bytes_per_second(bytes).unwrap();
            prop_assert_eq!(rate.exact().parse(), Ok(rate));
        }

        #[test]
        fn any_text_parses_or_errs(text: String) {
            let _ = text.parse::<Rate>();
        }
    }
}
