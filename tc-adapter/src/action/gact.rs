//! The generic action (tc-actions(8), `net/sched/act_gact.c`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::control::Control;
use super::options::ActionOptions;
use crate::attribute::{each, put, u16_at, u32_at};
use crate::reply::Malformed;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words, abbreviates};

const PARMS: u16 = 2;
const PROB: u16 = 3;

/// `tc … action <control> [random <type> <control> <value>]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gact {
    /// What becomes of the packet.
    pub control: Control,
    /// What becomes of some packets instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random: Option<GactRandom>,
    /// What every action may say.
    #[serde(default, skip_serializing_if = "crate::text::is_default")]
    pub options: ActionOptions,
}

/// `random <type> <control> <value>` (`struct tc_gact_p`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GactRandom {
    /// Which packets.
    #[serde(rename = "type")]
    pub kind: RandomKind,
    /// What becomes of them.
    pub control: Control,
    /// One packet in this many; 0 to 10000.
    pub value: u16,
}

/// Which packets are taken for the random ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RandomKind {
    /// `netrand`: by chance.
    Netrand = 1,
    /// `determ`: every one whose turn it is.
    Determ = 2,
}

impl Gact {
    /// `action <control>`.
    pub fn new(control: Control) -> Self {
        Self { control, random: None, options: ActionOptions::default() }
    }

    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        // struct tc_gact: index, capab, action, refcnt, bindcnt
        let parms = [self.options.index, 0, self.control.value(), 0, 0];
        put(buffer, PARMS, parms.map(u32::to_ne_bytes).as_flattened());
        if let Some(random) = self.random {
            // struct tc_gact_p: ptype, pval, paction
            let halves = [random.kind as u16, random.value].map(u16::to_ne_bytes);
            put(buffer, PROB, &[halves.as_flattened(), &random.control.value().to_ne_bytes()].concat());
        }
    }

    pub(super) fn decode(options: &[u8]) -> Result<Self, Malformed> {
        const UNKNOWN: Malformed = Malformed("a generic action with an unknown control");
        let control = |value: &[u8], at| u32_at(value, at).and_then(Control::from_value).ok_or(UNKNOWN);
        let (mut parms, mut random) = (None, None);
        for attribute in each(options) {
            match attribute? {
                (PARMS, value) => parms = Some((control(value, 8)?, u32_at(value, 0).unwrap_or(0))),
                (PROB, value) => {
                    let kind = match u16_at(value, 0) {
                        Some(1) => RandomKind::Netrand,
                        Some(2) => RandomKind::Determ,
                        _ => continue,
                    };
                    let probability = u16_at(value, 2).unwrap_or(0);
                    random = Some(GactRandom { kind, control: control(value, 4)?, value: probability });
                }
                _ => {}
            }
        }
        let (control, index) = parms.ok_or(Malformed("a generic action without TCA_GACT_PARMS"))?;
        Ok(Self { control, random, options: ActionOptions { index, ..ActionOptions::default() } })
    }

    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        let mut gact = Self::new(Control::Pass);
        // An action that is there already, by its number alone.
        if gact.options.parse_index(words)? {
            return Ok(gact);
        }
        gact.control = Control::parse(words)?;
        if words.peek().is_some_and(|word| abbreviates(word, "random")) {
            words.next();
            let word = words.value("random")?;
            let kind = match word {
                _ if abbreviates(word, "netrand") => RandomKind::Netrand,
                _ if abbreviates(word, "determ") => RandomKind::Determ,
                other => return Err(Syntax::unknown("random", other)),
            };
            gact.random =
                Some(GactRandom { kind, control: Control::parse(words)?, value: words.number("random")? });
        }
        gact.options.parse_index(words)?;
        Ok(gact)
    }

    pub(super) fn validate(&self) -> Result<(), InvalidRequest> {
        if self.random.is_some_and(|random| random.value > 10_000) {
            return Err(InvalidRequest::Setting {
                kind: "gact",
                setting: "random",
                allowed: "at most 10000",
            });
        }
        self.options.validate("gact")
    }
}

impl fmt::Display for Gact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.control.fmt(f)?;
        if let Some(GactRandom { kind, control, value }) = self.random {
            let kind = match kind {
                RandomKind::Netrand => "netrand",
                RandomKind::Determ => "determ",
            };
            write!(f, " random {kind} {control} {value}")?;
        }
        self.options.fmt(f)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{control, options};
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn anything() -> impl Strategy<Value = Gact> {
        let kind = prop::sample::select(&[RandomKind::Netrand, RandomKind::Determ]);
        let random = (kind, control::tests::anything(), any::<u16>())
            .prop_map(|(kind, control, value)| GactRandom { kind, control, value });
        (control::tests::anything(), prop::option::of(random), options::tests::anything())
            .prop_map(|(control, random, options)| Gact { control, random, options })
    }
}
