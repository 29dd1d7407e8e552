//! What the loader tells the probes while they run.

use core::mem::{align_of, offset_of, size_of};

/// Phase in which requests are followed but nothing is emitted or counted.
pub const PHASE_SILENT: u32 = 0;
/// Like [`PHASE_SILENT`], and the mutexes that requests wait for are counted by address.
pub const PHASE_CALIBRATE: u32 = 1;
/// Phase in which each request gives an event.
pub const PHASE_RECORD: u32 = 2;

/// The one control block.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Process whose requests are followed, as its id in the initial PID namespace; 0 until the handshake. Written by the
    /// probe, because a loader inside a container does not know it.
    pub target_tgid: u32,
    /// One of the `PHASE_` constants.
    pub phase: u32,
    /// Address of `rtnl_mutex`; 0 when it is not known, and then every mutex counts as RTNL.
    pub rtnl_lock: u64,
}

const _: () = {
    assert!(size_of::<Control>() == 16 && align_of::<Control>() == 8);
    assert!(offset_of!(Control, rtnl_lock) == 8);
};
