//! The system's allocator, and what is sampled of what goes through it.

use std::alloc::{GlobalAlloc, Layout, System};

use super::live;
use super::table::{self, DEPTH};
use super::thread::Thread;

/// The system's allocator, which counts the bytes in use ([`live_bytes`](super::live_bytes)). While a
/// [`HeapProfiler`](super::HeapProfiler) runs, a part of the allocations is recorded; else each costs one relaxed load, and an addition
/// to a word that is the thread's own, more than without.
#[derive(Debug, Clone, Copy, Default)]
pub struct SampledAllocator;

thread_local! {
    static THREAD: Thread = const { Thread::new() };
}

// SAFETY: memory comes from the system's allocator and goes back to it, unchanged.
unsafe impl GlobalAlloc for SampledAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        let memory = unsafe { System.alloc(layout) };
        allocated(memory, layout.size());
        memory
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let memory = unsafe { System.alloc_zeroed(layout) };
        allocated(memory, layout.size());
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // Before another thread can be given the same address.
        let _ = freed(memory);
        live::add(-bytes(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let sampled = freed(memory);
        // SAFETY: as above.
        let moved = unsafe { System.realloc(memory, layout, size) };
        if moved.is_null() {
            if let Some(site) = sampled {
                THREAD.with(|thread| thread.unless_busy(|| table::not_freed(memory.addr(), site)));
            }
        } else {
            live::add(-bytes(layout.size()));
            allocated(moved, size);
        }
        moved
    }
}

/// The size of a layout, which is at most `isize::MAX`.
#[inline]
fn bytes(size: usize) -> i64 {
    size.cast_signed() as i64
}

#[inline]
fn allocated(memory: *mut u8, size: usize) {
    if memory.is_null() {
        return;
    }
    live::add(bytes(size));
    if let Some(profile) = table::profile() {
        sample(profile, memory.addr(), size);
    }
}

#[cold]
fn sample(profile: u32, address: usize, size: usize) {
    THREAD.with(|thread| {
        if !thread.is_busy() && thread.samples(size as u64, profile, table::every(), table::seed) {
            thread.unless_busy(|| record(profile, address, size));
        }
    });
}

/// Takes the stack, and remembers it with its size.
fn record(profile: u32, address: usize, size: usize) {
    let mut stack = [0; DEPTH + 1];
    stack[0] = size;
    let mut depth = 1;
    // SAFETY: on Linux this is libgcc's `_Unwind_Backtrace`, which threads may call at the same time. The lock that the safe function
    // takes could be held by whoever is allocating.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            stack[depth] = frame.ip().addr();
            depth += 1;
            depth < stack.len()
        });
    }
    table::allocated(profile, address, &stack[..depth]);
}

/// The site that allocated `memory`, if that was sampled.
#[inline]
fn freed(memory: *mut u8) -> Option<u32> {
    table::profile()?;
    if !table::may_be_sampled(memory.addr()) {
        return None;
    }
    // While recording, only the profiler's own memory is freed, of which nothing is recorded.
    THREAD.with(|thread| thread.unless_busy(|| table::freed(memory.addr()))).flatten()
}
