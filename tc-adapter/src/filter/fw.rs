//! By the firewall's mark (tc-fw(8), `net/sched/cls_fw.c`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Common, Numbers};
use crate::attribute::{each, put, u32_at};
use crate::reply::Malformed;
use crate::words::{Syntax, Words, number};

const CLASSID: u16 = 1;
const POLICE: u16 = 2;
const INDEV: u16 = 3;
const ACT: u16 = 4;
const MASK: u16 = 5;

pub(super) const NUMBERS: Numbers = Numbers { classid: CLASSID, police: Some(POLICE), actions: ACT };

/// Packets that carry a mark: `tc filter … handle <mark>[/<mask>] fw`. The mark is the filter's handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fw {
    /// The bits of the mark that are compared; `None`: all. One for all filters of a prio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<u32>,
}

/// Reads a handle, `mark` or `mark/mask`.
pub(super) fn parse_mark(text: &str) -> Result<(u32, Option<u32>), Syntax> {
    match text.split_once('/') {
        None => Ok((number(text)?, None)),
        Some((mark, bits)) => Ok((number(mark)?, Some(number(bits)?))),
    }
}

/// Reads what follows the kind.
pub(super) fn parse(
    handle: Option<&str>,
    words: &mut Words,
    common: &mut Common,
) -> Result<(u32, Fw), Syntax> {
    let (handle, mask) = handle.map_or(Ok((0, None)), parse_mark)?;
    while let Some(word) = words.next() {
        if !common.take(word, words)? {
            return Err(Syntax::unknown("fw", word));
        }
    }
    Ok((handle, Fw { mask }))
}

impl Fw {
    pub(super) fn encode(self, buffer: &mut Vec<u8>) {
        if let Some(mask) = self.mask {
            put(buffer, MASK, &mask.to_ne_bytes());
        }
    }

    /// `None`: it also looks at the device that packets came in by, which cannot be said here.
    pub(super) fn decode(options: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut mask = None;
        for attribute in each(options) {
            match attribute? {
                (MASK, value) => mask = Some(u32_at(value, 0).ok_or(Malformed("TCA_FW_MASK is too short"))?),
                (INDEV, _) => return Ok(None),
                _ => {}
            }
        }
        Ok(Some(Self { mask }))
    }

    /// The kernel does not report a mask of all bits.
    pub(super) fn meets(self, actual: Self) -> bool {
        self.mask.unwrap_or(u32::MAX) == actual.mask.unwrap_or(u32::MAX)
    }

    pub(super) fn write(self, handle: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mask {
            Some(mask) => write!(f, " handle {handle:#x}/{mask:#x} fw"),
            None if handle != 0 => write!(f, " handle {handle:#x} fw"),
            None => f.write_str(" fw"),
        }
    }
}
