//! Where a thread is: its stacks, and the samples that carry them.
//!
//! Samples only where the loader asks for them: else [`on`] is false to the verifier, and nothing of this remains.

use aya_ebpf::{
    bindings::{BPF_F_USER_STACK, BPF_RB_NO_WAKEUP},
    helpers::{bpf_ktime_get_ns, generated::bpf_get_current_comm},
    macros::map,
    maps::{Array, StackTrace},
    programs::tracing::StackIdContext,
};
use ebpf_common::{
    COMM_BYTES, Control, Counters, OVERFLOW_BUCKETS, PHASE_RECORD, SAMPLE_FOLLOWED, SAMPLE_HOLDS_RTNL,
    SAMPLE_OFF_CPU, SAMPLE_ON_CPU, STACK_BUCKETS, STACK_LOST, SampleEvent,
};

use crate::{
    control::{self, Current},
    counters::count,
    kernel, request,
};

/// Stacks, found again by their hash: leaf first, 127 frames at most.
#[map]
static STACKS: StackTrace = StackTrace::with_max_entries(STACK_BUCKETS, 0);

/// Stacks whose bucket in [`STACKS`] holds another one. Its numbers come after those.
#[map]
static OVERFLOW: StackTrace = StackTrace::with_max_entries(OVERFLOW_BUCKETS, 0);

/// The thread that left the CPU with RTNL in its hands, outside any request that is followed. There is one RTNL, so there is one.
#[map]
static ABSENT: Array<SampleEvent> = Array::with_max_entries(1, 0);

/// `-EFAULT`: there is no such stack, for the thread is in user mode, or has none.
pub(crate) const NO_STACK: i32 = -14;

/// Whether samples are asked for.
#[inline(always)]
pub(crate) fn on() -> bool {
    control::wants_stacks()
}

/// The kernel's stack; negative: an errno.
#[inline(always)]
pub(crate) fn kernel_stack(ctx: &impl StackIdContext) -> i32 {
    stack(ctx, 0)
}

/// The stack in user mode; negative: an errno.
#[inline(always)]
fn user_stack(ctx: &impl StackIdContext) -> i32 {
    stack(ctx, u64::from(BPF_F_USER_STACK))
}

#[inline(always)]
fn stack(ctx: &impl StackIdContext, flags: u64) -> i32 {
    // Without BPF_F_FAST_STACK_CMP, so that two stacks with one hash are not taken for the same.
    let id = match ctx.get_stackid(&STACKS, flags) {
        Err(STACK_LOST) => ctx.get_stackid(&OVERFLOW, flags).map(|id| id + i64::from(STACK_BUCKETS)),
        found => found,
    };
    match id {
        #[expect(clippy::cast_possible_truncation, reason = "a bucket's number")]
        Ok(id) => id as i32,
        Err(errno) => errno,
    }
}

/// The thread that runs, and where it is.
#[inline(always)]
pub(crate) fn here(ctx: &impl StackIdContext, current: Current, kind: u16) -> SampleEvent {
    let mut sample = SampleEvent {
        // SAFETY: a helper without arguments.
        time_ns: unsafe { bpf_ktime_get_ns() },
        wait_ns: 0,
        request_start_ns: 0,
        tgid: current.tgid,
        tid: current.tid,
        kernel_stack: kernel_stack(ctx),
        user_stack: user_stack(ctx),
        kind,
        flags: 0,
        reserved: 0,
        comm: [0; COMM_BYTES],
    };
    // SAFETY: a helper that writes as many bytes as it is told. A name that cannot be had stays empty.
    let _ = unsafe { bpf_get_current_comm(sample.comm.as_mut_ptr().cast(), COMM_BYTES as u32) };
    sample
}

/// Hands a sample to the reader. `lost` picks the counter for those that find the ring buffer full: a timer's and a wait's are not the
/// same, for a timer may interrupt what counts a wait.
#[inline(always)]
pub(crate) fn emit(sample: &SampleEvent, lost: impl FnOnce(&mut Counters) -> &mut u64) {
    if request::EVENTS.output::<SampleEvent>(sample, u64::from(BPF_RB_NO_WAKEUP)).is_err() {
        count(lost);
    }
}

/// A timer has found this thread.
#[inline(always)]
pub(crate) fn on_timer(ctx: &impl StackIdContext, control: &Control) {
    if control.phase != PHASE_RECORD {
        return;
    }
    let current = Current::get();
    let mut flags = 0;
    if control::follows(control, current) {
        flags |= SAMPLE_FOLLOWED;
    }
    if kernel::current_holds(control.rtnl_lock) {
        flags |= SAMPLE_HOLDS_RTNL;
    }
    let request_start_ns = request::identity(current.tid).map_or(0, |(start_ns, _)| start_ns);
    // Of everybody only what has to do with requests: else this were a profile of the whole machine.
    let looked_for =
        request_start_ns != 0 || flags & SAMPLE_HOLDS_RTNL != 0 || flags != 0 && !control::follows_everyone();
    if looked_for {
        emit(&SampleEvent { request_start_ns, flags, ..here(ctx, current, SAMPLE_ON_CPU) }, |c| {
            &mut c.samples_lost
        });
    }
}

/// The thread that runs leaves the CPU, in no request that is followed.
#[inline(always)]
pub(crate) fn leaves(ctx: &impl StackIdContext, control: &Control) {
    if control.phase != PHASE_RECORD || !kernel::current_holds(control.rtnl_lock) {
        return;
    }
    let Some(absent) = ABSENT.get_ptr_mut(0) else { return };
    let current = Current::get();
    let mut sample = here(ctx, current, SAMPLE_OFF_CPU);
    sample.flags = SAMPLE_HOLDS_RTNL;
    if control::follows(control, current) {
        sample.flags |= SAMPLE_FOLLOWED;
    }
    // SAFETY: the map's only value. Only the holder of RTNL writes to it when it leaves, and its return.
    unsafe { *absent = sample };
}

/// Thread `tid` comes back onto a CPU.
#[inline(always)]
pub(crate) fn returns(tid: u32) {
    let Some(absent) = ABSENT.get_ptr_mut(0) else { return };
    // SAFETY: as above.
    let sample = unsafe { &mut *absent };
    if tid != 0 && sample.tid == tid {
        // SAFETY: a helper without arguments.
        sample.wait_ns = unsafe { bpf_ktime_get_ns() }.wrapping_sub(sample.time_ns);
        emit(sample, |c| &mut c.lost_waits);
        sample.tid = 0;
    }
}

/// What a request has left behind on its way off the CPU.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) kernel_stack: i32,
    pub(crate) user_stack: i32,
    pub(crate) flags: u32,
}

impl Place {
    /// Nobody asked.
    pub(crate) const UNKNOWN: Self = Self { kernel_stack: NO_STACK, user_stack: NO_STACK, flags: 0 };

    /// That of the thread that runs, which is in a request that is followed.
    #[inline(always)]
    pub(crate) fn here(ctx: &impl StackIdContext, control: &Control) -> Self {
        let held = if kernel::current_holds(control.rtnl_lock) { SAMPLE_HOLDS_RTNL } else { 0 };
        Self {
            kernel_stack: kernel_stack(ctx),
            user_stack: user_stack(ctx),
            flags: u32::from(SAMPLE_FOLLOWED | held),
        }
    }
}
