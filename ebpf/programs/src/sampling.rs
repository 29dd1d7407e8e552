//! A perf event on each CPU: which kernel functions the traced process is in.

use aya_ebpf::{
    macros::{map, perf_event},
    maps::PerCpuArray,
    programs::PerfEventContext,
};
use ebpf_common::{OVERFLOW_BUCKETS, STACK_BUCKETS};

use crate::{
    control::{self, Current},
    counters::count,
    stacks,
};

/// Samples of each stack. Stack ids are the buckets' numbers, so this cannot be full. The overflow's come last.
#[map]
static STACK_COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(STACK_BUCKETS + OVERFLOW_BUCKETS, 0);

#[perf_event]
pub(crate) fn sample(ctx: PerfEventContext) -> u32 {
    let Some(control) = control::get() else { return 0 };
    if control.target_tgid == 0 {
        return 0;
    }
    if stacks::on() {
        stacks::on_timer(&ctx, control);
        return 0;
    }
    if control.target_tgid != Current::get().tgid {
        return 0;
    }
    let id = stacks::kernel_stack(&ctx);
    match u32::try_from(id) {
        Ok(id) => {
            let Some(counter) = STACK_COUNTS.get_ptr_mut(id) else { return 0 };
            // SAFETY: this CPU's own value.
            unsafe { *counter += 1 };
            count(|c| &mut c.samples_kernel);
        }
        Err(_) if id == stacks::NO_STACK => {
            count(|c| &mut c.samples_user);
        }
        Err(_) => {
            count(|c| &mut c.samples_lost);
        }
    }
    0
}
