//! A traffic-control message in the words of `tc`.

use std::fmt::Write as _;

use tc_adapter::Handle;

/// The types of traffic-control messages, `include/uapi/linux/rtnetlink.h`, without the ones that only the kernel sends.
pub const TYPES: [(u16, &str); 9] = [
    (36, "RTM_NEWQDISC"),
    (37, "RTM_DELQDISC"),
    (38, "RTM_GETQDISC"),
    (40, "RTM_NEWTCLASS"),
    (41, "RTM_DELTCLASS"),
    (42, "RTM_GETTCLASS"),
    (44, "RTM_NEWTFILTER"),
    (45, "RTM_DELTFILTER"),
    (46, "RTM_GETTFILTER"),
];

/// What two of the flags make of a request that gets: `NLM_F_ROOT` and `NLM_F_MATCH`, either of them.
const NLM_F_DUMP: u16 = 0x300;
/// `TCM_IFINDEX_MAGIC_BLOCK`: not a device, but a block of filters that devices share.
const SHARED_BLOCK: i32 = -1;

/// The kernel's name of a message type.
pub fn type_name(message_type: u16) -> String {
    TYPES
        .iter()
        .find(|(number, _)| *number == message_type)
        .map_or_else(|| format!("type {message_type}"), |(_, name)| (*name).to_owned())
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Object {
    Qdisc,
    Class,
    Filter,
}

/// The fields of a message that say what is to be done to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// `nlmsg_type`
    pub message_type: u16,
    /// `nlmsg_flags`
    pub flags: u16,
    /// `tcm_ifindex`
    pub ifindex: i32,
    /// `tcm_handle`
    pub handle: u32,
    /// `tcm_parent`
    pub parent: u32,
    /// `tcm_info`
    pub info: u32,
}

/// Whether a request of this type with these flags asks for a list. Of a list only the first part is handled in the system call that
/// asks for it; the others in those that read it.
pub(super) fn is_dump(message_type: u16, flags: u16) -> bool {
    message_type % 4 == 2 && flags & NLM_F_DUMP != 0
}

impl Message {
    fn object(&self) -> Object {
        match self.message_type {
            ..40 => Object::Qdisc,
            40..44 => Object::Class,
            44.. => Object::Filter,
        }
    }

    /// The block of filters that it is about, instead of a device.
    pub fn block(&self) -> Option<u32> {
        (self.ifindex == SHARED_BLOCK).then_some(self.parent)
    }

    /// The device that it is about.
    pub fn device(&self) -> Option<i32> {
        (self.ifindex > 0).then_some(self.ifindex)
    }

    /// The parent, as `tc` writes it.
    pub fn parent(&self) -> Option<String> {
        match Handle::from_raw(self.parent) {
            _ if self.block().is_some() => None,
            Handle::UNSPEC => None,
            Handle::INGRESS => Some("ingress".to_owned()),
            parent => Some(parent.to_string()),
        }
    }

    /// The class.
    pub fn classid(&self) -> Option<String> {
        (self.object() == Object::Class && self.handle != 0)
            .then(|| Handle::from_raw(self.handle).to_string())
    }

    /// The qdisc's or the filter's handle; of the latter each kind has its own, so it is a number.
    pub fn handle(&self) -> Option<String> {
        match self.object() {
            _ if self.handle == 0 => None,
            Object::Qdisc => Some(Handle::from_raw(self.handle).to_string()),
            Object::Filter => Some(format!("{:#x}", self.handle)),
            Object::Class => None,
        }
    }

    /// A filter's priority.
    pub fn priority(&self) -> Option<u32> {
        (self.object() == Object::Filter).then_some(self.info >> 16).filter(|priority| *priority != 0)
    }

    /// ` dev eth0 parent 1: classid 1:10`: what is given of it, each with a blank before it.
    pub(super) fn words(&self, dev: Option<&str>) -> String {
        let mut words = String::new();
        let mut add = |word: &str, value: Option<String>| {
            if let Some(value) = value {
                // Writing to a string cannot fail.
                let _ = write!(words, " {word} {value}");
            }
        };
        add("dev", dev.map(str::to_owned));
        add("block", self.block().map(|block| block.to_string()));
        match self.parent() {
            Some(parent) if parent == "root" || parent == "ingress" => add(&parent, Some(String::new())),
            parent => add("parent", parent),
        }
        add("classid", self.classid());
        add("handle", self.handle());
        add("prio", self.priority().map(|priority| priority.to_string()));
        words.replace("  ", " ").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: Message =
        Message { message_type: 40, flags: 0x605, ifindex: 3, handle: 0x1_0010, parent: 0x1_0000, info: 0 };

    #[test]
    fn a_message_is_said_as_tc_would_be_told() {
        assert_eq!(CLASS.words(Some("eth0")), " dev eth0 parent 1: classid 1:10");
        let root = Message { message_type: 36, handle: 0x1_0000, parent: u32::MAX, ..CLASS };
        assert_eq!(root.words(Some("eth0")), " dev eth0 root handle 1:");
        let ingress = Message { message_type: 36, handle: 0xffff_0000, parent: 0xffff_fff1, ..CLASS };
        assert_eq!(ingress.words(Some("if3")), " dev if3 ingress handle ffff:");
        let filter = Message { message_type: 44, handle: 0x8000_0800, info: 5 << 16 | 8, ..CLASS };
        assert_eq!(filter.words(Some("eth0")), " dev eth0 parent 1: handle 0x80000800 prio 5");
        let shared = Message { message_type: 44, handle: 0, parent: 7, ifindex: -1, ..CLASS };
        assert_eq!(shared.words(None), " block 7");
        let all = Message { message_type: 38, handle: 0, parent: 0, ifindex: 0, ..CLASS };
        assert_eq!((all.words(None).as_str(), all.device()), ("", None));
    }

    #[test]
    fn what_asks_for_a_list_is_told_from_what_replaces() {
        assert!(is_dump(42, 0x301) && is_dump(38, 0x101) && is_dump(46, 0x200));
        assert!(!is_dump(42, 0x1));
        // NLM_F_REPLACE and NLM_F_EXCL.
        assert!(!is_dump(40, 0x305));
    }

    #[test]
    fn types_have_the_kernels_names() {
        assert_eq!(type_name(40), "RTM_NEWTCLASS");
        assert_eq!(type_name(39), "type 39");
    }
}
