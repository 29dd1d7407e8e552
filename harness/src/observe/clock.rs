//! The probes' time as that of the day.

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};

/// How `CLOCK_MONOTONIC`, by which the kernel times events, and the local time of day are related at this moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    at_utc_ns: i128,
    /// What to add for nanoseconds since 1970; UTC.
    to_utc_ns: i128,
    /// What to add for the local time.
    zone_seconds: i64,
}

const NS: i128 = 1_000_000_000;

impl Clock {
    pub(super) fn now() -> Self {
        let read = |clock| {
            clock_gettime(clock).map_or(0, |time| i128::from(time.tv_sec()) * NS + i128::from(time.tv_nsec()))
        };
        let zone = TimeZone::system().to_offset(Timestamp::now());
        let utc_ns = read(ClockId::CLOCK_REALTIME);
        Self {
            at_utc_ns: utc_ns,
            to_utc_ns: utc_ns - read(ClockId::CLOCK_MONOTONIC),
            zone_seconds: zone.seconds().into(),
        }
    }

    /// The moment at which they were compared.
    pub(super) fn at(self) -> Instant {
        Instant { utc_ns: self.at_utc_ns, zone_seconds: self.zone_seconds }
    }

    /// A time of `CLOCK_MONOTONIC`, in nanoseconds.
    pub(super) fn instant(self, monotonic_ns: u64) -> Instant {
        Instant { utc_ns: i128::from(monotonic_ns) + self.to_utc_ns, zone_seconds: self.zone_seconds }
    }
}

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instant {
    utc_ns: i128,
    zone_seconds: i64,
}

impl Instant {
    /// RFC 3339, UTC, to the nanosecond.
    pub(super) fn rfc3339(self) -> String {
        let since = SignedDuration::from_nanos_i128(self.utc_ns);
        Timestamp::from_duration(since).map_or_else(|_| String::new(), |time| format!("{time:.9}"))
    }
}

/// `HH:MM:SS.ffffff`, local time.
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.utc_ns + i128::from(self.zone_seconds) * NS;
        let of_day = local.rem_euclid(86_400 * NS);
        let (seconds, nanoseconds) = (of_day / NS, of_day % NS);
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        write!(f, "{hours:02}:{minutes:02}:{:02}.{:06}", seconds % 60, nanoseconds / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_for_people_and_for_programs() {
        let instant = Instant { utc_ns: 1_795_535_317 * NS + 1_234_567, zone_seconds: 3_600 };
        assert_eq!(instant.rfc3339(), "2026-11-24T15:48:37.001234567Z");
        assert_eq!(instant.to_string(), "16:48:37.001234");
        // A zone in which it is another day.
        assert_eq!(Instant { zone_seconds: -16 * 3_600, ..instant }.to_string(), "23:48:37.001234");
    }

    #[test]
    fn the_present_is_the_present() {
        let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
        let monotonic_ns = u64::try_from(monotonic.tv_sec()).unwrap() * 1_000_000_000;
        let instant = Clock::now().instant(monotonic_ns);
        let distance = Timestamp::now().as_nanosecond() - instant.utc_ns;
        assert!((-NS..60 * NS).contains(&distance), "{distance} ns");
    }
}
