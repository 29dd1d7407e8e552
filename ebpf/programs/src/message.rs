//! `rtnetlink_rcv_msg(skb, nlh, extack)`: a message's begin and end, by fentry and fexit or by kprobe and kretprobe.
//!
//! netlink calls it for each message of a packet (`netlink_rcv_skb()`, net/netlink/af_netlink.c), so the messages of one
//! `sendmsg` are told apart.

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_probe_read_kernel,
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use ebpf_common::TRAFFIC_CONTROL_TYPES;

use crate::{
    control::{self, Current},
    detail, kernel,
    request::{self, Header, MessageHeader},
};

#[fentry(function = "rtnetlink_rcv_msg")]
pub(crate) fn fentry_message(ctx: FEntryContext) -> i32 {
    begin(&ctx, ctx.arg(0), ctx.arg(1));
    0
}

#[fexit(function = "rtnetlink_rcv_msg")]
pub(crate) fn fexit_message(ctx: FExitContext) -> i32 {
    if let Ok(verdict) = ctx.ret() {
        end(&ctx, verdict);
    }
    0
}

#[kprobe]
pub(crate) fn kprobe_message(ctx: ProbeContext) -> u32 {
    if let (Some(skb), Some(header)) = (ctx.arg(0), ctx.arg(1)) {
        begin(&ctx, skb, header);
    }
    0
}

#[kretprobe]
pub(crate) fn kretprobe_message(ctx: RetProbeContext) -> u32 {
    end(&ctx, ctx.ret());
    0
}

#[inline(always)]
fn begin(ctx: &impl EbpfContext, skb: u64, header: u64) {
    let Some(control) = control::get() else { return };
    let current = Current::get();
    if control.target_tgid != 0 && !control::follows(control, current) {
        return;
    }
    let address = header;
    // SAFETY: the helper checks the address.
    let Ok(message) = (unsafe { bpf_probe_read_kernel(header as *const MessageHeader) }) else { return };
    if !TRAFFIC_CONTROL_TYPES.contains(&message.message_type) {
        return;
    }
    let header = Header::from(message);
    if control.target_tgid == 0 {
        control::handshake(ctx, &header, current.tgid);
        return;
    }
    let port_id = kernel::sender_of(skb).unwrap_or(header.port_id);
    request::begin(ctx, control, current, &Header { port_id, ..header }, |messages| {
        *messages = 1;
        if detail::on() {
            const HEADER: u64 = size_of::<MessageHeader>() as u64;
            // The kernel has checked that it is no shorter.
            let length = u64::from(message.length).wrapping_sub(HEADER);
            let body = detail::Body { address: address + HEADER, length };
            detail::note::<detail::Kernel>(current.tid, body, kernel::netns_of_message(skb));
        }
    });
}

#[inline(always)]
fn end(ctx: &impl EbpfContext, verdict: i32) {
    if let Some(control) = control::get() {
        let judge = |detail: &mut _, _: &_| detail::judge(detail, verdict);
        request::end(ctx, control, Current::get().tid, verdict, || None, judge);
    }
}
