//! A request from its begin through its waits to its end, and the event that it gives.

mod slot;

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_RB_NO_WAKEUP,
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::map,
    maps::RingBuf,
};
use aya_log_ebpf::warn;
use ebpf_common::{
    COMM_BYTES, Control, Detail, DetailedEvent, PHASE_RECORD, RTNL_HOLD_SEEN, RequestEvent, SAMPLE_OFF_CPU,
    SampleEvent, Section,
};
use slot::{Claim, Slot};

use crate::{
    control::Current,
    counters::count,
    detail,
    kernel::{self, Holder},
    stacks::{self, Place},
};

/// The loader sets the size. Without wakeups: a consumer that sleeps in poll(2) makes the load three times slower.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// `struct nlmsghdr`, include/uapi/linux/netlink.h.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct MessageHeader {
    pub(crate) length: u32,
    pub(crate) message_type: u16,
    flags: u16,
    pub(crate) sequence: u32,
    pub(crate) port_id: u32,
}

/// What a request says about itself.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub(crate) message_type: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) port_id: u32,
}

impl From<MessageHeader> for Header {
    #[inline(always)]
    fn from(message: MessageHeader) -> Self {
        let MessageHeader { message_type, flags, sequence, port_id, .. } = message;
        Self { message_type, flags, sequence, port_id }
    }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// The current thread begins a request. `describe` is called when it has its slot, and is given the place for the number of its
/// messages: memory of a map, whose values the verifier does not follow, so that a loop that counts there does not multiply
/// what it has to look at.
#[inline(always)]
pub(crate) fn begin(
    ctx: &impl EbpfContext,
    control: &Control,
    current: Current,
    header: &Header,
    describe: impl FnOnce(&mut u16),
) {
    let (slot, claim) = slot::claim(current.tid);
    let recording = control.phase == PHASE_RECORD;
    match claim {
        Claim::Fresh => {}
        Claim::Reopened => {
            if recording && count(|c| &mut c.unmatched) == 0 {
                warn!(ctx, "thread {}: the end of a request was not seen", current.tid);
            }
        }
        Claim::Taken { by } => {
            if recording && count(|c| &mut c.lost_slot) == 0 {
                warn!(
                    ctx,
                    "threads {} and {} share a slot: the later one's requests are lost", by, current.tid
                );
            }
        }
    }
    let Some(slot) = slot else { return };
    slot.forget();
    slot.event.sequence = header.sequence;
    slot.event.port_id = header.port_id;
    slot.event.tgid = current.tgid;
    slot.event.tid = current.tid;
    slot.event.message_type = header.message_type;
    slot.event.flags = header.flags;
    describe(&mut slot.event.messages);
    // Last, so that the probe's own work is not counted to the request.
    slot.event.start_ns = now();
}

/// Thread `tid` begins to wait for `lock`, which is RTNL. One wait can begin several times (a mutex is spun on, then slept
/// on) and ends once, so the first begin counts.
#[inline(always)]
pub(crate) fn wait_begin(tid: u32, lock: u64) {
    let Some(slot) = slot::running(tid) else { return };
    if slot.wait_lock == 0 {
        slot.wait_lock = lock;
        slot.event.rtnl_contentions = slot.event.rtnl_contentions.saturating_add(1);
        slot.wait_start_ns = now();
        hold_by(slot, lock);
    } else if slot.event.holder_tid == 0 {
        // It was being handed over a moment ago.
        hold_by(slot, lock);
    }
}

/// Notes who holds `lock`.
#[inline(always)]
fn hold_by(slot: &mut Slot, lock: u64) {
    let holder = kernel::mutex_holder(lock).unwrap_or(Holder { tid: 0, tgid: 0, comm: [0; COMM_BYTES] });
    slot.event.holder_tid = holder.tid;
    slot.event.holder_tgid = holder.tgid;
    slot.event.holder_comm = holder.comm;
}

/// A wait that is over.
pub(crate) struct Waited {
    pub(crate) start_ns: u64,
    pub(crate) wait_ns: u64,
    pub(crate) request_start_ns: u64,
}

/// Thread `tid` has `lock`, or gave up waiting for it: the wait that is over then.
#[inline(always)]
pub(crate) fn wait_end(tid: u32, lock: u64) -> Option<Waited> {
    let slot = slot::running(tid)?;
    if slot.wait_lock != lock {
        return None;
    }
    let wait_ns = now().wrapping_sub(slot.wait_start_ns);
    slot.event.rtnl_wait_ns = slot.event.rtnl_wait_ns.wrapping_add(wait_ns);
    slot.wait_lock = 0;
    Some(Waited { start_ns: slot.wait_start_ns, wait_ns, request_start_ns: slot.event.start_ns })
}

/// Thread `tid` leaves the CPU. Inside a wait for RTNL that is part of the wait. `place` says where it is, if that is asked for.
#[inline(always)]
pub(crate) fn switch_out(tid: u32, place: impl FnOnce() -> Place) {
    let Some(slot) = slot::running(tid) else { return };
    if slot.wait_lock == 0 {
        if stacks::on() {
            slot.off_place = place();
        }
        slot.event.off_cpu_switches = slot.event.off_cpu_switches.saturating_add(1);
        slot.off_start_ns = now();
    }
}

/// Thread `tid` comes back onto a CPU. Where samples are asked for and `recording`, that gives one.
#[inline(always)]
pub(crate) fn switch_in(tid: u32, recording: bool) {
    let Some(slot) = slot::find(tid) else { return };
    if slot.off_start_ns != 0 {
        let wait_ns = now().wrapping_sub(slot.off_start_ns);
        slot.event.off_cpu_ns = slot.event.off_cpu_ns.wrapping_add(wait_ns);
        if stacks::on() && recording {
            let Place { kernel_stack, user_stack, flags } = slot.off_place;
            let sample = SampleEvent {
                time_ns: slot.off_start_ns,
                wait_ns,
                request_start_ns: slot.event.start_ns,
                tgid: slot.event.tgid,
                tid,
                kernel_stack,
                user_stack,
                kind: SAMPLE_OFF_CPU,
                flags: flags as u16,
                reserved: 0,
                // Another thread runs: its name is not to be had here.
                comm: [0; COMM_BYTES],
            };
            stacks::emit(&sample, |c| &mut c.lost_waits);
        }
        slot.off_start_ns = 0;
    }
}

/// Thread `tid` has RTNL now.
#[inline(always)]
pub(crate) fn hold_begin(tid: u32) {
    let Some(slot) = slot::running(tid) else { return };
    if slot.hold_start_ns == 0 {
        slot.hold_start_ns = now();
    }
}

/// Thread `tid` gives RTNL back.
#[inline(always)]
pub(crate) fn hold_end(tid: u32) {
    let Some(slot) = slot::running(tid) else { return };
    if slot.hold_start_ns != 0 {
        slot.event.rtnl_hold_ns =
            slot.event.rtnl_hold_ns.wrapping_add(now().wrapping_sub(slot.hold_start_ns));
        slot.hold_start_ns = 0;
        slot.event.sections_seen |= RTNL_HOLD_SEEN;
    }
}

/// Thread `tid` enters a section.
#[inline(always)]
pub(crate) fn section_begin(tid: u32, section: Section) {
    let Some(slot) = slot::running(tid) else { return };
    slot.section_start_ns[section as usize] = now();
}

/// Thread `tid` leaves it.
#[inline(always)]
pub(crate) fn section_end(tid: u32, section: Section) {
    let Some(slot) = slot::running(tid) else { return };
    let start = slot.section_start_ns[section as usize];
    if start != 0 {
        let spent = &mut slot.event.section_ns[section as usize];
        *spent = spent.wrapping_add(now().wrapping_sub(start));
        slot.section_start_ns[section as usize] = 0;
        slot.event.sections_seen |= section.bit();
    }
}

/// Whether thread `tid` is inside a request.
#[inline(always)]
pub(crate) fn is_open(tid: u32) -> bool {
    slot::find(tid).is_some()
}

/// Begin and sequence number of the request in which thread `tid` is.
#[inline(always)]
pub(crate) fn identity(tid: u32) -> Option<(u64, u32)> {
    slot::find(tid).map(|slot| (slot.event.start_ns, slot.event.sequence))
}

/// Thread `tid` ends its request, if it is in one. `port_id` reads the sending socket's, where only the end knows the socket; it is
/// asked when the sender left it out of its message. `complete` adds to the detail what only the end knows.
#[inline(always)]
pub(crate) fn end(
    ctx: &impl EbpfContext,
    control: &Control,
    tid: u32,
    result: i32,
    port_id: impl FnOnce() -> Option<u32>,
    complete: impl FnOnce(&mut Detail, &RequestEvent),
) {
    let Some(slot) = slot::find(tid) else { return };
    // First, so that the probe's own work is not counted to the request.
    slot.end_at(now);
    let event = &mut slot.event;
    event.result = result;
    // SAFETY: a helper without arguments.
    event.cpu = unsafe { bpf_get_smp_processor_id() };
    if event.port_id == 0 {
        event.port_id = port_id().unwrap_or(0);
    }
    if control.phase == PHASE_RECORD {
        let emitted = match detail::on().then(|| detail::at(tid)).flatten() {
            Some(detail) => {
                complete(detail, event);
                emit_detailed(event, detail)
            }
            // Copied by the kernel, straight from the slot.
            None => EVENTS.output::<RequestEvent>(&*event, u64::from(BPF_RB_NO_WAKEUP)).is_ok(),
        };
        if emitted {
            count(|c| &mut c.emitted);
        } else if count(|c| &mut c.lost_ring_full) == 0 {
            warn!(ctx, "the ring buffer is full: events are being lost");
        }
    }
    slot::release(slot);
}

/// One record of both. Word by word: see `Slot::forget`.
#[inline(always)]
fn emit_detailed(event: &RequestEvent, detail: &Detail) -> bool {
    const WORD: usize = size_of::<u32>();
    let Some(mut entry) = EVENTS.reserve::<DetailedEvent>(0) else { return false };
    let to = entry.as_mut_ptr().cast::<u32>();
    let (event, detail) =
        (core::ptr::from_ref(event).cast::<u32>(), core::ptr::from_ref(detail).cast::<u32>());
    const EVENT_WORDS: usize = size_of::<RequestEvent>() / WORD;
    for word in 0..EVENT_WORDS {
        // SAFETY: within both, aligned.
        unsafe { to.add(word).write_volatile(event.add(word).read_volatile()) };
    }
    for word in 0..size_of::<Detail>() / WORD {
        // SAFETY: as above: the detail begins where the event ends, which ebpf-common asserts.
        unsafe { to.add(EVENT_WORDS + word).write_volatile(detail.add(word).read_volatile()) };
    }
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    true
}

/// What thread `tid` sent was no request: it went elsewhere.
#[inline(always)]
pub(crate) fn abandon(tid: u32) {
    if let Some(slot) = slot::find(tid) {
        slot::release(slot);
    }
}
