//! A perf event on each CPU: which kernel functions the traced process is in.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{map, perf_event},
    maps::{PerCpuArray, StackTrace},
    programs::{PerfEventContext, tracing::StackIdContext as _},
};
use ebpf_common::{OVERFLOW_BUCKETS, STACK_BUCKETS};

use crate::{control, counters::count};

/// Kernel stacks, found again by their hash: leaf first, 127 frames at most.
#[map]
static STACKS: StackTrace = StackTrace::with_max_entries(STACK_BUCKETS, 0);

/// Stacks whose bucket in [`STACKS`] holds another one.
#[map]
static OVERFLOW: StackTrace = StackTrace::with_max_entries(OVERFLOW_BUCKETS, 0);

/// Samples of each stack. Stack ids are the buckets' numbers, so this cannot be full. The overflow's come last.
#[map]
static STACK_COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(STACK_BUCKETS + OVERFLOW_BUCKETS, 0);

/// `-EFAULT`: there is no kernel stack, because the sample hit user mode.
const NO_STACK: i32 = -14;

/// `-EEXIST`: another stack has the same hash.
const BUCKET_TAKEN: i32 = -17;

#[perf_event]
pub(crate) fn sample(ctx: PerfEventContext) -> u32 {
    let Some(control) = control::get() else { return 0 };
    if control.target_tgid == 0 || u64::from(control.target_tgid) != bpf_get_current_pid_tgid() >> 32 {
        return 0;
    }
    // Without BPF_F_FAST_STACK_CMP, so that two stacks with one hash are not taken for the same.
    let id = match ctx.get_stackid(&STACKS, 0) {
        Err(BUCKET_TAKEN) => ctx.get_stackid(&OVERFLOW, 0).map(|id| id + i64::from(STACK_BUCKETS)),
        found => found,
    };
    match id {
        Ok(id) => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bucket's number")]
            let Some(counter) = STACK_COUNTS.get_ptr_mut(id as u32) else { return 0 };
            // SAFETY: this CPU's own value.
            unsafe { *counter += 1 };
            count(|c| &mut c.samples_kernel);
        }
        Err(NO_STACK) => {
            count(|c| &mut c.samples_user);
        }
        Err(_) => {
            count(|c| &mut c.samples_lost);
        }
    }
    0
}
