//! The control block, and the handshake by which the probes learn whom to follow.

use aya_ebpf::{Global, macros::map, maps::Array};
use ebpf_common::Control;

#[map]
static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

/// Drawn by the loader. It sends "a message of this many bytes" to no socket at all, which no one else does.
#[unsafe(no_mangle)]
static HANDSHAKE_COOKIE: Global<u64> = Global::new(0);

/// The control block, which is always there: the verifier wants to see the check nevertheless.
#[inline(always)]
pub(crate) fn get() -> Option<&'static Control> {
    CONTROL.get(0)
}

/// Makes the current process the target if this send is the loader's handshake and there is no target yet.
#[inline(always)]
pub(crate) fn learn_target(buffer: u64, length: u64, tgid: u32) -> bool {
    let cookie = HANDSHAKE_COOKIE.load();
    if cookie == 0 || length != cookie || buffer != 0 {
        return false;
    }
    let Some(control) = CONTROL.get_ptr_mut(0) else { return false };
    // SAFETY: the pointer is to the map's only value. Nobody else writes this field, and the loader writes the others only
    // before and after the handshake.
    unsafe {
        if (*control).target_tgid != 0 {
            return false;
        }
        (*control).target_tgid = tgid;
    }
    true
}
