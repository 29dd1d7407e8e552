//! From one value to another in a straight line. Pure.

use std::time::Duration;

/// A value over a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ramp {
    /// At its beginning.
    pub from: f64,
    /// At its end.
    pub to: f64,
}

impl Ramp {
    /// The same all the time.
    pub fn constant(value: f64) -> Self {
        Self { from: value, to: value }
    }

    /// Whether it stays the same.
    pub fn is_constant(self) -> bool {
        self.from.total_cmp(&self.to).is_eq()
    }

    /// The largest value.
    pub fn most(self) -> f64 {
        self.from.max(self.to)
    }

    /// The value after a share of the stage, 0 to 1.
    pub fn at(self, share: f64) -> f64 {
        self.from + (self.to - self.from) * share
    }

    /// When the `index`-th (from 0 on) of so many users is at work, in a stage of such a length. `None`: never.
    ///
    /// Users come in order and go in the reverse one.
    pub fn presence(self, index: u32, length: Duration) -> Option<(Duration, Duration)> {
        // One more than `index` must be there for it to be.
        let needed = f64::from(index) + 1.0;
        let crossing = || length.mul_f64(((needed - self.from) / (self.to - self.from)).clamp(0.0, 1.0));
        match (self.from >= needed, self.to >= needed) {
            (true, true) => Some((Duration::ZERO, length)),
            (false, true) => Some((crossing(), length)),
            (true, false) => Some((Duration::ZERO, crossing())),
            (false, false) => None,
        }
    }

    /// How much has come after `elapsed`, if the value is a rate per second: its integral.
    pub fn integral(self, elapsed: f64, length: f64) -> f64 {
        self.from * elapsed + (self.to - self.from) * elapsed * elapsed / (2.0 * length)
    }

    /// When so much has come, seconds: the inverse of [`Self::integral`]. Beyond the stage's end it is no number, or a later time.
    pub fn when(self, amount: f64, length: f64) -> f64 {
        if amount <= 0.0 {
            return 0.0;
        }
        let slope = (self.to - self.from) / length;
        // The usual formula divides by the slope, which may be none; this form of it does not (Higham, Accuracy and Stability of
        // Numerical Algorithms, 2nd ed., 1.8).
        2.0 * amount / (self.from + (self.from * self.from + 2.0 * slope * amount).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn users_come_in_order_and_go_in_the_reverse_one() {
        let up = Ramp { from: 10.0, to: 20.0 };
        assert_eq!(up.presence(9, MINUTE), Some((Duration::ZERO, MINUTE)));
        assert_eq!(up.presence(10, MINUTE), Some((Duration::from_secs(6), MINUTE)));
        assert_eq!(up.presence(19, MINUTE), Some((MINUTE, MINUTE)));
        assert_eq!(up.presence(20, MINUTE), None);
        let down = Ramp { from: 20.0, to: 10.0 };
        assert_eq!(down.presence(19, MINUTE), Some((Duration::ZERO, Duration::ZERO)));
        assert_eq!(down.presence(10, MINUTE), Some((Duration::ZERO, Duration::from_secs(54))));
        assert_eq!(down.presence(3, MINUTE), Some((Duration::ZERO, MINUTE)));
        assert_eq!(Ramp::constant(5.0).presence(5, MINUTE), None);
    }

    proptest! {
        #[test]
        fn when_is_the_inverse_of_the_integral(from in 0.0..1e5_f64, to in 0.0..1e5_f64, share in 0.01..1.0_f64) {
            let (ramp, length) = (Ramp { from, to }, 30.0);
            prop_assume!(from + to > 1.0);
            let elapsed = share * length;
            let found = ramp.when(ramp.integral(elapsed, length), length);
            prop_assert!((found - elapsed).abs() < 1e-3, "{found} for {elapsed}");
        }

        #[test]
        fn as_many_are_there_as_the_ramp_says(from in 0_u32..50, to in 0_u32..50, share in 0.0..1.0_f64) {
            let ramp = Ramp { from: f64::from(from), to: f64::from(to) };
            let now = MINUTE.mul_f64(share);
            let there = (0..60)
                .filter_map(|index| ramp.presence(index, MINUTE))
                .filter(|(begin, end)| *begin <= now && now < *end)
                .count();
            prop_assert!((there as f64 - ramp.at(share).floor()).abs() <= 1.0, "{there} of {}", ramp.at(share));
        }
    }
}
