//! What every traffic-control message starts with.

use std::fmt;

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
    /// `RTM_NEWTFILTER`: add, change, replace.
    NewFilter = 44,
    /// `RTM_DELTFILTER`
    DelFilter = 45,
    /// `RTM_GETTFILTER`
    GetFilter = 46,
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
            Self::NewFilter => "RTM_NEWTFILTER",
            Self::DelFilter => "RTM_DELTFILTER",
            Self::GetFilter => "RTM_GETTFILTER",
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
    /// `tcm_info`: of filters, prio and protocol.
    pub(crate) info: u32,
}

/// Appends one message: both headers, then what `attributes` appends. Its length is always a multiple of four.
pub(crate) fn append(buffer: &mut Vec<u8>, envelope: Envelope, attributes: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    let mut headers = [0; NETLINK_HEADER + TC_HEADER];
    // struct tcmsg: family and padding, index, handle, parent, info
    let words =
        [envelope.device, envelope.handle.raw(), envelope.parent.raw(), envelope.info].map(u32::to_ne_bytes);
    headers[NETLINK_HEADER + 4..][..16].copy_from_slice(words.as_flattened());
    buffer.extend_from_slice(&headers);
    attributes(buffer);
    finish(&mut buffer[start..], envelope.message_type, envelope.flags, envelope.sequence, envelope.port);
}

/// Fills in the netlink header at the start of a message that is otherwise complete.
pub(crate) fn finish(buffer: &mut [u8], message_type: MessageType, flags: u16, sequence: u32, port: u32) {
    let length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
    buffer[..4].copy_from_slice(&length.to_ne_bytes());
    buffer[4..6].copy_from_slice(&message_type.value().to_ne_bytes());
    buffer[6..8].copy_from_slice(&(netlink_packet_core::NLM_F_REQUEST | flags).to_ne_bytes());
    buffer[8..12].copy_from_slice(&sequence.to_ne_bytes());
    buffer[12..NETLINK_HEADER].copy_from_slice(&port.to_ne_bytes());
}

/// `struct nlmsghdr`, as read from bytes that may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// With this header, at least its own length and no more than there is.
    pub(crate) length: usize,
    pub(crate) message_type: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) port: u32,
}

impl Header {
    /// `None`: there is no whole message here.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; NETLINK_HEADER] = bytes.first_chunk()?;
        let word =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let length = usize::try_from(word(0)).ok()?;
        (NETLINK_HEADER..=bytes.len()).contains(&length).then(|| Self {
            length,
            message_type: half(4),
            flags: half(6),
            sequence: word(8),
            port: word(12),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::{Emitable, NetlinkBuffer, NetlinkHeader};
    use netlink_packet_route::tc::TcHeader;
    use proptest::prelude::*;

    proptest! {
        /// Written by hand for their speed, held to the crates that everybody uses.
        #[test]
        fn headers_are_those_of_the_netlink_crates(device: u32, handle: u32, parent: u32, info: u32, flags: u16, sequence: u32, port: u32) {
            let mut ours = vec![1, 2, 3, 4];
            let (handle, parent) = (Handle::from_raw(handle), Handle::from_raw(parent));
            let message_type = MessageType::NewClass;
            append(&mut ours, Envelope { message_type, flags, sequence, port, device, handle, parent, info }, |_| {});
            let mut theirs = vec![0; NETLINK_HEADER + TC_HEADER];
            let mut header = NetlinkHeader::default();
            (header.length, header.message_type) = (36, message_type.value());
            header.flags = netlink_packet_core::NLM_F_REQUEST | flags;
            (header.sequence_number, header.port_number) = (sequence, port);
            header.emit(&mut theirs);
            TcHeader {
                index: device.cast_signed(),
                handle: handle.raw().into(),
                parent: parent.raw().into(),
                info,
                ..TcHeader::default()
            }
            .emit(&mut theirs[NETLINK_HEADER..]);
            prop_assert_eq!(&ours[4..], &theirs);
        }

        #[test]
        fn headers_are_read_where_the_netlink_crates_read_them(bytes: Vec<u8>, length in 0_u32..80) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_chunk_mut() {
                *first = length.to_ne_bytes();
            }
            let theirs = NetlinkBuffer::new_checked(&bytes).ok().map(|buffer| Header {
                length: buffer.length() as usize,
                message_type: buffer.message_type(),
                flags: buffer.flags(),
                sequence: buffer.sequence_number(),
                port: buffer.port_number(),
            });
            prop_assert_eq!(Header::read(&bytes), theirs);
        }
    }
}
