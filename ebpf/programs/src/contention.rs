//! `lock:contention_begin` and `contention_end`: waiting for RTNL inside a request.

use aya_ebpf::{
    macros::{map, tracepoint},
    maps::HashMap,
    programs::TracePointContext,
};
use ebpf_common::{
    CALIBRATION_LOCKS, LCB_F_MUTEX, PHASE_CALIBRATE, PHASE_RECORD, SAMPLE_FOLLOWED, SAMPLE_RTNL_WAIT,
    tracepoint::{contention_begin, contention_end},
};

use crate::{
    control::{self, Current},
    record, request, stacks,
};

/// How often a request waited for each mutex, while calibrating.
#[map]
static CALIBRATION: HashMap<u64, u64> = HashMap::with_max_entries(CALIBRATION_LOCKS, 0);

#[tracepoint]
pub(crate) fn begin_contention(ctx: TracePointContext) -> u32 {
    let Some(control) = control::get() else { return 0 };
    let lock = record::read_u64(&ctx, &contention_begin::LOCK_ADDR);
    if control.rtnl_lock == 0 {
        if record::read_u32(&ctx, &contention_begin::FLAGS) & LCB_F_MUTEX == 0 {
            return 0;
        }
    } else if control.rtnl_lock != lock {
        return 0;
    }
    let tid = Current::get().tid;
    if control.phase == PHASE_CALIBRATE && request::is_open(tid) {
        calibrate(lock);
    }
    request::wait_begin(tid, lock);
    0
}

#[inline(always)]
fn calibrate(lock: u64) {
    if let Some(count) = CALIBRATION.get_ptr_mut(&lock) {
        // SAFETY: a valid pointer into the map. An increment lost to another CPU does not change the verdict.
        unsafe { *count += 1 };
    } else {
        // A full map leaves a mutex out, and then none dominates: the loader says so.
        let _ = CALIBRATION.insert(&lock, &1, 0);
    }
}

#[tracepoint]
pub(crate) fn end_contention(ctx: TracePointContext) -> u32 {
    let Some(control) = control::get() else { return 0 };
    let lock = record::read_u64(&ctx, &contention_end::LOCK_ADDR);
    if control.rtnl_lock == 0 || control.rtnl_lock == lock {
        let current = Current::get();
        if let Some(waited) = request::wait_end(current.tid, lock)
            && stacks::on()
            && control.phase == PHASE_RECORD
        {
            // Where it waited it still is.
            let mut sample = stacks::here(&ctx, current, SAMPLE_RTNL_WAIT);
            sample.time_ns = waited.start_ns;
            sample.wait_ns = waited.wait_ns;
            sample.request_start_ns = waited.request_start_ns;
            sample.flags = SAMPLE_FOLLOWED;
            stacks::emit(&sample, |c| &mut c.lost_waits);
        }
    }
    0
}
