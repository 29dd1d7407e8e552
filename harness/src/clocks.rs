//! Whether time went on evenly during a run. Durations are measured by `CLOCK_MONOTONIC`, which nobody can set and which stands still while
//! the machine sleeps (`clock_gettime(2)`).

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Closer than this readings need not be to each other, and less is no step.
const CLOSE: Duration = Duration::from_millis(10);

/// After so many the last will do.
const TRIES: u32 = 10;

/// The clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// Of the day: may be set. Counts while the machine sleeps.
    realtime: Duration,
    /// Cannot be set. Counts while the machine sleeps.
    boottime: Duration,
    /// Cannot be set. Stands still while the machine sleeps.
    monotonic: Duration,
}

/// What happened to time between two moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Course {
    /// How long the machine slept, seconds.
    pub suspended_seconds: f64,
    /// By how much the clock of the day was set, seconds; ahead is positive. A leap second is one, too; what NTP does by and by is none, since
    /// all clocks follow it.
    pub step_seconds: f64,
}

impl Clocks {
    /// Reads them. `None` where the kernel has none of them.
    pub fn now() -> Option<Self> {
        let read = |clock| clock_gettime(clock).ok().map(Duration::from);
        let mut tries = 0;
        loop {
            let monotonic = read(ClockId::CLOCK_MONOTONIC)?;
            let clocks = Self {
                realtime: read(ClockId::CLOCK_REALTIME)?,
                boottime: read(ClockId::CLOCK_BOOTTIME)?,
                monotonic,
            };
            tries += 1;
            // Not if another thread had the CPU in between.
            if tries == TRIES || read(ClockId::CLOCK_MONOTONIC)?.saturating_sub(monotonic) < CLOSE / 10 {
                return Some(clocks);
            }
        }
    }

    /// What happened from `before` until this moment.
    pub fn since(self, before: Self) -> Course {
        let past = |of: fn(&Self) -> Duration| of(&self).as_secs_f64() - of(&before).as_secs_f64();
        let told = |seconds: f64| if seconds.abs() < CLOSE.as_secs_f64() { 0.0 } else { seconds };
        let boottime = past(|clocks| clocks.boottime);
        Course {
            suspended_seconds: told(boottime - past(|clocks| clocks.monotonic)).max(0.0),
            step_seconds: told(past(|clocks| clocks.realtime) - boottime),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(realtime: u64, boottime: u64, monotonic: u64) -> Clocks {
        let [realtime, boottime, monotonic] = [realtime, boottime, monotonic].map(Duration::from_secs);
        Clocks { realtime, boottime, monotonic }
    }

    #[test]
    fn sleep_and_steps_are_told_apart() {
        let before = at(1_000, 500, 400);
        let course = |now: Clocks| {
            let course = now.since(before);
            (course.suspended_seconds, course.step_seconds)
        };
        assert_eq!(course(at(1_010, 510, 410)), (0.0, 0.0));
        assert_eq!(course(at(1_040, 540, 410)), (30.0, 0.0), "slept");
        assert_eq!(course(at(4_610, 510, 410)), (0.0, 3_600.0), "set ahead");
        assert_eq!(course(at(410, 510, 410)), (0.0, -600.0), "set back");
        assert_eq!(course(at(1_100, 540, 410)), (30.0, 60.0), "both");
    }

    #[test]
    fn here_time_goes_on_evenly() {
        let before = Clocks::now().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(
            Clocks::now().unwrap().since(before),
            Course { suspended_seconds: 0.0, step_seconds: 0.0 }
        );
    }
}
