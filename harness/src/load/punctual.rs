//! Threads that must be on time.

/// Has the kernel wake the calling thread when it asked to be woken: without the slack of 50 µs that timers have by default, and before
/// whatever else of this process wants the CPU. It only hands out moments, and sleeps in between.
///
/// What is not allowed is left out: it then is later, which is measured.
pub(super) fn be_punctual() {
    let _ = nix::sys::prctl::set_timerslack(1);
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: the structure lives as long as the call; 0 is the calling thread (sched_setscheduler(2)).
    let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest) };
}
