//! When each request of an open loop is due. Pure.

use std::time::Duration;

/// Requests at a constant rate: the `i`-th is due `i / rate` after the start.
///
/// Each due time is computed from the start, so that no rounding adds up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    rate: f64,
    count: u64,
    duration: Duration,
}

impl Schedule {
    /// `rate` operations per second, positive and finite, for `duration`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and both are positive"
    )]
    pub fn new(rate: f64, duration: Duration) -> Self {
        Self { rate, count: (rate * duration.as_secs_f64()).round() as u64, duration }
    }

    /// How many requests it holds.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How long it is, past the last request.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// The intended start of request `index`, after the schedule's own start.
    pub fn due(&self, index: u64) -> Duration {
        Duration::from_secs_f64(index as f64 / self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_offers_its_rate() {
        let schedule = Schedule::new(1_000.0, Duration::from_secs(30));
        assert_eq!(schedule.count(), 30_000);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(1), Duration::from_millis(1));
        assert_eq!(schedule.due(29_999), Duration::from_millis(29_999));
    }

    #[test]
    fn odd_rates_do_not_drift() {
        let schedule = Schedule::new(7.0, Duration::from_secs(3_600));
        assert_eq!(schedule.count(), 25_200);
        assert_eq!(schedule.due(25_193), Duration::from_secs(3_599));
        assert!((0..100).all(|i| schedule.due(i) < schedule.due(i + 1)));
    }
}
