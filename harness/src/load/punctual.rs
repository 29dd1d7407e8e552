//! Threads that must be on time.

/// The least that the kernel takes, ns (`sched_setattr(2)`; `__setparam_fair()` in `kernel/sched/fair.c`).
const SHORT_SLICE_NS: u64 = 100_000;

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

/// Has the calling thread, when it is woken, take the CPU from one that is in the middle of its slice, as those are that look on.
/// Without it, it waits for that slice's end, which on two cores is 1.4 ms and is seen at a tick only, even where the other one is nice.
///
/// Its share of the CPU stays what it was: whoever asks for short slices gets them more often. Kernels before 6.12 know no such request
/// and take it as none (`PREEMPT_SHORT` in `kernel/sched/features.h`).
pub fn be_prompt() {
    let Ok(nice) = rustix::process::getpriority_process(None) else { return };
    let attributes = libc::sched_attr {
        // The first version's (`SCHED_ATTR_SIZE_VER0` of include/uapi/linux/sched/types.h), which is what libc has.
        size: 48,
        sched_policy: libc::SCHED_OTHER.cast_unsigned(),
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: SHORT_SLICE_NS,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the structure lives as long as the call and says how long it is; 0 is the calling thread, there are no flags.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}
