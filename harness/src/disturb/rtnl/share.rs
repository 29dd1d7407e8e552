//! How long to pause between two holds, so that they make the share that is asked for. Pure.

use std::time::Duration;

/// Keeps `held / (held + not held)` at a share. Waiting for RTNL behind others is time in which it is not held, as pausing is: where others leave
/// too little, pauses become shorter, and after that what is missing is missing.
#[derive(Debug)]
pub(super) struct Share {
    /// Time to be without for each time held.
    free: f64,
    /// Seconds without that are still owed; negative where there were too many.
    owed: f64,
}

impl Share {
    /// `percent` is above 0 and below 100.
    pub(super) fn new(percent: f64) -> Self {
        Self { free: (100.0 - percent) / percent, owed: 0.0 }
    }

    /// The next pause, after RTNL was held so long, and not for so long before that.
    pub(super) fn pause(&mut self, free: Duration, held: Duration) -> Duration {
        let due = held.as_secs_f64() * self.free;
        // More than one pause is never made up for: whoever was kept out for a second must not hold RTNL for a second afterwards.
        self.owed = (self.owed - free.as_secs_f64()).max(-due) + due;
        Duration::from_secs_f64(self.owed.max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Holds of 5 ms that come late and take longer than they should.
    fn reached(percent: f64, late: Duration, longer: Duration) -> f64 {
        let mut share = Share::new(percent);
        let (mut held, mut free) = (Duration::ZERO, Duration::ZERO);
        let mut pause = Duration::ZERO;
        for _ in 0..500 {
            let without = pause + late;
            let with = Duration::from_millis(5) + longer;
            pause = share.pause(without, with);
            free += without;
            held += with;
        }
        held.as_secs_f64() / (held + free).as_secs_f64() * 100.0
    }

    #[test]
    fn the_share_is_kept_though_timers_are_late() {
        for percent in [1.0, 10.0, 30.0, 50.0, 90.0] {
            for micros in [0, 50, 300] {
                let late = Duration::from_micros(micros);
                let reached = reached(percent, late, late);
                assert!(
                    (reached - percent).abs() < 0.01 * percent,
                    "{percent} %: {reached} %, {micros} µs late"
                );
            }
        }
    }

    #[test]
    fn what_others_take_is_not_taken_back_at_once() {
        let mut share = Share::new(50.0);
        let hold = Duration::from_millis(5);
        assert_eq!(share.pause(Duration::from_secs(10), hold), Duration::ZERO);
        // One pause is made up for, and then there are pauses again.
        let pauses: Vec<_> = (0..3).map(|_| share.pause(Duration::ZERO, hold)).collect();
        assert!(pauses[1..].iter().all(|pause| *pause >= hold), "{pauses:?}");
    }

    proptest! {
        #[test]
        fn no_pause_is_longer_than_what_is_owed(percent in 1.0..90.0_f64, times in prop::collection::vec((0_u64..1_000, 1_u64..1_000), 1..50)) {
            let mut share = Share::new(percent);
            let mut owed = Duration::ZERO;
            for (free, held) in times {
                owed += Duration::from_millis(held).mul_f64((100.0 - percent) / percent);
                prop_assert!(share.pause(Duration::from_millis(free), Duration::from_millis(held)) <= owed + Duration::from_micros(1));
            }
        }
    }
}
