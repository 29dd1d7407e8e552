//! One traffic-control request as the kernel saw it.

use core::{
    mem::{align_of, offset_of, size_of},
    ops::RangeInclusive,
};

use crate::sample::SampleEvent;

/// Netlink message types that are traffic control: `RTM_NEWQDISC` (36) to `RTM_GETTFILTER` (46), include/uapi/linux/rtnetlink.h.
pub const TRAFFIC_CONTROL_TYPES: RangeInclusive<u16> = 36..=46;

/// Bytes of a thread's name, the terminating zero included (`TASK_COMM_LEN`, include/linux/sched.h).
pub const COMM_BYTES: usize = 16;

/// Bytes of an ext-ack text that are kept. The kernel's own limit for a text that it formats is 80 (`NETLINK_MAX_FMTMSG_LEN`,
/// include/linux/netlink.h).
pub const EXT_ACK_BYTES: usize = 104;

/// A part of a request that is timed by a pair of probes of its own.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    /// rtnetlink's handler: `tc_modify_qdisc`, `tc_get_qdisc`, `tc_ctl_tclass`, `tc_new_tfilter` and their like.
    Handler = 0,
    /// `qdisc_create`: finding the qdisc's module, allocating and initialising it.
    QdiscCreate = 1,
    /// The qdisc's own operation on a class: `htb_change_class`, `htb_delete`.
    ClassOperation = 2,
    /// `synchronize_rcu` and its expedited form: waiting until no CPU can still see what was unlinked.
    Rcu = 3,
}

/// How many sections there are.
pub const SECTIONS: usize = 4;

impl Section {
    /// All, in the order of their numbers.
    pub const ALL: [Self; SECTIONS] = [Self::Handler, Self::QdiscCreate, Self::ClassOperation, Self::Rcu];

    /// The section's bit in [`RequestEvent::sections_seen`].
    #[must_use]
    pub const fn bit(self) -> u16 {
        1 << self as u32
    }
}

/// Bit of [`RequestEvent::sections_seen`] that is set when [`RequestEvent::rtnl_hold_ns`] was measured.
pub const RTNL_HOLD_SEEN: u16 = 1 << SECTIONS;

/// One request.
///
/// What it covers depends on the kind of probes. With fexit and kprobes it is one netlink message, from entering
/// `rtnetlink_rcv_msg` to leaving it. With tracepoints it is one system call that sends, from its entry to the moment at
/// which the socket's own `sendmsg` has returned, whatever the number of messages in its buffer.
///
/// The kernel handles a netlink request inside the sender's system call, so its time divides into three parts that do not overlap:
///
/// `total_ns = rtnl_wait_ns + off_cpu_ns + on-CPU time`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestEvent {
    /// When it began; ns of `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// From its begin to its end; ns. Without the probes' own work at both ends.
    pub total_ns: u64,
    /// Time spent waiting for the RTNL mutex, whether spinning on a CPU or asleep; ns.
    pub rtnl_wait_ns: u64,
    /// Time off the CPU outside any wait for RTNL: other locks, RCU, memory, preemption; ns.
    pub off_cpu_ns: u64,
    /// Time for which the request held RTNL; ns. Measured when [`RTNL_HOLD_SEEN`] is set.
    pub rtnl_hold_ns: u64,
    /// Time in each [`Section`], on and off the CPU; ns. Measured when the section's bit is set in
    /// [`RequestEvent::sections_seen`].
    pub section_ns: [u64; SECTIONS],
    /// `nlmsg_seq` as the sender wrote it.
    pub sequence: u32,
    /// The sending socket's port id. With tracepoints, and where the kernel's structures cannot be read, it is `nlmsg_pid` as the sender
    /// wrote it, which the kernel does not check; where it left that out, the socket's, or 0 when that cannot be read.
    pub port_id: u32,
    /// The sending process, as its id in the initial PID namespace.
    pub tgid: u32,
    /// The sending thread, as its id in the initial PID namespace.
    pub tid: u32,
    /// The CPU on which it ended.
    pub cpu: u32,
    /// With fexit and kprobes the kernel's verdict: 0 or a negative errno. With tracepoints what the system call returned: the number
    /// of bytes, or a negative errno when nothing was sent at all.
    pub result: i32,
    /// Thread that held RTNL when the request last began to wait for it; 0 when it did not wait or the holder could not be told.
    pub holder_tid: u32,
    /// That thread's process.
    pub holder_tgid: u32,
    /// That thread's name.
    pub holder_comm: [u8; COMM_BYTES],
    /// `nlmsg_type`, one of [`TRAFFIC_CONTROL_TYPES`].
    pub message_type: u16,
    /// `nlmsg_flags` (`NLM_F_*`).
    pub flags: u16,
    /// How often the thread left the CPU outside a wait for RTNL; stays at 65,535 when there were more.
    pub off_cpu_switches: u16,
    /// How often the thread had to wait for RTNL; stays at 65,535 when there were more.
    pub rtnl_contentions: u16,
    /// How many messages it covers: 1 with fexit and kprobes. With tracepoints as many as the buffer has; 0 when they could not be
    /// counted. Sequence number, type and flags are the first one's.
    pub messages: u16,
    /// Which parts were measured: [`Section::bit`], [`RTNL_HOLD_SEEN`].
    pub sections_seen: u16,
    /// Unused, 0.
    pub reserved: u32,
}

impl RequestEvent {
    /// What is left when both kinds of waiting are taken off: time on the CPU; ns.
    #[must_use]
    pub const fn on_cpu_ns(&self) -> u64 {
        self.total_ns.saturating_sub(self.rtnl_wait_ns).saturating_sub(self.off_cpu_ns)
    }

    /// Time in a section; ns. `None` when the request did not come through it, or no probe was there.
    #[must_use]
    pub fn section(&self, section: Section) -> Option<u64> {
        (self.sections_seen & section.bit() != 0).then(|| self.section_ns[section as usize])
    }

    /// Time for which the request held RTNL; ns. `None` where that was not measured.
    #[must_use]
    pub fn rtnl_hold(&self) -> Option<u64> {
        (self.sections_seen & RTNL_HOLD_SEEN != 0).then_some(self.rtnl_hold_ns)
    }

    /// The holder's name as far as it is text; empty when it is not known.
    #[must_use]
    pub fn holder_name(&self) -> &str {
        text(&self.holder_comm)
    }
}

/// What the kernel said in words about a request (`NL_SET_ERR_MSG`, include/linux/netlink.h). It comes before the
/// [`RequestEvent`] of the same thread, and belongs to it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtAckEvent {
    /// The sending thread.
    pub tid: u32,
    /// The request's sequence number.
    pub sequence: u32,
    /// When the request began, which together with the thread names it; ns of `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// The text, ended by a zero, cut off where it is longer.
    pub text: [u8; EXT_ACK_BYTES],
}

impl ExtAckEvent {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        text(&self.text)
    }
}

/// What a request was about. Each part says in [`Detail::known`] whether it could be read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Detail {
    /// Which of the fields were read: the `KNOWN_` bits.
    pub known: u32,
    /// The inode of the sending socket's network namespace.
    pub netns: u32,
    /// `tcmsg.tcm_ifindex`
    pub ifindex: i32,
    /// `tcmsg.tcm_handle`
    pub handle: u32,
    /// `tcmsg.tcm_parent`
    pub parent: u32,
    /// `tcmsg.tcm_info`: of filters, priority and protocol.
    pub info: u32,
    /// The kernel's verdict: 0 or a negative errno.
    pub verdict: i32,
    /// Unused, 0.
    pub reserved: u32,
    /// The sending thread's name, ended by a zero.
    pub comm: [u8; COMM_BYTES],
    /// `TCA_KIND`, ended by a zero.
    pub kind: [u8; KIND_BYTES],
}

/// Bytes of a kind's name, the terminating zero included (`IFNAMSIZ`, which `rtm_tca_policy` allows it, net/sched/sch_api.c).
pub const KIND_BYTES: usize = 16;

/// In [`Detail::known`]: the fields of `tcmsg`.
pub const KNOWN_MESSAGE: u32 = 1;
/// In [`Detail::known`]: [`Detail::kind`].
pub const KNOWN_KIND: u32 = 1 << 1;
/// In [`Detail::known`]: [`Detail::netns`].
pub const KNOWN_NETNS: u32 = 1 << 2;
/// In [`Detail::known`]: [`Detail::verdict`].
pub const KNOWN_VERDICT: u32 = 1 << 3;
/// In [`Detail::known`]: [`Detail::comm`].
pub const KNOWN_COMM: u32 = 1 << 4;

impl Detail {
    /// Whether all of these `KNOWN_` bits are set.
    #[must_use]
    pub const fn knows(&self, bits: u32) -> bool {
        self.known & bits == bits
    }

    /// The sending thread's name.
    #[must_use]
    pub fn comm(&self) -> Option<&str> {
        self.knows(KNOWN_COMM).then(|| text(&self.comm))
    }

    /// The kind, if the message names one.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.knows(KNOWN_KIND).then(|| text(&self.kind))
    }
}

/// A request and what it was about, as they come where [`Settings::details`](crate::Settings::details) asks for that: one record, so
/// that neither is ever without the other.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DetailedEvent {
    /// As it comes without details.
    pub request: RequestEvent,
    /// What it was about.
    pub detail: Detail,
}

/// The bytes before the first zero, as far as they are UTF-8.
pub(crate) fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    match core::str::from_utf8(&bytes[..end]) {
        Ok(text) => text,
        Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

const _: () = {
    assert!(size_of::<RequestEvent>() == 136 && align_of::<RequestEvent>() == 8);
    assert!(offset_of!(RequestEvent, off_cpu_ns) == 24);
    assert!(offset_of!(RequestEvent, section_ns) == 40);
    assert!(offset_of!(RequestEvent, sequence) == 72);
    assert!(offset_of!(RequestEvent, result) == 92);
    assert!(offset_of!(RequestEvent, holder_comm) == 104);
    assert!(offset_of!(RequestEvent, message_type) == 120);
    assert!(offset_of!(RequestEvent, reserved) == 132);
    assert!(size_of::<ExtAckEvent>() == 120 && align_of::<ExtAckEvent>() == 8);
    assert!(size_of::<Detail>() == 64 && align_of::<Detail>() == 4);
    assert!(offset_of!(Detail, comm) == 32);
    assert!(size_of::<DetailedEvent>() == 200 && align_of::<DetailedEvent>() == 8);
    assert!(offset_of!(DetailedEvent, detail) == 136);
    // The reader tells them apart by their lengths.
    assert!(size_of::<ExtAckEvent>() != size_of::<RequestEvent>());
    assert!(size_of::<DetailedEvent>() != size_of::<RequestEvent>());
    assert!(size_of::<DetailedEvent>() != size_of::<ExtAckEvent>());
    assert!(size_of::<SampleEvent>() < size_of::<ExtAckEvent>());
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_cpu_is_what_waiting_leaves() {
        let event =
            RequestEvent { total_ns: 100, rtnl_wait_ns: 60, off_cpu_ns: 15, ..RequestEvent::default() };
        assert_eq!(event.on_cpu_ns(), 25);
    }

    #[test]
    fn on_cpu_never_wraps_around() {
        let event = RequestEvent { total_ns: 10, rtnl_wait_ns: 60, ..RequestEvent::default() };
        assert_eq!(event.on_cpu_ns(), 0);
    }

    #[test]
    fn a_section_that_was_not_seen_has_no_time() {
        let event = RequestEvent {
            section_ns: [1, 2, 3, 4],
            sections_seen: Section::ClassOperation.bit(),
            rtnl_hold_ns: 9,
            ..RequestEvent::default()
        };
        assert_eq!(event.section(Section::ClassOperation), Some(3));
        assert_eq!(event.section(Section::Handler), None);
        assert_eq!(event.rtnl_hold(), None);
        assert!(Section::ALL.iter().enumerate().all(|(number, section)| *section as usize == number));
    }

    #[test]
    fn names_end_at_their_zero_and_where_they_are_no_text() {
        let mut event = RequestEvent::default();
        assert_eq!(event.holder_name(), "");
        event.holder_comm[..3].copy_from_slice(b"tc\xff");
        assert_eq!(event.holder_name(), "tc");
        event.holder_comm = *b"sixteen-bytes-ab";
        assert_eq!(event.holder_name(), "sixteen-bytes-ab");
    }
}
