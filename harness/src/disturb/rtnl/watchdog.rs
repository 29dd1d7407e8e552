//! RTNL must not stay held, whatever is wrong with us: the whole machine waits for it. A timer of the kernel's kills this process where it
//! does not let go in time, stopped by a signal (SIGSTOP), too; and the kernel takes RTNL from whom it kills.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;

/// A timer is the process's, not a thread's.
struct Whole(Timer);

// SAFETY: what looks like a pointer is the C library's name of a timer, which timer_settime(2) takes from any thread.
unsafe impl Send for Whole {}

/// Kills this process at its time, unless it rests before.
pub(super) struct Watchdog {
    timer: Mutex<Whole>,
}

impl Watchdog {
    /// It rests.
    pub(super) fn new() -> io::Result<Self> {
        // timer_create(2) takes any signal; this one can be neither blocked nor ignored.
        let kill = SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 };
        let timer = Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(kill))?;
        Ok(Self { timer: Mutex::new(Whole(timer)) })
    }

    /// Kills this process after this time, which replaces the one before.
    pub(super) fn watch(&self, longest: Duration) -> io::Result<()> {
        let mut timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Expiration::OneShot(TimeSpec::from_duration(longest));
        Ok(timer.0.set(at, TimerSetTimeFlags::empty())?)
    }

    /// RTNL is free.
    pub(super) fn rest(&self) {
        // A time of zero disarms it (timer_settime(2)); where that fails, the next time replaces it.
        let _ = self.watch(Duration::ZERO);
    }
}
