//! `sched:sched_switch`: leaving the CPU inside a request, and with RTNL in hand.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};
use ebpf_common::{PHASE_RECORD, tracepoint::sched_switch};

use crate::{
    control, record, request,
    stacks::{self, Place},
};

#[tracepoint]
pub(crate) fn switch(ctx: TracePointContext) -> u32 {
    let leaving = record::read_u32(&ctx, &sched_switch::PREV_PID);
    let coming = record::read_u32(&ctx, &sched_switch::NEXT_PID);
    if !stacks::on() {
        request::switch_out(leaving, || Place::UNKNOWN);
        request::switch_in(coming, false);
        return 0;
    }
    let Some(control) = control::get() else { return 0 };
    request::switch_out(leaving, || Place::here(&ctx, control));
    if !request::is_open(leaving) {
        stacks::leaves(&ctx, control);
    }
    request::switch_in(coming, control.phase == PHASE_RECORD);
    stacks::returns(coming);
    0
}
