#![no_std]
//! What the probes and their loader must agree on, byte for byte: the event, the counters, the control block and the
//! layout of the tracepoint records which the probes read.
//!
//! Both sides are built by different compilers for different machines. Every layout is therefore `repr(C)`, has no
//! padding that the compiler chooses, and is held by asserts that are evaluated when either side is built.
//!
//! Times are nanoseconds of `CLOCK_MONOTONIC` (`bpf_ktime_get_ns()`, which is what `clock_gettime(2)` reads), so they can be
//! compared with those that user space takes itself.

mod control;
mod counters;
mod event;
mod sample;
pub mod tracepoint;

pub use control::{
    Control, Cookie, FOLLOW_EVERYONE, FOLLOW_FAMILIES, FOLLOW_ONE, FOLLOWED_PROCESSES, HANDSHAKE_TYPE,
    Offsets, PHASE_CALIBRATE, PHASE_RECORD, PHASE_SILENT, Settings, TARGET_BY_SETTINGS,
};
pub use counters::Counters;
pub use event::{
    COMM_BYTES, Detail, DetailedEvent, EXT_ACK_BYTES, ExtAckEvent, KIND_BYTES, KNOWN_COMM, KNOWN_KIND,
    KNOWN_MESSAGE, KNOWN_NETNS, KNOWN_VERDICT, RTNL_HOLD_SEEN, RequestEvent, SECTIONS, Section,
    TRAFFIC_CONTROL_TYPES,
};
pub use sample::{
    SAMPLE_FOLLOWED, SAMPLE_HOLDS_RTNL, SAMPLE_OFF_CPU, SAMPLE_ON_CPU, SAMPLE_RTNL_WAIT, STACK_LOST,
    SampleEvent,
};

/// Bit of the `flags` of `lock:contention_begin` that marks a mutex (`LCB_F_MUTEX`, include/trace/events/lock.h).
pub const LCB_F_MUTEX: u32 = 1 << 5;

/// How many requests can be under way at once: two threads whose ids differ by a multiple of this share a place.
pub const SLOTS: u32 = 8192;

/// Buckets of the stack map. A bucket holds one stack, so of two stacks with one hash the second goes to the overflow map.
pub const STACK_BUCKETS: u32 = 8192;

/// Buckets of the overflow map.
pub const OVERFLOW_BUCKETS: u32 = 2048;

/// How many different contended mutexes calibration can tell apart.
pub const CALIBRATION_LOCKS: u32 = 64;
