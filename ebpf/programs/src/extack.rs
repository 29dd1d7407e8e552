//! `netlink:netlink_extack`: what the kernel says in words inside a request.

use aya_ebpf::{
    EbpfContext as _, bindings::BPF_RB_NO_WAKEUP, helpers::bpf_probe_read_kernel_str_bytes,
    macros::tracepoint, programs::TracePointContext,
};
use ebpf_common::{EXT_ACK_BYTES, ExtAckEvent, PHASE_RECORD, tracepoint::netlink_extack};

use crate::{
    control::{self, Current},
    counters::count,
    record, request,
};

#[tracepoint]
pub(crate) fn extack(ctx: TracePointContext) -> u32 {
    let Some(control) = control::get() else { return 0 };
    if control.phase != PHASE_RECORD {
        return 0;
    }
    let tid = Current::get().tid;
    let Some((start_ns, sequence)) = request::identity(tid) else { return 0 };
    // A dynamic array of a tracepoint's record: offset in the lower half, length in the upper.
    let offset = record::read_u32(&ctx, &netlink_extack::MSG) & 0xffff;
    let mut event = ExtAckEvent { tid, sequence, start_ns, text: [0; EXT_ACK_BYTES] };
    // The record lies in the kernel's memory, and this helper may read any of that.
    let source = (ctx.as_ptr() as u64 + u64::from(offset)) as *const u8;
    // SAFETY: the helper checks the address; what it cannot read stays zero.
    let _ = unsafe { bpf_probe_read_kernel_str_bytes(source, &mut event.text) };
    let Some(mut entry) = request::EVENTS.reserve::<ExtAckEvent>(0) else {
        count(|c| &mut c.lost_ext_acks);
        return 0;
    };
    entry.write(event);
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    0
}
