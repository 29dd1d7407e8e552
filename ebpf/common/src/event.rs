//! One traffic-control request as the kernel saw it.

use core::{
    mem::{align_of, offset_of, size_of},
    ops::RangeInclusive,
};

/// Netlink message types that are traffic control: `RTM_NEWQDISC` (36) to `RTM_GETTFILTER` (46), include/uapi/linux/rtnetlink.h.
pub const TRAFFIC_CONTROL_TYPES: RangeInclusive<u16> = 36..=46;

/// One request: one `sendto(2)` whose buffer begins with a traffic-control message.
///
/// The kernel handles a netlink request inside the sender's system call, so the call's duration is the request's. It divides
/// into three parts that do not overlap:
///
/// `syscall_ns = rtnl_wait_ns + off_cpu_ns + on-CPU time`
///
/// A request is recognised by its process and by the first message of its buffer; what a second message in the same
/// buffer costs is counted to the first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestEvent {
    /// When the system call was entered; ns of `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// From entering the system call to leaving it; ns. Without the probes' own work at both ends.
    pub syscall_ns: u64,
    /// Time spent waiting for the RTNL mutex, whether spinning on a CPU or asleep; ns.
    pub rtnl_wait_ns: u64,
    /// Time off the CPU outside any wait for RTNL: other locks, RCU, memory, preemption; ns.
    pub off_cpu_ns: u64,
    /// `nlmsg_seq` as the sender wrote it.
    pub sequence: u32,
    /// `nlmsg_pid` as the sender wrote it. The kernel does not check it: 0 when the sender left it out.
    pub port_id: u32,
    /// The sending thread, as its id in the initial PID namespace.
    pub tid: u32,
    /// The CPU on which the system call ended.
    pub cpu: u32,
    /// What the system call returned: the number of bytes, or a negative errno. The kernel's verdict on the *request* comes in
    /// its netlink answer, not here.
    pub result: i32,
    /// The file descriptor that was sent to.
    pub fd: i32,
    /// `nlmsg_type`, one of [`TRAFFIC_CONTROL_TYPES`].
    pub message_type: u16,
    /// `nlmsg_flags` (`NLM_F_*`).
    pub flags: u16,
    /// How often the thread left the CPU outside a wait for RTNL; stays at 65,535 when there were more.
    pub off_cpu_switches: u16,
    /// How often the thread had to wait for RTNL; stays at 65,535 when there were more.
    pub rtnl_contentions: u16,
}

impl RequestEvent {
    /// What is left of the system call when both kinds of waiting are taken off: time on the CPU; ns.
    #[must_use]
    pub const fn on_cpu_ns(&self) -> u64 {
        self.syscall_ns.saturating_sub(self.rtnl_wait_ns).saturating_sub(self.off_cpu_ns)
    }
}

const _: () = {
    assert!(size_of::<RequestEvent>() == 64 && align_of::<RequestEvent>() == 8);
    assert!(offset_of!(RequestEvent, off_cpu_ns) == 24);
    assert!(offset_of!(RequestEvent, sequence) == 32);
    assert!(offset_of!(RequestEvent, cpu) == 44);
    assert!(offset_of!(RequestEvent, result) == 48);
    assert!(offset_of!(RequestEvent, message_type) == 56);
    assert!(offset_of!(RequestEvent, rtnl_contentions) == 62);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_cpu_is_what_waiting_leaves() {
        let event =
            RequestEvent { syscall_ns: 100, rtnl_wait_ns: 60, off_cpu_ns: 15, ..RequestEvent::default() };
        assert_eq!(event.on_cpu_ns(), 25);
    }

    #[test]
    fn on_cpu_never_wraps_around() {
        let event = RequestEvent { syscall_ns: 10, rtnl_wait_ns: 60, ..RequestEvent::default() };
        assert_eq!(event.on_cpu_ns(), 0);
    }
}
