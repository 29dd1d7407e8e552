//! The generic action (tc-actions(8), `net/sched/act_gact.c`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::attribute::{each, put, u32_at};
use crate::reply::Malformed;
use crate::words::{Syntax, Words};

const PARMS: u16 = 2;

/// `tc … action <control>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gact {
    /// What becomes of the packet.
    pub control: Control,
}

/// What becomes of a packet after an action (`TC_ACT_*` of `include/uapi/linux/pkt_cls.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Control {
    /// `pass`, `ok`: it goes on, to the class of the filter.
    Pass,
    /// `drop`, `shot`.
    Drop,
}

impl Gact {
    pub(super) fn encode(self, buffer: &mut Vec<u8>) {
        // struct tc_gact: index, capab, action, refcnt, bindcnt
        let control = match self.control {
            Control::Pass => 0,
            Control::Drop => 2,
        };
        put(buffer, PARMS, [0, 0, control, 0, 0].map(u32::to_ne_bytes).as_flattened());
    }

    pub(super) fn decode(options: &[u8]) -> Result<Self, Malformed> {
        for attribute in each(options) {
            if let (PARMS, value) = attribute? {
                return match u32_at(value, 8) {
                    Some(0) => Ok(Self { control: Control::Pass }),
                    Some(2) => Ok(Self { control: Control::Drop }),
                    _ => Err(Malformed("a generic action with an unknown control")),
                };
            }
        }
        Err(Malformed("a generic action without TCA_GACT_PARMS"))
    }

    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        match words.value("action")? {
            "pass" | "ok" => Ok(Self { control: Control::Pass }),
            "drop" | "shot" => Ok(Self { control: Control::Drop }),
            other => Err(Syntax::unknown("action", other)),
        }
    }
}

impl fmt::Display for Gact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.control {
            Control::Pass => "pass",
            Control::Drop => "drop",
        })
    }
}
