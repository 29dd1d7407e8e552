//! Following more than one process: some with whatever they start, or all.

use aya_ebpf::{
    macros::{map, raw_tracepoint},
    maps::HashMap,
    programs::RawTracePointContext,
};
use ebpf_common::{Control, FOLLOW_EVERYONE, FOLLOW_FAMILIES, TARGET_BY_SETTINGS};

use crate::{
    control::{self, Current},
    counters::count,
    kernel, request,
};

/// The followed processes, by their ids in the initial PID namespace. The loader sets the size.
#[map]
static FOLLOWED: HashMap<u32, u8> = HashMap::with_max_entries(1, 0);

#[inline(always)]
fn holds(tgid: u32) -> bool {
    FOLLOWED.get_ptr(tgid).is_some()
}

/// Whether [`ebpf_common::Settings::follow`] includes this process.
#[inline(always)]
pub(crate) fn follows(control: &Control, tgid: u32) -> bool {
    match control::follow() {
        FOLLOW_FAMILIES => control.target_tgid == TARGET_BY_SETTINGS && holds(tgid),
        FOLLOW_EVERYONE => control.target_tgid == TARGET_BY_SETTINGS,
        _ => false,
    }
}

/// `sched_process_fork(parent, child)`: the child has not run yet (`kernel_clone()`, kernel/fork.c), so nothing of it is missed.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub(crate) fn process_fork(ctx: RawTracePointContext) -> i32 {
    if !holds(Current::get().tgid) {
        return 0;
    }
    let Some((tid, tgid)) = kernel::ids_of(ctx.arg(1)) else { return 0 };
    // Not a thread.
    if tid == tgid && FOLLOWED.insert(tgid, 0, 0).is_err() {
        count(|c| &mut c.lost_processes);
    }
    0
}

/// `sched_process_exit(task)`, in the thread that ends. Its id is handed out again only after this.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub(crate) fn process_exit(ctx: RawTracePointContext) -> i32 {
    let current = Current::get();
    // Whatever it was in the middle of has no end: its place is free for another thread.
    request::abandon(current.tid);
    if control::follow() != FOLLOW_FAMILIES || !holds(current.tgid) {
        return 0;
    }
    // The first thread may end before the others.
    let last = match kernel::threads_alive(ctx.arg(0)) {
        Some(alive) => alive <= 0,
        None => current.tid == current.tgid,
    };
    if last {
        let _ = FOLLOWED.remove(current.tgid);
    }
    0
}
