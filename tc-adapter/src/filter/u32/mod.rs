//! By the packet's words, in a tree of hash tables (tc-u32(8), `net/sched/cls_u32.c`).

mod handle;
mod parse;
mod select;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Numbers, SkipFlags};
use crate::attribute::{each, put, text, u16_at, u32_at};
use crate::reply::Malformed;
use crate::validate::InvalidRequest;

pub(super) use handle::{Text, parse as parse_handle};
pub use select::U32Key;

const CLASSID: u16 = 1;
const HASH: u16 = 2;
const LINK: u16 = 3;
const DIVISOR: u16 = 4;
const SEL: u16 = 5;
const POLICE: u16 = 6;
const ACT: u16 = 7;
const INDEV: u16 = 8;
const PCNT: u16 = 9;
const MARK: u16 = 10;
const FLAGS: u16 = 11;

pub(super) const NUMBERS: Numbers = Numbers { classid: CLASSID, police: Some(POLICE), actions: ACT };

/// Flags of `struct tc_u32_sel`.
const TERMINAL: u8 = 1;
const OFFSET: u8 = 2;
const VAROFFSET: u8 = 4;
const EAT: u8 = 8;

/// Bytes of a `struct tc_u32_sel` without its keys, and of a `struct tc_u32_key`.
const SEL_SIZE: usize = 16;
const KEY_SIZE: usize = 16;
/// How many words `tc` lets a filter compare.
const MOST_KEYS: usize = 128;
/// Hash tables from here on the kernel has named itself; the first of a prio is its root.
const AUTOMATIC: u32 = 0x800;
/// The bits of a handle that tell the nodes of a bucket apart.
const NODE: u32 = 0xFFF;

/// A node's number in its bucket.
pub(super) const fn node(handle: u32) -> u32 {
    handle & NODE
}

/// `IFNAMSIZ` without the NUL.
const LONGEST_NAME: usize = 15;

/// `tc filter … u32 …`: a hash table, when it has a divisor, or else a node in a bucket of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct U32 {
    /// `divisor`: a hash table with this many buckets, a power of two up to 256. Its name is the filter's handle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divisor: Option<u32>,
    /// `ht`: the hash table and the bucket that the node is in, such as `2:1a:`; `None`: bucket 0 of the prio's root table, whose
    /// name (`800:` for the first prio) the kernel reports.
    #[serde(with = "handle::as_text", skip_serializing_if = "Option::is_none")]
    pub ht: Option<u32>,
    /// `link`: packets that match are looked up in this hash table.
    #[serde(with = "handle::as_text", skip_serializing_if = "Option::is_none")]
    pub link: Option<u32>,
    /// `match`: what must all be equal. With `match u32 0 0`, every packet matches.
    #[serde(rename = "match", with = "select::as_text", skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<U32Key>,
    /// `match mark`: the firewall's mark must be equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<U32Mark>,
    /// `hashkey`: what of the packet says the bucket in the table of `link`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hashkey: Option<U32HashKey>,
    /// `offset`: where the next header begins, for the table of `link`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<U32Offset>,
    /// `indev`: the name of the device that the packet came in by, which must be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub indev: Option<String>,
    /// Whether the hardware, and whether the kernel, is to be left out.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub skip: SkipFlags,
}

/// `match mark <value> <mask>` (`struct tc_u32_mark`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct U32Mark {
    /// What the mark's bits under the mask must be.
    pub value: u32,
    /// Which bits are compared.
    pub mask: u32,
}

/// `hashkey mask <mask> at <offset>`: the bits of this word, shifted down to where the mask begins, are the bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct U32HashKey {
    /// Which bits.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub mask: u32,
    /// Bytes to the word from the start of the network header, a multiple of 4.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub at: i16,
}

/// `offset [plus <bytes>] [at <offset> mask <mask> shift <bits>] [eat]`: where the next header begins, from this one on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct U32Offset {
    /// A fixed number of bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plus: Option<u16>,
    /// Bytes that the packet itself says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<U32VariableOffset>,
    /// `eat`: the headers so far are left behind for good; offsets count from the next one on, without `nexthdr+`.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub eat: bool,
}

/// `at <offset> mask <mask> shift <bits>`: a 16-bit number of the packet, masked, then shifted right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct U32VariableOffset {
    /// Bytes to the number from the start of the header; even.
    pub at: i16,
    /// Which bits.
    pub mask: u16,
    /// How far to the right; 0 to 15.
    pub shift: u8,
}

/// How often a node was asked (`struct tc_u32_pcnt`), where the kernel counts it (`CONFIG_CLS_U32_PERF`); `tc -s filter show`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct U32Hits {
    /// Packets that it was asked about: "rule hit".
    pub asked: u64,
    /// Packets that matched: "success".
    pub matched: u64,
    /// Packets that each of its words let through, in the order of the words.
    pub keys: Vec<u64>,
}

impl U32Hits {
    /// The counters among these options, if there are any.
    pub(super) fn decode(options: &[u8]) -> Result<Option<Self>, Malformed> {
        for attribute in each(options) {
            if let (PCNT, value) = attribute? {
                let mut counters = value.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes));
                let (asked, matched) =
                    counters.next().zip(counters.next()).ok_or(Malformed("TCA_U32_PCNT is too short"))?;
                return Ok(Some(Self { asked, matched, keys: counters.collect() }));
            }
        }
        Ok(None)
    }
}

impl U32 {
    /// A node that matches when all of these words are equal.
    pub fn matching(keys: Vec<U32Key>) -> Self {
        Self { keys, ..Self::default() }
    }

    /// A hash table of this many buckets.
    pub fn table(divisor: u32) -> Self {
        Self { divisor: Some(divisor), ..Self::default() }
    }

    /// Whether it is a hash table, and not a node.
    pub const fn is_table(&self) -> bool {
        self.divisor.is_some()
    }

    /// Its hash table and the bucket in it; 0: bucket 0 of the prio's root table, which is as good as not saying so.
    pub(super) fn bucket(&self) -> u32 {
        let own = |ht: &u32| ht >> 20 < AUTOMATIC || ht & 0x000F_F000 != 0;
        self.ht.filter(own).map_or(0, |ht| ht & !NODE)
    }

    /// Whether the node says what it compares; only a change may leave that out.
    fn selects(&self) -> bool {
        !self.keys.is_empty() || self.mark.is_some()
    }

    /// `terminal`: packets that match need not be looked up any further.
    pub(super) fn encode(&self, terminal: bool, buffer: &mut Vec<u8>) {
        for (number, value) in [(DIVISOR, self.divisor), (HASH, self.ht), (LINK, self.link)] {
            if let Some(value) = value {
                put(buffer, number, &value.to_ne_bytes());
            }
        }
        if let Some(indev) = &self.indev {
            put(buffer, INDEV, &[indev.as_bytes(), &[0]].concat());
        }
        if let Some(mark) = self.mark {
            put(buffer, MARK, [mark.value, mark.mask, 0].map(u32::to_ne_bytes).as_flattened());
        }
        if self.selects() {
            put(buffer, SEL, &self.selector(terminal));
        }
        self.skip.encode(FLAGS, buffer);
    }

    /// `struct tc_u32_sel`: flags, offshift, nkeys, offmask (big endian), off, offoff, hoff, hmask (big endian), keys.
    fn selector(&self, terminal: bool) -> Vec<u8> {
        let (offset, hash) = (self.offset.unwrap_or_default(), self.hashkey.unwrap_or_default());
        let variable = offset.variable.unwrap_or_default();
        let flags = [
            (terminal, TERMINAL),
            (offset.plus.is_some(), OFFSET),
            (offset.variable.is_some(), VAROFFSET),
            (offset.eat, EAT),
        ];
        let flags = flags.into_iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag);
        let keys = self.keys.get(..MOST_KEYS).unwrap_or(&self.keys);
        let mut sel = vec![flags, variable.shift, u8::try_from(keys.len()).unwrap_or(0), 0];
        sel.extend(variable.mask.to_be_bytes());
        sel.extend(offset.plus.unwrap_or(0).to_ne_bytes());
        sel.extend(variable.at.to_ne_bytes());
        sel.extend(hash.at.to_ne_bytes());
        sel.extend(hash.mask.to_be_bytes());
        for key in keys {
            // struct tc_u32_key: mask and val (big endian), off, offmask
            sel.extend(key.mask.to_be_bytes());
            sel.extend((key.value & key.mask).to_be_bytes());
            sel.extend(key.offset.to_ne_bytes());
            sel.extend(key.offmask.to_ne_bytes());
        }
        sel
    }

    pub(super) fn decode(options: &[u8]) -> Result<Self, Malformed> {
        let mut u32 = Self::default();
        for attribute in each(options) {
            let (number, value) = attribute?;
            let word = |what| u32_at(value, 0).ok_or(Malformed(what));
            match number {
                DIVISOR => u32.divisor = Some(word("TCA_U32_DIVISOR is too short")?),
                HASH => u32.ht = Some(word("TCA_U32_HASH is too short")?).filter(|ht| *ht != 0),
                LINK => u32.link = Some(word("TCA_U32_LINK is too short")?),
                SEL => u32.take_selector(value).ok_or(Malformed("TCA_U32_SEL is too short"))?,
                INDEV => u32.indev = Some(text(value)),
                MARK => {
                    let short = Malformed("TCA_U32_MARK is too short");
                    let (value, mask) = u32_at(value, 0).zip(u32_at(value, 4)).ok_or(short)?;
                    u32.mark = Some(U32Mark { value, mask });
                }
                FLAGS => u32.skip = SkipFlags::from_bits(word("TCA_U32_FLAGS is too short")?),
                _ => {}
            }
        }
        Ok(u32)
    }

    fn take_selector(&mut self, sel: &[u8]) -> Option<()> {
        let big = |at: usize| Some(u32::from_be(u32_at(sel, at)?));
        let (head, keys) = sel.split_at_checked(SEL_SIZE)?;
        let (flags, shift, count) = (head[0], head[1], usize::from(head[2]));
        let [plus, at, hash_at] = [6, 8, 10].map(|at| u16_at(sel, at).unwrap_or(0));
        let variable = U32VariableOffset { at: at.cast_signed(), mask: u16::from_be(u16_at(sel, 4)?), shift };
        let offset = U32Offset {
            plus: (flags & OFFSET != 0).then_some(plus),
            variable: (flags & VAROFFSET != 0).then_some(variable),
            eat: flags & EAT != 0,
        };
        self.offset = Some(offset).filter(|offset| *offset != U32Offset::default());
        let hashkey = U32HashKey { mask: big(12)?, at: hash_at.cast_signed() };
        self.hashkey = Some(hashkey).filter(|hashkey| *hashkey != U32HashKey::default());
        for key in keys.get(..count * KEY_SIZE)?.chunks_exact(KEY_SIZE) {
            let [mask, value, offset, offmask] = [0, 4, 8, 12].map(|at| u32_at(key, at).unwrap_or(0));
            let (mask, value) = (u32::from_be(mask), u32::from_be(value));
            let (offset, offmask) = (offset.cast_signed(), offmask.cast_signed());
            self.keys.push(U32Key { value: value & mask, mask, offset, offmask });
        }
        Some(())
    }

    pub(super) fn validate(&self) -> Result<(), InvalidRequest> {
        let refuse = |setting, allowed| Err(InvalidRequest::Setting { kind: "u32", setting, allowed });
        if self.divisor.is_some_and(|divisor| divisor > 256 || !divisor.is_power_of_two()) {
            return refuse("divisor", "a power of two from 1 to 256");
        }
        if !self.selects() && (self.hashkey.is_some() || self.offset.is_some()) {
            return refuse("hashkey and offset", "with a match, without which they are not sent");
        }
        if self.keys.len() > MOST_KEYS {
            return refuse("match", "at most 128 words");
        }
        if self.link.is_some_and(|link| link & handle::NODE_MASK != 0) {
            return refuse("link", "a hash table");
        }
        if self.indev.as_ref().is_some_and(|name| !(1..=LONGEST_NAME).contains(&name.len())) {
            return refuse("indev", "a device name of 1 to 15 bytes");
        }
        self.skip.validate("u32")
    }

    /// See [`super::Filter::meets`]. A table that the kernel has named itself is where a node is that was not told one; a
    /// selector that is not said stays as it is.
    pub(super) fn meets(&self, actual: &Self) -> bool {
        let same_table = self.ht == actual.ht || self.ht.is_none() && actual.bucket() == 0;
        // 0 takes a link away.
        let link = |u32: &Self| u32.link.filter(|link| *link != 0);
        let selector = |u32: &Self| (u32.keys.clone(), u32.mark, u32.hashkey, u32.offset);
        same_table
            && (self.divisor, link(self)) == (actual.divisor, link(actual))
            && (!self.selects() || selector(self) == selector(actual))
            && (&self.indev, self.skip) == (&actual.indev, actual.skip)
    }
}

impl fmt::Display for U32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("u32")?;
        if let Some(divisor) = self.divisor {
            write!(f, " divisor {divisor}")?;
        }
        // In front, since tc wants a word to follow it.
        if let Some(mark) = self.mark {
            write!(f, " match mark {:#x} {:#x}", mark.value, mark.mask)?;
        }
        self.keys.iter().try_for_each(|key| write!(f, " match {key}"))?;
        if let Some(hashkey) = self.hashkey {
            write!(f, " hashkey mask {:#x} at {}", hashkey.mask, hashkey.at)?;
        }
        if let Some(offset) = self.offset {
            f.write_str(" offset")?;
            if let Some(variable) = offset.variable {
                write!(f, " at {} mask {:#x} shift {}", variable.at, variable.mask, variable.shift)?;
            }
            if let Some(plus) = offset.plus {
                write!(f, " plus {plus}")?;
            }
            f.write_str(if offset.eat { " eat" } else { "" })?;
        }
        for (word, table) in [("ht", self.ht), ("link", self.link)] {
            if let Some(table) = table {
                write!(f, " {word} {}", Text(table))?;
            }
        }
        if let Some(indev) = &self.indev {
            write!(f, " indev {indev}")?;
        }
        self.skip.fmt(f)
    }
}

#[cfg(test)]
pub(super) mod tests;
