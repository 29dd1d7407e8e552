//! Lengths of time as people write them: `500us`, `10ms`, `1.5s`, `2m`, `1h`. Pure.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The units, and how many seconds each is.
const UNITS: [(&str, f64); 6] =
    [("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)];

/// Nothing that is run or waited for here takes longer.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// Reads a number with its unit; whole and broken numbers, zero too, up to a week.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_alphabetic());
    let unit = &text[digits.len()..];
    let factor = UNITS.iter().find_map(|(name, factor)| (*name == unit).then_some(*factor));
    match (digits.parse::<f64>(), factor) {
        (Ok(value), Some(factor)) if (0.0..=LONGEST.as_secs_f64()).contains(&(value * factor)) => {
            Ok(Duration::from_secs_f64(value * factor))
        }
        (Ok(value), Some(factor)) if value * factor > LONGEST.as_secs_f64() => {
            Err(format!("`{text}`: a week (168h) is the longest"))
        }
        _ => Err(format!("`{text}`: give a number with one of the units us, ms, s, m and h, as in 30s")),
    }
}

/// The same without a unit for seconds; longer than nothing.
pub fn parse_or_seconds(text: &str) -> Result<Duration, String> {
    let duration = match text.parse::<f64>() {
        Ok(_) => parse(&format!("{text}s")),
        Err(_) => parse(text),
    }?;
    if duration.is_zero() {
        return Err("give a time above 0, as in 30s".into());
    }
    Ok(duration)
}

/// A length of time in a file, written as [`parse`] reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.as_secs_f64();
        let (unit, factor) = match seconds {
            0.0 => ("s", 1.0),
            seconds if seconds < 1e-3 => ("us", 1e-6),
            seconds if seconds < 1.0 => ("ms", 1e-3),
            seconds if seconds < 120.0 || seconds % 60.0 != 0.0 => ("s", 1.0),
            _ => ("m", 60.0),
        };
        // Nanoseconds are the finest there is; rounding hides what floating point adds.
        let value = (seconds / factor * 1e6).round() / 1e6;
        f.pad(&format!("{value}{unit}"))
    }
}

impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": "A number with one of the units us, ms, s, m and h, as 30s." })
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_have_units() {
        for (text, micros) in [
            ("500us", 500),
            ("1.5ms", 1_500),
            ("0s", 0),
            ("30s", 30_000_000),
            ("2m", 120_000_000),
            ("1h", 3_600_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        for text in ["500", "ms", "-1s", "1y", "infs", "nans", "", "s1", "8000h"] {
            parse(text).expect_err(text);
        }
    }

    #[test]
    fn without_a_unit_it_is_seconds_where_that_is_said() {
        assert_eq!(parse_or_seconds("1.5"), Ok(Duration::from_millis(1_500)));
        assert_eq!(parse_or_seconds("2m"), Ok(Duration::from_mins(2)));
        for text in ["0", "0s", "-1", "nan", "1e9"] {
            parse_or_seconds(text).expect_err(text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(micros in 0_u64..600_000_000_000) {
            let span = Span(Duration::from_micros(micros));
            let read = parse(&span.to_string()).unwrap();
            prop_assert!(read.abs_diff(span.0) <= Duration::from_micros(100), "{span} {read:?}");
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse(&text);
            let _ = parse_or_seconds(&text);
        }
    }
}
