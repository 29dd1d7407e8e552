//! Numbers as `tc` users write them: digits, maybe a fraction, then a unit.

/// A non-negative decimal number, kept exact: `digits / 10^fraction_digits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    digits: u128,
    power: u128,
}

impl Decimal {
    /// Splits `1.5mbit` into the number and `mbit`. `None` when no number is at the start or it has more digits
    /// than 128 bits hold. Unlike `tc`, whose `strtod(3)` takes them, no sign, exponent, hexadecimal, `inf` or `nan`.
    pub(crate) fn split(text: &str) -> Option<(Self, &str)> {
        let end_of = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (whole, rest) = text.split_at(end_of(text));
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(end_of(rest)),
            None => ("", rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let digits = whole
            .bytes()
            .chain(fraction.bytes())
            .try_fold(0_u128, |value, digit| value.checked_mul(10)?.checked_add(u128::from(digit - b'0')))?;
        let power = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        Some((Self { digits, power }, rest))
    }

    /// `self * factor / divisor`, rounded down; `None` when it does not fit 64 bits.
    pub(crate) fn scale(self, factor: u64, divisor: u64) -> Option<u64> {
        let numerator = self.digits.checked_mul(u128::from(factor))?;
        let denominator = self.power.checked_mul(u128::from(divisor))?;
        u64::try_from(numerator / denominator).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_number_and_unit() {
        let scaled =
            |text: &str| Decimal::split(text).map(|(number, rest)| (number.scale(1000, 1), rest.to_owned()));
        assert_eq!(scaled("10mbit"), Some((Some(10_000), "mbit".to_owned())));
        assert_eq!(scaled("1.0625k"), Some((Some(1062), "k".to_owned())));
        assert_eq!(scaled(".5"), Some((Some(500), String::new())));
        assert_eq!(scaled("5."), Some((Some(5000), String::new())));
        for text in ["", ".", "mbit", "-1", "+1", " 1", "inf", "nan"] {
            assert_eq!(Decimal::split(text), None, "{text:?}");
        }
    }

    #[test]
    fn too_many_digits_are_refused_not_wrapped() {
        assert_eq!(Decimal::split(&"9".repeat(40)), None);
        assert_eq!(Decimal::split(&format!("0.{}", "0".repeat(60))), None);
        assert_eq!(Decimal::split(&"9".repeat(38)).unwrap().0.scale(u64::MAX, 1), None);
    }
}
