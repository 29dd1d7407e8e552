//! Sizes, in `tc`'s units.

use std::fmt;
use std::str::FromStr;

use crate::decimal::Decimal;
use crate::text::serde_as_text;

/// How much, such as a burst: 0 to 2^32 - 1 bytes.
///
/// As text, the units of tc(8): a bare number or `b` is bytes; `k` or `kb`, `m` or `mb`, `g` or `gb` are *1024*-based
/// (unlike rates); `kbit`, `mbit`, `gbit` are an eighth of these; case does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u32);

/// The text is no size, or one of 4 GiB and more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a size: expected a number and one of b, k, kb, m, mb, g, gb, kbit, mbit, gbit, and less than 4gb"
)]
pub struct ParseSizeError(String);

/// Unit and its size in bits (`lib/utils.c`, `get_size64`).
const UNITS: [(&str, u64); 11] = [
    ("", 8),
    ("b", 8),
    ("k", 8 << 10),
    ("kb", 8 << 10),
    ("m", 8 << 20),
    ("mb", 8 << 20),
    ("g", 8 << 30),
    ("gb", 8 << 30),
    ("kbit", 1 << 10),
    ("mbit", 1 << 20),
    ("gbit", 1 << 30),
];

impl Size {
    /// A size in bytes.
    pub const fn from_bytes(bytes: u32) -> Self {
        Self(bytes)
    }

    /// As text that loses nothing: `1600b`.
    pub fn exact(self) -> String {
        format!("{}b", self.0)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

/// As `tc` prints it (`print_size`), which rounds: from 1 KiB on to whole `Kb` when that is off by less than 16
/// bytes, from 1 MiB on to whole `Mb` when that is off by less than 1 KiB, else plain bytes.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = u64::from(self.0);
        let near = |unit: u64, slack: u64| {
            let whole = (bytes + unit / 2) / unit;
            (bytes >= unit && (whole * unit).abs_diff(bytes) < slack).then_some(whole)
        };
        if let Some(whole) = near(1 << 20, 1024) {
            f.pad(&format!("{whole}Mb"))
        } else if let Some(whole) = near(1 << 10, 16) {
            f.pad(&format!("{whole}Kb"))
        } else {
            f.pad(&format!("{bytes}b"))
        }
    }
}

serde_as_text!(Size, |size| size.exact());

impl FromStr for Size {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (number, unit) = Decimal::split(text)?;
            let (_, bits) = UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
            u32::try_from(number.scale(*bits, 8)?).ok()
        };
        parse().map(Self).ok_or_else(|| ParseSizeError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_of_tc() {
        for (text, bytes) in [
            ("15k", 15_360),
            ("1600b", 1600),
            ("1600", 1600),
            ("1mb", 1 << 20),
            ("8kbit", 1024),
            ("1Mbit", 131_072),
            ("1.5KB", 1536),
            ("0", 0),
            ("3g", 3 << 30),
            ("4294967295", u32::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "k", "1kib", "1 k", "-1", "4g", "4294967296", "1t"] {
            assert!(text.parse::<Size>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn printed_as_tc_prints() {
        for (bytes, text) in [
            (0, "0b"),
            (1600, "1600b"),
            (15_360, "15Kb"),
            (15_345, "15Kb"),
            (15_344, "15344b"),
            (1 << 20, "1Mb"),
            ((1 << 20) + 1023, "1Mb"),
            ((1 << 20) + 1024, "1025Kb"),
            (u32::MAX, "4096Mb"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn shown_sizes_are_near(bytes in 0..u32::MAX - 1024) {
            let shown: Size = Size(bytes).to_string().parse().unwrap();
            let slack = if bytes < 1 << 20 { 16 } else { 1024 };
            prop_assert!(shown.bytes().abs_diff(bytes) < slack);
        }

        #[test]
        fn bytes_survive_the_round_trip(bytes: u32) {
            prop_assert_eq!(Size(bytes).exact().parse(), Ok(Size(bytes)));
        }

        #[test]
        fn any_text_parses_or_errs(text: String) {
            let _ = text.parse::<Size>();
        }
    }
}
