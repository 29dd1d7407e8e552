//! `sched:sched_switch`: leaving the CPU inside a request.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};
use ebpf_common::tracepoint::sched_switch;

use crate::{record, request};

#[tracepoint]
pub(crate) fn switch(ctx: TracePointContext) -> u32 {
    request::switch_out(record::read_u32(&ctx, &sched_switch::PREV_PID));
    request::switch_in(record::read_u32(&ctx, &sched_switch::NEXT_PID));
    0
}
