//! `syscalls:sys_enter_sendto` and `sys_exit_sendto`: a request's begin and end.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user},
    macros::tracepoint,
    programs::TracePointContext,
};
use aya_log_ebpf::{info, warn};
use ebpf_common::{
    PHASE_RECORD, TRAFFIC_CONTROL_TYPES,
    tracepoint::{sys_enter_sendto, sys_exit_sendto},
};

use crate::{
    control,
    counters::count,
    record,
    request::{self, Claim, Ended, Header},
};

/// `struct nlmsghdr`, include/uapi/linux/netlink.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct MessageHeader {
    length: u32,
    message_type: u16,
    flags: u16,
    sequence: u32,
    port_id: u32,
}

#[tracepoint]
pub(crate) fn enter_sendto(ctx: TracePointContext) -> u32 {
    let Some(control) = control::get() else { return 0 };
    let pid_tgid = bpf_get_current_pid_tgid();
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the thread's id")]
    let (tgid, tid) = ((pid_tgid >> 32) as u32, pid_tgid as u32);
    if control.target_tgid != tgid {
        if control.target_tgid == 0 {
            handshake(&ctx, tgid);
        }
        return 0;
    }
    let length = record::read_u64(&ctx, &sys_enter_sendto::LEN);
    if length < size_of::<MessageHeader>() as u64 {
        return 0;
    }
    let buffer = record::read_u64(&ctx, &sys_enter_sendto::BUFF) as *const MessageHeader;
    let recording = control.phase == PHASE_RECORD;
    // SAFETY: the helper checks the address and reports what it cannot read.
    let Ok(message) = (unsafe { bpf_probe_read_user(buffer) }) else {
        if recording && count(|c| &mut c.lost_header) == 0 {
            warn!(&ctx, "thread {}: the first 16 bytes of a send could not be read", tid);
        }
        return 0;
    };
    if !TRAFFIC_CONTROL_TYPES.contains(&message.message_type)
        || u64::from(message.length) > length
        || (message.length as usize) < size_of::<MessageHeader>()
    {
        return 0;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a file descriptor is an int")]
    let header = Header {
        message_type: message.message_type,
        flags: message.flags,
        sequence: message.sequence,
        port_id: message.port_id,
        fd: record::read_u64(&ctx, &sys_enter_sendto::FD) as i32,
    };
    match request::begin(tid, &header) {
        Claim::Fresh => {}
        Claim::Reopened => {
            if recording && count(|c| &mut c.unmatched) == 0 {
                warn!(&ctx, "thread {}: the end of a request was not seen", tid);
            }
        }
        Claim::Taken { by } => {
            if recording && count(|c| &mut c.lost_slot) == 0 {
                warn!(&ctx, "threads {} and {} share a slot: the later one's requests are lost", by, tid);
            }
        }
    }
    0
}

#[inline(always)]
fn handshake(ctx: &TracePointContext, tgid: u32) {
    let buffer = record::read_u64(ctx, &sys_enter_sendto::BUFF);
    let length = record::read_u64(ctx, &sys_enter_sendto::LEN);
    if control::learn_target(buffer, length, tgid) {
        info!(ctx, "following process {} (as numbered in the initial PID namespace)", tgid);
    }
}

#[tracepoint]
pub(crate) fn exit_sendto(ctx: TracePointContext) -> u32 {
    let Some(control) = control::get() else { return 0 };
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the thread's id")]
    let tid = bpf_get_current_pid_tgid() as u32;
    #[expect(clippy::cast_possible_truncation, reason = "sendto(2) returns an int")]
    let result = record::read_u64(&ctx, &sys_exit_sendto::RET) as i32;
    if request::end(tid, result, control) == (Ended::RingFull { first: true }) {
        warn!(&ctx, "the ring buffer is full: events are being lost");
    }
    0
}
