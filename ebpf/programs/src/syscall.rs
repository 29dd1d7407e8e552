//! System calls that send: a request's begin and end, where neither fexit nor kprobes are to be had.
//!
//! A request ends at `sock:sock_send_length` where the kernel has it (6.3 and later), because that is passed by system calls
//! on sockets only; else at the system call's own exit.

use aya_ebpf::{helpers::bpf_probe_read_user, macros::tracepoint, programs::TracePointContext};
use aya_log_ebpf::warn;
use ebpf_common::{
    Control, Detail, FOLLOW_ONE, PHASE_RECORD, RequestEvent, TRAFFIC_CONTROL_TYPES,
    tracepoint::{sock_send_length, sys_enter_sendmsg, sys_enter_sendto, sys_exit_sendmsg, sys_exit_sendto},
};

use crate::{
    control::{self, Current},
    counters::count,
    detail, kernel, record,
    request::{self, Header, MessageHeader},
};

/// `AF_NETLINK`, include/linux/socket.h.
const AF_NETLINK: u16 = 16;
/// `NETLINK_ROUTE`, include/uapi/linux/netlink.h.
const NETLINK_ROUTE: u16 = 0;

/// How many messages of a buffer are counted at most.
const MAX_MESSAGES: u16 = 512;

/// `struct user_msghdr`, include/linux/socket.h, as far as it is needed.
#[repr(C)]
#[derive(Clone, Copy)]
struct SocketMessage {
    name: u64,
    name_length: u64,
    segments: u64,
    segment_count: u64,
}

/// `struct iovec`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Segment {
    base: u64,
    length: u64,
}

impl Segment {
    const NONE: Self = Self { base: 0, length: 0 };
}

/// What is sent, as far as it is looked at.
#[derive(Clone, Copy)]
struct Sent {
    first: Segment,
    /// Where the message goes on when its header is a segment by itself: so `tc` asks for lists (`rtnl_dump_request()`, iproute2).
    /// Else without length. No `Option`: it would be passed on with its padding, which older verifiers do not let be read.
    rest: Segment,
    /// There is nothing else.
    whole: bool,
}

impl Sent {
    /// How long the first message may be at most, as far as that is known.
    #[inline(always)]
    fn length(&self) -> Option<u64> {
        self.whole.then(|| self.first.length + self.rest.length)
    }

    /// What follows the header of the first message, which is so long.
    #[inline(always)]
    fn body(&self, message_length: u32) -> detail::Body {
        const HEADER: u64 = size_of::<MessageHeader>() as u64;
        let mut address = self.first.base + HEADER;
        let mut length = self.first.length - HEADER;
        if self.rest.length != 0 {
            address = self.rest.base;
            length = self.rest.length;
        }
        let said = u64::from(message_length) - HEADER;
        detail::Body { address, length: if said < length { said } else { length } }
    }
}

#[tracepoint]
pub(crate) fn enter_sendto(ctx: TracePointContext) -> u32 {
    let Some(control) = control::get() else { return 0 };
    let current = Current::get();
    if control.target_tgid == 0 || control::follows(control, current) {
        let base = record::read_u64(&ctx, &sys_enter_sendto::BUFF);
        let length = record::read_u64(&ctx, &sys_enter_sendto::LEN);
        let sent = Sent { first: Segment { base, length }, rest: Segment::NONE, whole: true };
        begin(&ctx, control, current, sent);
    }
    0
}

#[tracepoint]
pub(crate) fn enter_sendmsg(ctx: TracePointContext) -> u32 {
    let Some(control) = control::get() else { return 0 };
    let current = Current::get();
    if control.target_tgid != 0 && !control::follows(control, current) {
        return 0;
    }
    let message = record::read_u64(&ctx, &sys_enter_sendmsg::MSG) as *const SocketMessage;
    // SAFETY: the helper checks the address and reports what it cannot read.
    let Ok(message) = (unsafe { bpf_probe_read_user(message) }) else { return 0 };
    if message.segment_count == 0 {
        return 0;
    }
    let segments = message.segments as *const Segment;
    // SAFETY: as above.
    let Ok(first) = (unsafe { bpf_probe_read_user(segments) }) else { return 0 };
    let mut rest = Segment::NONE;
    if message.segment_count == 2
        && first.length == size_of::<MessageHeader>() as u64
        // SAFETY: as above; the second of two.
        && let Ok(second) = unsafe { bpf_probe_read_user(segments.wrapping_add(1)) }
    {
        rest = second;
    }
    let whole = message.segment_count == 1 || rest.length != 0;
    begin(&ctx, control, current, Sent { first, rest, whole });
    0
}

#[inline(always)]
fn begin(ctx: &TracePointContext, control: &Control, current: Current, sent: Sent) {
    let first = sent.first;
    if first.length < size_of::<MessageHeader>() as u64 {
        return;
    }
    // SAFETY: the helper checks the address and reports what it cannot read.
    let Ok(message) = (unsafe { bpf_probe_read_user(first.base as *const MessageHeader) }) else {
        if control.phase == PHASE_RECORD && count(|c| &mut c.lost_header) == 0 {
            warn!(ctx, "thread {}: the first 16 bytes of a send could not be read", current.tid);
        }
        return;
    };
    // With several segments, the first may end within the message.
    let whole = sent.length();
    if !TRAFFIC_CONTROL_TYPES.contains(&message.message_type)
        || whole.is_some_and(|length| u64::from(message.length) > length)
        || (message.length as usize) < size_of::<MessageHeader>()
    {
        return;
    }
    let header = Header::from(message);
    if control.target_tgid == 0 {
        control::handshake(ctx, &header, current.tgid);
        return;
    }
    request::begin(ctx, control, current, &header, |messages| {
        match whole {
            Some(length) if aligned(message.length) >= length => *messages = 1,
            Some(_) if sent.rest.length == 0 => count_messages(first, messages),
            _ => *messages = 0,
        }
        if detail::on() {
            // The socket is known at the end only.
            detail::note::<detail::User>(current.tid, sent.body(message.length), None);
        }
    });
}

/// `NLMSG_ALIGN`
#[inline(always)]
fn aligned(length: u32) -> u64 {
    (u64::from(length) + 3) & !3
}

/// How many messages the buffer has, 0 when there are more than [`MAX_MESSAGES`] or one cannot be read.
#[inline(always)]
fn count_messages(buffer: Segment, messages: &mut u16) {
    *messages = 0;
    let mut at = 0_u64;
    for _ in 0..MAX_MESSAGES {
        if at + size_of::<MessageHeader>() as u64 > buffer.length {
            return;
        }
        // SAFETY: the helper checks the address.
        let Ok(length) = (unsafe { bpf_probe_read_user((buffer.base + at) as *const u32) }) else { break };
        if (length as usize) < size_of::<MessageHeader>() {
            return;
        }
        *messages += 1;
        at += aligned(length);
    }
    *messages = 0;
}

#[tracepoint]
pub(crate) fn sent(ctx: TracePointContext) -> u32 {
    if record::read_u16(&ctx, &sock_send_length::FAMILY) == AF_NETLINK
        && record::read_u16(&ctx, &sock_send_length::PROTOCOL) == NETLINK_ROUTE
        && let Some(control) = control::get()
    {
        #[expect(clippy::cast_possible_wrap, reason = "it is an int")]
        let result = record::read_u32(&ctx, &sock_send_length::RET) as i32;
        let socket = record::read_u64(&ctx, &sock_send_length::SK);
        let complete = |detail: &mut Detail, event: &RequestEvent| {
            if let Some(netns) = kernel::netns_of(socket) {
                detail::place(detail, netns);
            }
            if result < 0 {
                detail::judge(detail, result);
            } else if event.messages == 1
                && let Some(verdict) = kernel::verdict_of(socket, event.sequence)
            {
                detail::judge(detail, verdict);
            }
        };
        request::end(&ctx, control, Current::get().tid, result, || kernel::port_of(socket), complete);
    } else if control::follow() != FOLLOW_ONE {
        // Whoever sends what looks like a request to somebody else is no sender of requests.
        request::abandon(Current::get().tid);
    }
    0
}

#[tracepoint]
pub(crate) fn exit_sendto(ctx: TracePointContext) -> u32 {
    exit(&ctx, record::read_u64(&ctx, &sys_exit_sendto::RET))
}

#[tracepoint]
pub(crate) fn exit_sendmsg(ctx: TracePointContext) -> u32 {
    exit(&ctx, record::read_u64(&ctx, &sys_exit_sendmsg::RET))
}

#[inline(always)]
fn exit(ctx: &TracePointContext, returned: u64) -> u32 {
    if let Some(control) = control::get() {
        #[expect(clippy::cast_possible_truncation, reason = "these system calls return an int")]
        let returned = returned as i32;
        let complete = |detail: &mut Detail, _: &RequestEvent| {
            if returned < 0 {
                detail::judge(detail, returned);
            }
        };
        request::end(ctx, control, Current::get().tid, returned, || None, complete);
    }
    0
}
