//! Gives packets another priority, mark or queue (tc-skbedit(8), `net/sched/act_skbedit.c`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::control::Control;
use super::options::ActionOptions;
use crate::attribute::{each, put, u16_at, u32_at, u64_at};
use crate::handle::Handle;
use crate::reply::Malformed;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words, abbreviates, number};

const PARMS: u16 = 2;
const PRIORITY: u16 = 3;
const QUEUE_MAPPING: u16 = 4;
const MARK: u16 = 5;
const PTYPE: u16 = 7;
const MASK: u16 = 8;
const FLAGS: u16 = 9;

/// `SKBEDIT_F_INHERITDSFIELD`.
const INHERITDSFIELD: u64 = 0x20;

/// `tc … action skbedit [queue_mapping <queue>] [priority <class>] [mark <mark>[/<mask>]] [ptype <type>] [inheritdsfield]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Skbedit {
    /// `queue_mapping`: the queue of the device, from 0 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_mapping: Option<u16>,
    /// `priority`: as a class; qdiscs like HTB take a class of theirs without asking the filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Handle>,
    /// `mark`: the firewall's mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// Which bits of the mark are set; `None`: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<u32>,
    /// `ptype`: for whom the packet is taken to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ptype: Option<PacketType>,
    /// `inheritdsfield`: the priority is what the IP header's DS field says.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub inheritdsfield: bool,
    /// What becomes of the packet then; `pipe` if it is not said.
    #[serde(skip_serializing_if = "is_pipe")]
    pub control: Control,
    /// What every action may say.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub options: ActionOptions,
}

/// `PACKET_*` of `include/uapi/linux/if_packet.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PacketType {
    /// To this host.
    Host = 0,
    /// To all.
    Broadcast = 1,
    /// To a group.
    Multicast = 2,
    /// To another host.
    OtherHost = 3,
}

const PACKET_TYPES: [(&str, PacketType); 4] = [
    ("host", PacketType::Host),
    ("broadcast", PacketType::Broadcast),
    ("multicast", PacketType::Multicast),
    ("otherhost", PacketType::OtherHost),
];

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_pipe(control: &Control) -> bool {
    *control == Control::Pipe
}

/// Nothing is changed.
impl Default for Skbedit {
    fn default() -> Self {
        Self {
            queue_mapping: None,
            priority: None,
            mark: None,
            mask: None,
            ptype: None,
            inheritdsfield: false,
            control: Control::Pipe,
            options: ActionOptions::default(),
        }
    }
}

impl Skbedit {
    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        // struct tc_skbedit: index, capab, action, refcnt, bindcnt
        let parms = [self.options.index, 0, self.control.value(), 0, 0];
        put(buffer, PARMS, parms.map(u32::to_ne_bytes).as_flattened());
        for (attribute, value) in
            [(PRIORITY, self.priority.map(Handle::raw)), (MARK, self.mark), (MASK, self.mask)]
        {
            if let Some(value) = value {
                put(buffer, attribute, &value.to_ne_bytes());
            }
        }
        for (attribute, value) in
            [(QUEUE_MAPPING, self.queue_mapping), (PTYPE, self.ptype.map(|ptype| ptype as u16))]
        {
            if let Some(value) = value {
                put(buffer, attribute, &value.to_ne_bytes());
            }
        }
        if self.inheritdsfield {
            put(buffer, FLAGS, &INHERITDSFIELD.to_ne_bytes());
        }
    }

    pub(super) fn decode(options: &[u8]) -> Result<Self, Malformed> {
        const SHORT: Malformed = Malformed("an attribute of skbedit is too short");
        let (mut skbedit, mut parms) = (Self::default(), None);
        for attribute in each(options) {
            let (number, value) = attribute?;
            let word = |at| u32_at(value, at).ok_or(SHORT);
            let half = || u16_at(value, 0).ok_or(SHORT);
            match number {
                PARMS => parms = Some((word(0)?, word(8)?)),
                PRIORITY => skbedit.priority = Some(Handle::from_raw(word(0)?)),
                QUEUE_MAPPING => skbedit.queue_mapping = Some(half()?),
                MARK => skbedit.mark = Some(word(0)?),
                MASK => skbedit.mask = Some(word(0)?),
                PTYPE => {
                    let ptype = half()?;
                    let found = PACKET_TYPES.iter().find(|(_, known)| *known as u16 == ptype);
                    skbedit.ptype = Some(found.ok_or(Malformed("skbedit with an unknown ptype"))?.1);
                }
                FLAGS => skbedit.inheritdsfield = u64_at(value, 0).ok_or(SHORT)? & INHERITDSFIELD != 0,
                _ => {}
            }
        }
        let (index, control) = parms.ok_or(Malformed("skbedit without TCA_SKBEDIT_PARMS"))?;
        skbedit.options.index = index;
        skbedit.control = Control::from_value(control).ok_or(Malformed("skbedit with an unknown control"))?;
        Ok(skbedit)
    }

    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        let mut skbedit = Self::default();
        while let Some(word) = words.peek() {
            match word {
                _ if abbreviates(word, "queue_mapping") => {
                    words.next();
                    skbedit.queue_mapping = Some(words.number(word)?);
                }
                _ if abbreviates(word, "priority") => {
                    words.next();
                    skbedit.priority = Some(class(words.value(word)?)?);
                }
                _ if abbreviates(word, "mark") => {
                    words.next();
                    let value = words.value(word)?;
                    let (mark, bits) = value.split_once('/').unwrap_or((value, ""));
                    skbedit.mark = Some(number(mark)?);
                    if value != mark {
                        skbedit.mask = Some(number(bits)?);
                    }
                }
                _ if abbreviates(word, "ptype") => {
                    words.next();
                    let value = words.value(word)?;
                    let found = PACKET_TYPES.iter().find(|(name, _)| abbreviates(value, name));
                    skbedit.ptype = Some(found.ok_or_else(|| Syntax::unknown("ptype", value))?.1);
                }
                _ if abbreviates(word, "inheritdsfield") => {
                    words.next();
                    skbedit.inheritdsfield = true;
                }
                _ => break,
            }
        }
        if words.peek().is_some_and(Control::begins_with) {
            skbedit.control = Control::parse(words)?;
        }
        skbedit.options.parse_index(words)?;
        Ok(skbedit)
    }

    pub(super) fn validate(&self) -> Result<(), InvalidRequest> {
        if self.mask.is_some() && self.mark.is_none() {
            return Err(InvalidRequest::Setting {
                kind: "skbedit",
                setting: "mask",
                allowed: "said with a mark",
            });
        }
        self.options.validate("skbedit")
    }
}

impl fmt::Display for Skbedit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("skbedit")?;
        if let Some(queue) = self.queue_mapping {
            write!(f, " queue_mapping {queue}")?;
        }
        if let Some(priority) = self.priority {
            write!(f, " priority {priority}")?;
        }
        if let Some(mark) = self.mark {
            write!(f, " mark {mark:#x}")?;
            self.mask.map_or(Ok(()), |mask| write!(f, "/{mask:#x}"))?;
        }
        if let Some(ptype) = self.ptype {
            let found = PACKET_TYPES.iter().find(|(_, known)| *known == ptype);
            write!(f, " ptype {}", found.map_or("host", |(name, _)| name))?;
        }
        f.write_str(if self.inheritdsfield { " inheritdsfield" } else { "" })?;
        if self.control != Control::Pipe {
            write!(f, " {}", self.control)?;
        }
        self.options.fmt(f)
    }
}

/// A class; a number without a colon is all of it (`get_tc_classid` of iproute2).
fn class(text: &str) -> Result<Handle, Syntax> {
    let raw = u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16);
    raw.map(Handle::from_raw)
        .or_else(|_| text.parse().map_err(|error| Syntax::new(format!("priority: {error}"))))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{control, options};
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn anything() -> impl Strategy<Value = Skbedit> {
        let ptype = prop::option::of(prop::sample::select(&[PacketType::Host, PacketType::OtherHost]));
        let fields = (any::<Option<u16>>(), any::<Option<u32>>(), any::<Option<u32>>(), any::<Option<u32>>());
        (fields, ptype, any::<bool>(), control::tests::anything(), options::tests::anything()).prop_map(
            |((queue_mapping, priority, mark, mask), ptype, inheritdsfield, control, options)| Skbedit {
                queue_mapping,
                priority: priority.map(Handle::from_raw),
                mark,
                mask: mask.filter(|_| mark.is_some()),
                ptype,
                inheritdsfield,
                control,
                options,
            },
        )
    }

    #[test]
    fn a_priority_may_be_a_number() {
        assert_eq!(class("3"), Ok(Handle::new(0, 3)));
        assert_eq!(class("10002"), Ok(Handle::new(1, 2)));
        assert_eq!(class("1:10"), Ok(Handle::new(1, 0x10)));
        assert!(class("high").is_err());
    }
}
