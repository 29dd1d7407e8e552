//! The event model: a request begins, waits, and ends, whoever reports it.

mod slot;

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::map,
    maps::RingBuf,
};
use ebpf_common::{Control, PHASE_RECORD, RequestEvent};
pub(crate) use slot::Claim;

use crate::counters::count;

/// The loader sets the size. Without wakeups: a consumer that sleeps in poll(2) makes the load three times slower.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// What a request says about itself.
pub(crate) struct Header {
    pub(crate) message_type: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) port_id: u32,
    pub(crate) fd: i32,
}

/// How an end was reported.
#[derive(PartialEq, Eq)]
pub(crate) enum Ended {
    /// The thread was not in a request.
    NotOurs,
    /// Recorded, or its phase is not to be.
    Done,
    /// The ring buffer was full; `first` on this CPU.
    RingFull { first: bool },
}

/// Thread `tid` begins a request.
#[inline(always)]
pub(crate) fn begin(tid: u32, header: &Header) -> Claim {
    let (slot, claim) = slot::claim(tid);
    let Some(slot) = slot else { return claim };
    slot.rtnl_wait_ns = 0;
    slot.off_cpu_ns = 0;
    slot.wait_lock = 0;
    slot.off_start_ns = 0;
    slot.off_cpu_switches = 0;
    slot.rtnl_contentions = 0;
    slot.message_type = header.message_type;
    slot.flags = header.flags;
    slot.sequence = header.sequence;
    slot.port_id = header.port_id;
    slot.fd = header.fd;
    // Last, so that the probe's own work is not counted to the request.
    // SAFETY: a helper without arguments.
    slot.start_ns = unsafe { bpf_ktime_get_ns() };
    claim
}

/// Thread `tid` begins to wait for `lock`, which is RTNL. One wait can begin several times (a mutex is spun on, then slept
/// on) and ends once, so the first begin counts.
#[inline(always)]
pub(crate) fn wait_begin(tid: u32, lock: u64) {
    let Some(slot) = slot::find(tid) else { return };
    if slot.wait_lock == 0 {
        slot.wait_lock = lock;
        slot.rtnl_contentions = slot.rtnl_contentions.saturating_add(1);
        // SAFETY: a helper without arguments.
        slot.wait_start_ns = unsafe { bpf_ktime_get_ns() };
    }
}

/// Thread `tid` has `lock`, or gave up waiting for it.
#[inline(always)]
pub(crate) fn wait_end(tid: u32, lock: u64) {
    let Some(slot) = slot::find(tid) else { return };
    if slot.wait_lock == lock {
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        slot.rtnl_wait_ns = slot.rtnl_wait_ns.wrapping_add(now.wrapping_sub(slot.wait_start_ns));
        slot.wait_lock = 0;
    }
}

/// Thread `tid` leaves the CPU. Inside a wait for RTNL that is part of the wait.
#[inline(always)]
pub(crate) fn switch_out(tid: u32) {
    let Some(slot) = slot::find(tid) else { return };
    if slot.wait_lock == 0 {
        slot.off_cpu_switches = slot.off_cpu_switches.saturating_add(1);
        // SAFETY: a helper without arguments.
        slot.off_start_ns = unsafe { bpf_ktime_get_ns() };
    }
}

/// Thread `tid` comes back onto a CPU.
#[inline(always)]
pub(crate) fn switch_in(tid: u32) {
    let Some(slot) = slot::find(tid) else { return };
    if slot.off_start_ns != 0 {
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        slot.off_cpu_ns = slot.off_cpu_ns.wrapping_add(now.wrapping_sub(slot.off_start_ns));
        slot.off_start_ns = 0;
    }
}

/// Whether thread `tid` is inside a request.
#[inline(always)]
pub(crate) fn is_open(tid: u32) -> bool {
    slot::find(tid).is_some()
}

/// Thread `tid` ends its request, which returned `result`.
#[inline(always)]
pub(crate) fn end(tid: u32, result: i32, control: &Control) -> Ended {
    let Some(slot) = slot::find(tid) else { return Ended::NotOurs };
    // First, so that the probe's own work is not counted to the request.
    // SAFETY: helpers without arguments.
    let (now, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    let outcome = if control.phase == PHASE_RECORD { emit(slot, tid, now, cpu, result) } else { Ended::Done };
    slot::release(slot);
    outcome
}

#[inline(always)]
fn emit(slot: &slot::Slot, tid: u32, now: u64, cpu: u32, result: i32) -> Ended {
    let Some(mut entry) = EVENTS.reserve::<RequestEvent>(0) else {
        return Ended::RingFull { first: count(|c| &mut c.lost_ring_full) == 0 };
    };
    entry.write(RequestEvent {
        start_ns: slot.start_ns,
        syscall_ns: now.wrapping_sub(slot.start_ns),
        rtnl_wait_ns: slot.rtnl_wait_ns,
        off_cpu_ns: slot.off_cpu_ns,
        sequence: slot.sequence,
        port_id: slot.port_id,
        tid,
        cpu,
        result,
        fd: slot.fd,
        message_type: slot.message_type,
        flags: slot.flags,
        off_cpu_switches: slot.off_cpu_switches,
        rtnl_contentions: slot.rtnl_contentions,
    });
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    count(|c| &mut c.emitted);
    Ended::Done
}
