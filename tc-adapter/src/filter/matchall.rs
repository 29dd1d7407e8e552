//! All packets (tc-matchall(8), `net/sched/cls_matchall.c`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Common, Numbers, SkipFlags};
use crate::attribute::{each, u32_at};
use crate::reply::Malformed;
use crate::words::{Syntax, Words, number};

const CLASSID: u16 = 1;
const ACT: u16 = 2;
const FLAGS: u16 = 3;

pub(super) const NUMBERS: Numbers = Numbers { classid: CLASSID, police: None, actions: ACT };

/// `tc filter … matchall [skip_hw|skip_sw]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Matchall {
    /// Whether the hardware, and whether the kernel, is to be left out.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub skip: SkipFlags,
}

impl Matchall {
    pub(super) fn encode(self, buffer: &mut Vec<u8>) {
        self.skip.encode(FLAGS, buffer);
    }

    pub(super) fn decode(options: &[u8]) -> Result<Self, Malformed> {
        let mut skip = SkipFlags::default();
        for attribute in each(options) {
            if let (FLAGS, value) = attribute? {
                let bits = u32_at(value, 0).ok_or(Malformed("TCA_MATCHALL_FLAGS is too short"))?;
                skip = SkipFlags::from_bits(bits);
            }
        }
        Ok(Self { skip })
    }

    /// Reads what follows the kind.
    pub(super) fn parse(
        handle: Option<&str>,
        words: &mut Words,
        common: &mut Common,
    ) -> Result<(u32, Self), Syntax> {
        let mut matchall = Self::default();
        while let Some(word) = words.next() {
            match word {
                "skip_hw" => matchall.skip.skip_hw = true,
                "skip_sw" => matchall.skip.skip_sw = true,
                _ if common.take(word, words)? => {}
                other => return Err(Syntax::unknown("matchall", other)),
            }
        }
        Ok((handle.map_or(Ok(0), number)?, matchall))
    }
}

impl fmt::Display for Matchall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "matchall{}", self.skip)
    }
}
