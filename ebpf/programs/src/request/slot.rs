//! Where an open request is kept: an array indexed by thread id, which costs a third of a hash map.
//!
//! Two threads whose ids differ by a multiple of the array's length share a slot. The slot belongs to the one that
//! claimed it first; the other's request is counted as lost and never mixed up with it.

use core::{
    arch::asm,
    mem::{offset_of, size_of},
};

use aya_ebpf::{macros::map, maps::Array};
use ebpf_common::{RequestEvent, SECTIONS, SLOTS};

use crate::stacks::Place;

/// An open request of one thread. Only that thread's system call and the scheduler, when it switches that thread, touch the
/// fields, so only claiming needs to be atomic. 256 bytes keep neighbouring threads off each other's cache lines.
#[repr(C)]
pub(super) struct Slot {
    /// Thread id of the owner, 0 when free.
    owner: u64,
    /// What will be emitted, as far as it is known.
    pub(super) event: RequestEvent,
    /// When each section was entered, 0 while the thread is not in it.
    pub(super) section_start_ns: [u64; SECTIONS],
    /// Since when the request has held RTNL, 0 while it does not.
    pub(super) hold_start_ns: u64,
    /// The lock that is being waited for, 0 when none.
    pub(super) wait_lock: u64,
    pub(super) wait_start_ns: u64,
    /// When the thread left the CPU, 0 while it is on one.
    pub(super) off_start_ns: u64,
    /// Where it was then, if that is asked for.
    pub(super) off_place: Place,
    _unused: [u8; 36],
}

/// All that a new request begins with as zero: everything but the owner and what is written before it is read; in words.
const FORGOTTEN_WORDS: usize = (offset_of!(Slot, off_place) - offset_of!(Slot, event)) / size_of::<u64>();

const _: () = {
    assert!(size_of::<Slot>() == 256);
    assert!(offset_of!(Slot, event).is_multiple_of(8) && offset_of!(Slot, off_place).is_multiple_of(8));
};

impl Slot {
    /// Forgets the last request.
    ///
    /// Word by word, with volatile writes: the compiler would make a call of `memset` of it, which for this target is a loop over
    /// bytes and takes as long as everything else in the probe.
    #[inline(always)]
    pub(super) fn forget(&mut self) {
        let words = (&raw mut self.event).cast::<u64>();
        for word in 0..FORGOTTEN_WORDS {
            // SAFETY: within the slot, aligned, and zeros are a value of each of these integers.
            unsafe { words.add(word).write_volatile(0) };
        }
    }

    /// The request ends now.
    ///
    /// Where the kernel may preempt programs, the thread can leave the CPU between looking at the clock and noting it here. The
    /// scheduler's probe, for which the request still runs, adds that time to what was spent off the CPU, so it is looked at again.
    #[inline(always)]
    pub(super) fn end_at(&mut self, now: impl Fn() -> u64) {
        let start = self.event.start_ns;
        let total = &raw mut self.event.total_ns;
        let switches = &raw const self.event.off_cpu_switches;
        // SAFETY: fields of the slot. Volatile, since the scheduler's probe writes to it in between.
        unsafe {
            let before = switches.read_volatile();
            total.write_volatile(now().wrapping_sub(start));
            if switches.read_volatile() != before {
                total.write_volatile(now().wrapping_sub(start));
            }
        }
    }
}

#[map]
static SLOTS_BY_TID: Array<Slot> = Array::with_max_entries(SLOTS, 0);

/// How claiming a slot went.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// The slot was free.
    Fresh,
    /// The thread's own earlier request was still open: its end was never reported.
    Reopened,
    /// Another thread's request is in the slot.
    Taken { by: u32 },
}

#[inline(always)]
fn at(tid: u32) -> Option<&'static mut Slot> {
    // SAFETY: the map's values live as long as the program. See `Slot` on who writes what.
    SLOTS_BY_TID.get_ptr_mut(tid & (SLOTS - 1)).map(|slot| unsafe { &mut *slot })
}

/// Claims the slot of `tid`.
#[inline(always)]
pub(super) fn claim(tid: u32) -> (Option<&'static mut Slot>, Claim) {
    let Some(slot) = at(tid) else { return (None, Claim::Taken { by: 0 }) };
    match compare_exchange(&mut slot.owner, 0, u64::from(tid)) {
        0 => (Some(slot), Claim::Fresh),
        owner if owner == u64::from(tid) => (Some(slot), Claim::Reopened),
        #[expect(clippy::cast_possible_truncation, reason = "a thread id was stored")]
        owner => (None, Claim::Taken { by: owner as u32 }),
    }
}

/// Stores `new` if `expected` is there, and returns what was there: the kernel's `BPF_CMPXCHG` (since 5.12), which
/// rustc does not offer for this target.
#[inline(always)]
fn compare_exchange(place: &mut u64, expected: u64, new: u64) -> u64 {
    let found: u64;
    // SAFETY: a valid, aligned pointer, and the instruction touches nothing else.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({place} + 0, r0, {new})",
            place = in(reg) core::ptr::from_mut(place),
            new = in(reg) new,
            inout("r0") expected => found,
        );
    }
    found
}

/// The slot of `tid` if it has an open request.
#[inline(always)]
pub(super) fn find(tid: u32) -> Option<&'static mut Slot> {
    // The idle task's id is 0, which is also what a free slot holds.
    if tid == 0 {
        return None;
    }
    at(tid).filter(|slot| slot.owner == u64::from(tid))
}

/// The slot of `tid` if its request has begun and not ended. Where the kernel may preempt programs, a thread can be switched inside
/// the probes at both ends, and that is no time of the request.
#[inline(always)]
pub(super) fn running(tid: u32) -> Option<&'static mut Slot> {
    find(tid).filter(|slot| slot.event.start_ns != 0 && slot.event.total_ns == 0)
}

/// Frees a slot.
#[inline(always)]
pub(super) fn release(slot: &mut Slot) {
    slot.owner = 0;
}
