//! What every traffic-control message starts with.

use std::fmt;

use netlink_packet_core::{Emitable, NetlinkHeader};
use netlink_packet_route::tc::TcHeader;

use crate::handle::Handle;

/// Bytes of a `struct nlmsghdr`.
pub(crate) const NETLINK_HEADER: usize = 16;
/// Bytes of a `struct tcmsg`.
pub(crate) const TC_HEADER: usize = 20;

/// The rtnetlink message types that this crate sends (`include/uapi/linux/rtnetlink.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum MessageType {
    /// `RTM_GETLINK`, sent only to tell an empty dump from a device that does not exist.
    GetLink = 18,
    /// `RTM_NEWQDISC`: add, replace.
    NewQdisc = 36,
    /// `RTM_DELQDISC`
    DelQdisc = 37,
    /// `RTM_GETQDISC`
    GetQdisc = 38,
    /// `RTM_NEWTCLASS`: add, change, replace.
    NewClass = 40,
    /// `RTM_DELTCLASS`
    DelClass = 41,
    /// `RTM_GETTCLASS`
    GetClass = 42,
}

impl MessageType {
    /// The number in `nlmsg_type`.
    pub const fn value(self) -> u16 {
        self as u16
    }

    /// The kernel's name, such as `RTM_NEWTCLASS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetLink => "RTM_GETLINK",
            Self::NewQdisc => "RTM_NEWQDISC",
            Self::DelQdisc => "RTM_DELQDISC",
            Self::GetQdisc => "RTM_GETQDISC",
            Self::NewClass => "RTM_NEWTCLASS",
            Self::DelClass => "RTM_DELTCLASS",
            Self::GetClass => "RTM_GETTCLASS",
        }
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The fields of both headers that differ from message to message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) message_type: MessageType,
    /// Added to `NLM_F_REQUEST`.
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) port: u32,
    pub(crate) device: u32,
    pub(crate) handle: Handle,
    pub(crate) parent: Handle,
}

/// Appends one message: both headers, then what `attributes` appends. Its length is always a multiple of four.
pub(crate) fn append(buffer: &mut Vec<u8>, envelope: Envelope, attributes: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.resize(start + NETLINK_HEADER + TC_HEADER, 0);
    TcHeader {
        index: envelope.device.cast_signed(),
        handle: envelope.handle.raw().into(),
        parent: envelope.parent.raw().into(),
        ..TcHeader::default()
    }
    .emit(&mut buffer[start + NETLINK_HEADER..]);
    attributes(buffer);
    finish(&mut buffer[start..], envelope.message_type, envelope.flags, envelope.sequence, envelope.port);
}

/// Fills in the netlink header at the start of a message that is otherwise complete.
pub(crate) fn finish(buffer: &mut [u8], message_type: MessageType, flags: u16, sequence: u32, port: u32) {
    let mut header = NetlinkHeader::default();
    header.length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
    header.message_type = message_type.value();
    header.flags = netlink_packet_core::NLM_F_REQUEST | flags;
    header.sequence_number = sequence;
    header.port_number = port;
    header.emit(buffer);
}
