//! Requests as data, and their bytes.

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REPLACE};

use crate::attribute::{nest, put};
use crate::checks::{Check, Checks};
use crate::filter::{self, Filter, FilterName};
use crate::handle::Handle;
use crate::htb::HtbClass;
use crate::message::{self, Envelope, MessageType};
use crate::packet::Act;
use crate::qdisc::Qdisc;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_CHAIN: u16 = 11;

/// Bytes of the longest message that a request about a class can be: one with two 64-bit rates.
const LARGEST_CLASS: usize = 128;

/// One traffic-control request: what a single `tc` command does.
///
/// `device` is an interface index, see [`Device`](crate::Device). Each is one netlink message, before which the kernel is asked a
/// question in three cases, unless [`Checks`](crate::Checks) leave it out: for the parent, when a class is added or replaced under
/// another *class* (and, for its first child, for the one above); for the class itself, when one is replaced; for what is there, when a root qdisc is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `tc qdisc add dev … root handle 1: htb …`. `EEXIST` when the parent has a qdisc (the kernel's default ones
    /// do not count).
    AddQdisc {
        /// Interface index.
        device: u32,
        /// [`Handle::ROOT`], [`Handle::INGRESS`], or a leaf class of another qdisc.
        parent: Handle,
        /// Its name, minor 0. With [`Handle::UNSPEC`] the kernel picks one from `8000:` on, and does not say which.
        handle: Handle,
        /// Its kind and settings.
        qdisc: Qdisc,
    },
    /// `tc qdisc change …`. What is not said of the settings stays as it is. HTB has no change operation.
    ChangeQdisc {
        /// Interface index.
        device: u32,
        /// What it hangs on.
        parent: Handle,
        /// Its name; [`Handle::UNSPEC`]: whichever hangs there.
        handle: Handle,
        /// Its kind and settings.
        qdisc: Qdisc,
    },
    /// `tc qdisc replace …`. Under a *new* handle this destroys the old qdisc with all its classes, which at the root is refused
    /// ([`Error::WouldReplaceRoot`](crate::Error::WouldReplaceRoot)) unless asked for by name; under the handle that is there it
    /// is changed, which HTB cannot and the kernel refuses with text.
    ReplaceQdisc {
        /// Interface index.
        device: u32,
        /// [`Handle::ROOT`], or a leaf class of another qdisc.
        parent: Handle,
        /// Its name, as in [`Request::AddQdisc`].
        handle: Handle,
        /// Its kind and settings.
        qdisc: Qdisc,
    },
    /// `tc qdisc del dev … root handle 1:`. Its classes go with it.
    DeleteQdisc {
        /// Interface index.
        device: u32,
        /// What it hangs on.
        parent: Handle,
        /// Its name; [`Handle::UNSPEC`]: whichever hangs there.
        handle: Handle,
    },
    /// `tc class add …`. `EEXIST` when there is such a class. The first child of a class destroys that class's leaf qdisc: refused
    /// where somebody put one there ([`Error::WouldDestroyLeaf`](crate::Error::WouldDestroyLeaf)), unless asked for by name.
    AddClass {
        /// Interface index.
        device: u32,
        /// The qdisc, or the class to be under (eight levels at most).
        parent: Handle,
        /// Its name.
        classid: Handle,
        /// Its settings.
        class: HtbClass,
    },
    /// `tc class change …`. `ENOENT` when there is no such class.
    ChangeClass {
        /// Interface index.
        device: u32,
        /// [`Handle::UNSPEC`]: wherever it is, the cheapest. Any other parent is compared with the one that the kernel echoes
        /// ([`Error::ParentNotApplied`](crate::Error::ParentNotApplied)), since HTB ignores it.
        parent: Handle,
        /// Its name.
        classid: Handle,
        /// Its new settings, all of them: nothing is kept from before.
        class: HtbClass,
    },
    /// `tc class replace …`: adds it, or changes it when it is there.
    ReplaceClass {
        /// Interface index.
        device: u32,
        /// The qdisc or the class to be under. The kernel would change an existing class under another and not move it: that is
        /// refused ([`Error::WouldNotMove`](crate::Error::WouldNotMove)), unless asked for by name.
        parent: Handle,
        /// Its name.
        classid: Handle,
        /// Its settings.
        class: HtbClass,
    },
    /// `tc class del …`. `EBUSY` while it has children.
    DeleteClass {
        /// Interface index.
        device: u32,
        /// Its name.
        classid: Handle,
    },
    /// `tc filter add …`. `EEXIST` when there is such a filter.
    AddFilter {
        /// Interface index.
        device: u32,
        /// The qdisc or class whose packets it is asked about.
        parent: Handle,
        /// The filter.
        filter: Box<Filter>,
    },
    /// `tc filter change …`. `ENOENT` when there is no such filter.
    ChangeFilter {
        /// Interface index.
        device: u32,
        /// What it hangs on.
        parent: Handle,
        /// The filter. `u32` keeps the packets that it matches and changes the rest.
        filter: Box<Filter>,
    },
    /// `tc filter replace …`: adds it, or changes it when there is one of this handle.
    ReplaceFilter {
        /// Interface index.
        device: u32,
        /// What it hangs on.
        parent: Handle,
        /// The filter.
        filter: Box<Filter>,
    },
    /// `tc filter del …`: one, all of a prio, or all.
    DeleteFilter {
        /// Interface index.
        device: u32,
        /// What it hangs on.
        parent: Handle,
        /// Which.
        name: Box<FilterName>,
    },
    /// One class with its statistics; `tc` can only list and filter. `ENOENT` when there is no such class.
    GetClass {
        /// Interface index.
        device: u32,
        /// Its name.
        classid: Handle,
    },
}

impl Request {
    /// The netlink message type that it is sent as.
    pub fn message_type(&self) -> MessageType {
        match self {
            Self::AddQdisc { .. } | Self::ChangeQdisc { .. } | Self::ReplaceQdisc { .. } => {
                MessageType::NewQdisc
            }
            Self::DeleteQdisc { .. } => MessageType::DelQdisc,
            Self::AddClass { .. } | Self::ChangeClass { .. } | Self::ReplaceClass { .. } => {
                MessageType::NewClass
            }
            Self::DeleteClass { .. } => MessageType::DelClass,
            Self::GetClass { .. } => MessageType::GetClass,
            Self::AddFilter { .. } | Self::ChangeFilter { .. } | Self::ReplaceFilter { .. } => {
                MessageType::NewFilter
            }
            Self::DeleteFilter { .. } => MessageType::DelFilter,
        }
    }

    /// The interface index that it is about.
    pub fn device(&self) -> u32 {
        match self {
            Self::AddQdisc { device, .. }
            | Self::ChangeQdisc { device, .. }
            | Self::ReplaceQdisc { device, .. }
            | Self::DeleteQdisc { device, .. }
            | Self::AddClass { device, .. }
            | Self::ChangeClass { device, .. }
            | Self::ReplaceClass { device, .. }
            | Self::DeleteClass { device, .. }
            | Self::GetClass { device, .. }
            | Self::AddFilter { device, .. }
            | Self::ChangeFilter { device, .. }
            | Self::ReplaceFilter { device, .. }
            | Self::DeleteFilter { device, .. } => *device,
        }
    }

    /// The qdisc, the class, or the handle of the filter that it is about.
    pub fn handle(&self) -> Handle {
        match self {
            Self::AddQdisc { handle, .. }
            | Self::ChangeQdisc { handle, .. }
            | Self::ReplaceQdisc { handle, .. }
            | Self::DeleteQdisc { handle, .. } => *handle,
            Self::AddFilter { filter, .. }
            | Self::ChangeFilter { filter, .. }
            | Self::ReplaceFilter { filter, .. } => Handle::from_raw(filter.handle),
            Self::DeleteFilter { name, .. } => Handle::from_raw(name.handle),
            Self::AddClass { classid, .. }
            | Self::ChangeClass { classid, .. }
            | Self::ReplaceClass { classid, .. }
            | Self::DeleteClass { classid, .. }
            | Self::GetClass { classid, .. } => *classid,
        }
    }

    /// The parent in the request; [`Handle::UNSPEC`] where it has none.
    pub fn parent(&self) -> Handle {
        match self {
            Self::AddQdisc { parent, .. }
            | Self::ChangeQdisc { parent, .. }
            | Self::ReplaceQdisc { parent, .. }
            | Self::DeleteQdisc { parent, .. }
            | Self::AddClass { parent, .. }
            | Self::ChangeClass { parent, .. }
            | Self::ReplaceClass { parent, .. }
            | Self::AddFilter { parent, .. }
            | Self::ChangeFilter { parent, .. }
            | Self::ReplaceFilter { parent, .. }
            | Self::DeleteFilter { parent, .. } => *parent,
            Self::DeleteClass { .. } | Self::GetClass { .. } => Handle::UNSPEC,
        }
    }

    /// What it does to a qdisc or a class.
    pub(crate) fn act(&self) -> Act {
        match self {
            Self::AddQdisc { .. } | Self::AddClass { .. } => Act::Add,
            Self::ChangeQdisc { .. } | Self::ChangeClass { .. } => Act::Change,
            Self::ReplaceQdisc { .. } | Self::ReplaceClass { .. } => Act::Replace,
            _ => Act::Other,
        }
    }

    /// The parent class of which must be known whether it is there, how deep, and what qdisc it has.
    pub(crate) fn parent_to_check(&self, checks: Checks) -> Option<Handle> {
        let wanted = [Check::MissingParent, Check::LeafLoss, Check::Depth];
        if wanted.into_iter().any(|check| checks.contains(check)) { self.parent_class() } else { None }
    }

    fn parent_class(&self) -> Option<Handle> {
        match self {
            Self::AddClass { parent, .. } | Self::ReplaceClass { parent, .. } => {
                Some(*parent).filter(|parent| parent.minor() != 0 && *parent != Handle::ROOT)
            }
            _ => None,
        }
    }

    /// Whether the kernel is to echo the class it made, so that its parent can be compared with the one asked for.
    /// Adding directly under the qdisc cannot go wrong; for the rest the echo is the only proof that has no race.
    pub(crate) fn verifies_parent(&self, checks: Checks) -> bool {
        match self {
            Self::AddClass { .. } => checks.contains(Check::MissingParent) && self.parent_class().is_some(),
            Self::ReplaceClass { parent, .. } | Self::ChangeClass { parent, .. } => {
                checks.contains(Check::Reparenting) && *parent != Handle::UNSPEC
            }
            _ => false,
        }
    }

    /// The flags, as `tc` sets them, but for `NLM_F_ECHO`. A `RTM_GETTCLASS` without it is acknowledged and no more.
    fn flags(&self, checks: Checks) -> u16 {
        let action = match self {
            Self::AddQdisc { .. } | Self::AddClass { .. } | Self::AddFilter { .. } => {
                NLM_F_CREATE | NLM_F_EXCL
            }
            Self::ReplaceQdisc { .. } => NLM_F_CREATE | NLM_F_REPLACE,
            Self::ReplaceClass { .. } | Self::ReplaceFilter { .. } => NLM_F_CREATE,
            Self::GetClass { .. } => NLM_F_ECHO,
            Self::ChangeQdisc { .. }
            | Self::ChangeClass { .. }
            | Self::ChangeFilter { .. }
            | Self::DeleteQdisc { .. }
            | Self::DeleteClass { .. }
            | Self::DeleteFilter { .. } => 0,
        };
        NLM_F_ACK | action | if self.verifies_parent(checks) { NLM_F_ECHO } else { 0 }
    }

    /// `tcm_info`.
    fn info(&self) -> u32 {
        match self {
            Self::AddFilter { filter, .. }
            | Self::ChangeFilter { filter, .. }
            | Self::ReplaceFilter { filter, .. } => filter::info(filter.prio, filter.protocol),
            Self::DeleteFilter { name, .. } => name.info(),
            _ => 0,
        }
    }

    /// Bytes that its message may have.
    pub(crate) fn largest(&self) -> usize {
        match self {
            Self::AddClass { .. }
            | Self::ChangeClass { .. }
            | Self::ReplaceClass { .. }
            | Self::DeleteClass { .. }
            | Self::GetClass { .. }
            | Self::DeleteQdisc { .. } => LARGEST_CLASS,
            _ => {
                let mut message = Vec::new();
                self.encode_onto(0, 0, Checks::ALL, &mut message);
                message.len()
            }
        }
    }

    /// Replaces the content of `buffer` by the message that is sent, `struct nlmsghdr` first. Pure. `sequence` and `port` (of
    /// the sending socket) go into the header.
    pub fn encode(&self, sequence: u32, port: u32, buffer: &mut Vec<u8>) {
        buffer.clear();
        self.encode_onto(sequence, port, Checks::ALL, buffer);
    }

    /// As [`Request::encode`], behind what the buffer holds, and echoed only as far as `checks` need it. Never inlined, so that
    /// profilers show it.
    #[inline(never)]
    pub(crate) fn encode_onto(&self, sequence: u32, port: u32, checks: Checks, buffer: &mut Vec<u8>) {
        let envelope = Envelope {
            message_type: self.message_type(),
            flags: self.flags(checks),
            sequence,
            port,
            device: self.device(),
            handle: self.handle(),
            parent: self.parent(),
            info: self.info(),
        };
        message::append(buffer, envelope, |buffer| match self {
            Self::AddQdisc { qdisc, .. }
            | Self::ChangeQdisc { qdisc, .. }
            | Self::ReplaceQdisc { qdisc, .. } => {
                qdisc.encode(buffer);
            }
            Self::AddFilter { filter, .. }
            | Self::ChangeFilter { filter, .. }
            | Self::ReplaceFilter { filter, .. } => filter.encode(buffer),
            Self::DeleteFilter { name, .. } => name.encode(buffer),
            Self::AddClass { class, .. }
            | Self::ChangeClass { class, .. }
            | Self::ReplaceClass { class, .. } => {
                put(buffer, TCA_KIND, b"htb\0");
                nest(buffer, TCA_OPTIONS, |buffer| class.encode_options(buffer));
            }
            Self::DeleteQdisc { .. } | Self::DeleteClass { .. } | Self::GetClass { .. } => {}
        });
    }
}

/// A request for a list, answered by many messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    /// `tc qdisc show [dev …]`. The kernel ignores the device and lists the whole namespace.
    Qdiscs {
        /// Interface index.
        device: Option<u32>,
    },
    /// `tc class show dev …`
    Classes {
        /// Interface index.
        device: u32,
    },
    /// `tc filter show dev … parent …`
    Filters {
        /// Interface index.
        device: u32,
        /// The qdisc or class that they hang on.
        parent: Handle,
        /// Only of this chain.
        chain: Option<u32>,
    },
}

impl Dump {
    /// The netlink message type that it is sent as.
    pub fn message_type(&self) -> MessageType {
        match self {
            Self::Qdiscs { .. } => MessageType::GetQdisc,
            Self::Classes { .. } => MessageType::GetClass,
            Self::Filters { .. } => MessageType::GetFilter,
        }
    }

    /// The interface index in the message; 0 for all.
    pub fn device(&self) -> u32 {
        match self {
            Self::Qdiscs { device } => device.unwrap_or(0),
            Self::Classes { device } | Self::Filters { device, .. } => *device,
        }
    }

    /// Replaces the content of `buffer` by the message that is sent, as [`Request::encode`] does.
    pub fn encode(&self, sequence: u32, port: u32, buffer: &mut Vec<u8>) {
        let (message_type, device) = (self.message_type(), self.device());
        let (parent, chain) = match self {
            Self::Filters { parent, chain, .. } => (*parent, *chain),
            Self::Qdiscs { .. } | Self::Classes { .. } => (Handle::UNSPEC, None),
        };
        let handle = Handle::UNSPEC;
        let envelope =
            Envelope { message_type, flags: NLM_F_DUMP, sequence, port, device, handle, parent, info: 0 };
        buffer.clear();
        message::append(buffer, envelope, |buffer| {
            if let Some(chain) = chain {
                put(buffer, TCA_CHAIN, &chain.to_ne_bytes());
            }
        });
    }
}

/// Whether a device exists: `ip link show`, by index.
pub(crate) fn encode_get_link(device: u32, buffer: &mut Vec<u8>) {
    // struct nlmsghdr, then struct ifinfomsg: family, padding, type, index at 4, flags, change
    buffer.resize(message::NETLINK_HEADER + 16, 0);
    buffer[message::NETLINK_HEADER + 4..][..4].copy_from_slice(&device.to_ne_bytes());
    message::finish(buffer, MessageType::GetLink, NLM_F_ACK, 0, 0);
}

/// What hangs at the root of a device: `tc qdisc show dev … root`. Without `NLM_F_ECHO` it is acknowledged and no more.
pub(crate) fn encode_get_root(device: u32, buffer: &mut Vec<u8>) {
    let envelope = Envelope {
        message_type: MessageType::GetQdisc,
        flags: NLM_F_ACK | NLM_F_ECHO,
        sequence: 0,
        port: 0,
        device,
        handle: Handle::UNSPEC,
        parent: Handle::ROOT,
        info: 0,
    };
    message::append(buffer, envelope, |_| {});
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{ClassEntry, QdiscEntry};
    use crate::htb::HtbQdisc;
    use crate::rate::Rate;
    use proptest::prelude::*;

    fn class(parent: Handle) -> (Request, Request, Request) {
        let (device, classid, class) = (1, Handle::new(1, 2), HtbClass::new("1mbit".parse().unwrap()));
        (
            Request::AddClass { device, parent, classid, class: class.clone() },
            Request::ChangeClass { device, parent, classid, class: class.clone() },
            Request::ReplaceClass { device, parent, classid, class },
        )
    }

    #[test]
    fn adding_directly_under_the_qdisc_is_one_message_without_echo() {
        for parent in [Handle::qdisc(1), Handle::ROOT] {
            let (add, ..) = class(parent);
            assert_eq!((add.parent_to_check(Checks::ALL), add.verifies_parent(Checks::ALL)), (None, false));
        }
        let parent = Handle::new(1, 1);
        let (add, change, replace) = class(parent);
        assert_eq!(
            (add.parent_to_check(Checks::ALL), add.verifies_parent(Checks::ALL)),
            (Some(parent), true)
        );
        assert_eq!(
            (replace.parent_to_check(Checks::ALL), replace.verifies_parent(Checks::ALL)),
            (Some(parent), true)
        );
        assert_eq!((change.parent_to_check(Checks::ALL), change.verifies_parent(Checks::ALL)), (None, true));
        assert!(!class(Handle::UNSPEC).1.verifies_parent(Checks::ALL));
    }

    #[test]
    fn encoding_forgets_what_the_buffer_held() {
        let (add, ..) = class(Handle::qdisc(1));
        let (mut fresh, mut reused) = (Vec::new(), vec![0xFF; 4000]);
        add.encode(7, 9, &mut fresh);
        add.encode(7, 9, &mut reused);
        assert_eq!(fresh, reused);
        assert_eq!(fresh[..4], 96_u32.to_ne_bytes());
        assert_eq!(fresh[8..16], [7_u32, 9].map(u32::to_ne_bytes).concat());
    }

    #[test]
    fn none_is_larger_than_the_largest() {
        let (mut add, ..) = class(Handle::new(1, 1));
        if let Request::AddClass { class, .. } = &mut add {
            *class = HtbClass::new("100gbit".parse().unwrap());
        }
        let qdisc = HtbQdisc { direct_qlen: Some(1), offload: true, ..HtbQdisc::new() }.into();
        let handle = Handle::qdisc(1);
        let mut buffer = Vec::new();
        for request in [add, Request::AddQdisc { device: 1, parent: Handle::ROOT, handle, qdisc }] {
            request.encode(1, 1, &mut buffer);
            assert!(buffer.len() <= request.largest(), "{}", buffer.len());
        }
    }

    proptest! {
        /// The kernel's answers have the form of requests, so the decoder must find in a request what was encoded.
        #[test]
        fn decodes_what_it_encodes(device in 1_u32.., parent: u32, classid: u32, rate in 1_u64..1 << 61, sequence: u32) {
            let (parent, classid) = (Handle::from_raw(parent), Handle::from_raw(classid));
            let class = HtbClass::new(Rate::from_bytes_per_second(rate).unwrap());
            let mut buffer = Vec::new();
            Request::AddClass { device, parent, classid, class: class.clone() }.encode(sequence, 1, &mut buffer);
            let entry = ClassEntry::decode(&buffer[message::NETLINK_HEADER..]).unwrap();
            prop_assert_eq!((entry.device, entry.parent, entry.classid), (device, parent, classid));
            prop_assert_eq!(entry.htb.map(|back| (back.rate, back.ceil)), Some((class.rate, class.ceil)));

            let qdisc = Qdisc::from(HtbQdisc { default_class: sequence, ..HtbQdisc::new() });
            Request::ReplaceQdisc { device, parent, handle: classid, qdisc: qdisc.clone() }.encode(sequence, 1, &mut buffer);
            let entry = QdiscEntry::decode(&buffer[message::NETLINK_HEADER..]).unwrap();
            prop_assert_eq!((entry.device, entry.parent, entry.handle), (device, parent, classid));
            prop_assert_eq!(entry.options, Some(qdisc));
        }
    }

    /// `tc` has no single get, so there is nothing to compare with: the bytes by the letter of `rtnetlink(7)`.
    #[cfg(target_endian = "little")]
    #[test]
    fn getting_a_class_by_the_letter() {
        let mut buffer = Vec::new();
        Request::GetClass { device: 3, classid: Handle::new(1, 0x10) }.encode(5, 6, &mut buffer);
        #[rustfmt::skip]
        let expected = [
            36, 0, 0, 0, 42, 0, 0x0d, 0, 5, 0, 0, 0, 6, 0, 0, 0, // length, type, REQUEST | ACK | ECHO, sequence, port
            0, 0, 0, 0, 3, 0, 0, 0, 0x10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, // family, index, handle, parent, info
        ];
        assert_eq!(buffer, expected);
    }
}
