//! How many bytes of the heap are in use, always counted.
//!
//! Each thread adds to a slot of its own, which nobody else writes: a load and a store, without the bus lock of an atomic addition. What
//! one thread allocates and another frees makes one slot grow and another fall, and the sum is right.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// More threads than a process starts in hours. Those beyond share the last slot.
const SLOTS: usize = 512;

/// On a cache line of its own.
#[repr(align(64))]
struct Slot(AtomicI64);

static LIVE: [Slot; SLOTS] = [const { Slot(AtomicI64::new(0)) }; SLOTS];

/// Slots that have been given out, or more.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// It has neither an initialiser nor an end, so that it can be used inside the allocator.
    static MINE: Cell<Option<&'static Slot>> = const { Cell::new(None) };
}

/// Counts bytes that were allocated, or freed where there are fewer.
#[inline]
pub(super) fn add(bytes: i64) {
    let slot = MINE.get().unwrap_or_else(take);
    if std::ptr::eq(slot, &raw const LIVE[SLOTS - 1]) {
        slot.0.fetch_add(bytes, Ordering::Relaxed);
    } else {
        // A signal handler between the two that allocated would be overwritten: pprof's does so in its first sample only, which is
        // taken while nothing else happens.
        slot.0.store(slot.0.load(Ordering::Relaxed).wrapping_add(bytes), Ordering::Relaxed);
    }
}

#[cold]
fn take() -> &'static Slot {
    let slot = &LIVE[TAKEN.fetch_add(1, Ordering::Relaxed).min(SLOTS - 1)];
    MINE.set(Some(slot));
    slot
}

/// Bytes that Rust code has allocated and not freed, over all threads. `None` in a program whose allocator is another than
/// [`SampledAllocator`](super::SampledAllocator). What the C library allocates for itself is not in it.
pub fn live_bytes() -> Option<u64> {
    let taken = TAKEN.load(Ordering::Relaxed).min(SLOTS);
    let sum: i64 = LIVE[..taken].iter().map(|slot| slot.0.load(Ordering::Relaxed)).sum();
    // Threads that are at it while this is read could make the sum of nearly nothing negative.
    (taken > 0).then(|| u64::try_from(sum).unwrap_or(0))
}
