//! The control block, and the handshake by which the probes learn whom to follow.

use aya_ebpf::{EbpfContext, Global, helpers::bpf_get_current_pid_tgid, macros::map, maps::Array};
use aya_log_ebpf::info;
use ebpf_common::{Control, Cookie, FOLLOW_EVERYONE, HANDSHAKE_TYPE, Settings};

use crate::{family, request::Header};

#[map]
static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

/// Drawn by the loader, which then sends a request with these numbers. No one else does.
#[unsafe(no_mangle)]
static HANDSHAKE: Global<Cookie> = Global::new(Cookie { sequence: 0, port_id: 0 });

/// Set by the loader before the programs are loaded, so the verifier sees constants and drops what they exclude.
#[unsafe(no_mangle)]
static SETTINGS: Global<Settings> = Global::new(Settings { follow: 0, details: 0, stacks: 0 });

/// One of the `FOLLOW_` constants.
#[inline(always)]
pub(crate) fn follow() -> u32 {
    let settings = (&raw const SETTINGS).cast::<Settings>();
    // SAFETY: a `Global` is what it holds, and the loader has written it before the programs were loaded.
    unsafe { (&raw const (*settings).follow).read_volatile() }
}

/// Whether every process is followed.
#[inline(always)]
pub(crate) fn follows_everyone() -> bool {
    follow() == FOLLOW_EVERYONE
}

/// Whether requests come with what they are about.
#[inline(always)]
pub(crate) fn wants_details() -> bool {
    let settings = (&raw const SETTINGS).cast::<Settings>();
    // SAFETY: as above.
    unsafe { (&raw const (*settings).details).read_volatile() != 0 }
}

/// Whether waits and timers give samples with stacks.
#[inline(always)]
pub(crate) fn wants_stacks() -> bool {
    let settings = (&raw const SETTINGS).cast::<Settings>();
    // SAFETY: as above.
    unsafe { (&raw const (*settings).stacks).read_volatile() != 0 }
}

/// Whether the requests of this thread are followed. For one process this is one comparison.
#[inline(always)]
pub(crate) fn follows(control: &Control, current: Current) -> bool {
    control.target_tgid == current.tgid || family::follows(control, current.tgid)
}

/// The control block, which is always there: the verifier wants to see the check nevertheless.
#[inline(always)]
pub(crate) fn get() -> Option<&'static Control> {
    CONTROL.get(0)
}

/// The thread that runs, and its process; as numbered in the initial PID namespace.
#[derive(Clone, Copy)]
pub(crate) struct Current {
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
}

impl Current {
    #[inline(always)]
    pub(crate) fn get() -> Self {
        let pid_tgid = bpf_get_current_pid_tgid();
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is the thread's id")]
        Self { tgid: (pid_tgid >> 32) as u32, tid: pid_tgid as u32 }
    }
}

/// Makes the current process the target if this is the loader's handshake.
#[inline(always)]
pub(crate) fn handshake(ctx: &impl EbpfContext, header: &Header, tgid: u32) {
    let cookie = HANDSHAKE.load();
    if cookie.sequence == 0
        || header.message_type != HANDSHAKE_TYPE
        || header.sequence != cookie.sequence
        || header.port_id != cookie.port_id
    {
        return;
    }
    let Some(control) = CONTROL.get_ptr_mut(0) else { return };
    // SAFETY: the pointer is to the map's only value. Nobody else writes this field before the handshake is over, and the
    // loader writes the others only before and after it.
    unsafe { (*control).target_tgid = tgid };
    info!(ctx, "following process {} (as numbered in the initial PID namespace)", tgid);
}
