//! One look at a thread: where it was, in the kernel and in user mode.

use core::mem::{align_of, offset_of, size_of};

use crate::event::{COMM_BYTES, text};

/// A timer found the thread on a CPU: it stands for one period of the timer.
pub const SAMPLE_ON_CPU: u16 = 0;
/// The thread left the CPU, outside any wait for RTNL, and came back.
pub const SAMPLE_OFF_CPU: u16 = 1;
/// The thread waited for RTNL.
pub const SAMPLE_RTNL_WAIT: u16 = 2;

/// In [`SampleEvent::flags`]: [`Settings::follow`](crate::Settings::follow) includes the process. Else it is here because it held RTNL.
pub const SAMPLE_FOLLOWED: u16 = 1;
/// In [`SampleEvent::flags`]: the thread held RTNL.
pub const SAMPLE_HOLDS_RTNL: u16 = 1 << 1;

/// A stack that could not be stored, because others took its places (`-EEXIST`).
pub const STACK_LOST: i32 = -17;

/// Where a thread was. It comes before the [`RequestEvent`](crate::RequestEvent) of the request in which it was.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SampleEvent {
    /// When: the moment of a timer, the begin of a wait; ns of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// How long the wait took; ns. 0 for a timer.
    pub wait_ns: u64,
    /// When the request began in which the thread was, which together with the thread names it; 0: it was in none.
    pub request_start_ns: u64,
    /// The process, as its id in the initial PID namespace.
    pub tgid: u32,
    /// The thread.
    pub tid: u32,
    /// The kernel's stack: its number in the stack maps; negative: an errno, [`STACK_LOST`] or `-EFAULT`, which is that there is none.
    pub kernel_stack: i32,
    /// The stack in user mode, likewise.
    pub user_stack: i32,
    /// One of the `SAMPLE_` kinds.
    pub kind: u16,
    /// [`SAMPLE_FOLLOWED`], [`SAMPLE_HOLDS_RTNL`].
    pub flags: u16,
    /// Unused, 0.
    pub reserved: u32,
    /// The thread's name.
    pub comm: [u8; COMM_BYTES],
}

impl SampleEvent {
    /// The thread's name as far as it is text.
    #[must_use]
    pub fn comm(&self) -> &str {
        text(&self.comm)
    }
}

const _: () = {
    assert!(size_of::<SampleEvent>() == 64 && align_of::<SampleEvent>() == 8);
    assert!(offset_of!(SampleEvent, tgid) == 24);
    assert!(offset_of!(SampleEvent, kind) == 40);
    assert!(offset_of!(SampleEvent, comm) == 48);
};
