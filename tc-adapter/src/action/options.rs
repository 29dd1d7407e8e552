//! What every action may say.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::attribute::{put, u32_at};
use crate::reply::Malformed;
use crate::text::serde_as_text;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words, abbreviates};

pub(super) const COOKIE: u16 = 6;
pub(super) const HW_STATS: u16 = 8;

/// `TC_COOKIE_MAX_SIZE`.
const LONGEST_COOKIE: usize = 16;

/// `[index <index>] [cookie <cookie>] [hw_stats <type>]` (tc-actions(8)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ActionOptions {
    /// `index`: its number among the actions of its kind. 0: the kernel takes a free one, and reports it. Filters that say the
    /// same number share the action: one that is there already stays as it is, whatever else is said of it.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub index: u32,
    /// `cookie`: up to 16 bytes that mean nothing to the kernel.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub cookie: Cookie,
    /// `hw_stats`: how the hardware is to count; `None`: as it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hw_stats: Option<HwStats>,
}

/// Up to 16 bytes; as text hexadecimal, two digits a byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cookie(Vec<u8>);

/// `TCA_ACT_HW_STATS_*` of `include/uapi/linux/pkt_cls.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HwStats {
    /// The counters are read when they are asked for.
    Immediate,
    /// The counters may be some seconds old.
    Delayed,
    /// The hardware need not count.
    Disabled,
}

impl ActionOptions {
    /// Whether the action is of this number, where one is said, and so on. One with a number may be another's, along with its cookie.
    pub(super) fn meets(&self, actual: &Self) -> bool {
        let is_others = self.index != 0 && self.cookie.0.is_empty();
        (self.index == 0 || self.index == actual.index)
            && (is_others || self.cookie == actual.cookie)
            && (self.hw_stats.is_none() || self.hw_stats == actual.hw_stats)
    }

    /// Appends what is not in the kind's own attributes: all but the index.
    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        if !self.cookie.0.is_empty() {
            put(buffer, COOKIE, &self.cookie.0);
        }
        if let Some(hw_stats) = self.hw_stats {
            let bit = match hw_stats {
                HwStats::Disabled => 0_u32,
                HwStats::Immediate => 1,
                HwStats::Delayed => 2,
            };
            // struct nla_bitfield32: value, selector
            put(buffer, HW_STATS, [bit, bit].map(u32::to_ne_bytes).as_flattened());
        }
    }

    /// Reads one attribute of the action, if it is one of these.
    pub(super) fn take_attribute(&mut self, number: u16, value: &[u8]) -> Result<(), Malformed> {
        match number {
            COOKIE => self.cookie = Cookie(value.to_vec()),
            HW_STATS => {
                let short = Malformed("TCA_ACT_HW_STATS is too short");
                let (bits, selector) = u32_at(value, 0).zip(u32_at(value, 4)).ok_or(short)?;
                self.hw_stats = match bits & selector {
                    0 => Some(HwStats::Disabled),
                    1 => Some(HwStats::Immediate),
                    2 => Some(HwStats::Delayed),
                    _ => None,
                };
            }
            _ => {}
        }
        Ok(())
    }

    /// `index <index>`, if it follows.
    pub(super) fn parse_index(&mut self, words: &mut Words) -> Result<bool, Syntax> {
        let found = words.peek().is_some_and(|word| abbreviates(word, "index"));
        if found {
            words.next();
            self.index = words.number("index")?;
        }
        Ok(found)
    }

    /// What follows the kind's own words.
    pub(super) fn parse(&mut self, words: &mut Words) -> Result<(), Syntax> {
        if words.take("cookie") {
            self.cookie = words.parse("cookie")?;
        }
        if words.peek().is_some_and(|word| abbreviates(word, "hw_stats")) {
            words.next();
            let word = words.value("hw_stats")?;
            self.hw_stats = Some(match word {
                _ if abbreviates(word, "immediate") => HwStats::Immediate,
                _ if abbreviates(word, "delayed") => HwStats::Delayed,
                _ if abbreviates(word, "disabled") => HwStats::Disabled,
                other => return Err(Syntax::unknown("hw_stats", other)),
            });
        }
        Ok(())
    }

    pub(super) fn validate(&self, kind: &'static str) -> Result<(), InvalidRequest> {
        if self.cookie.0.len() > LONGEST_COOKIE {
            return Err(InvalidRequest::Setting { kind, setting: "cookie", allowed: "at most 16 bytes" });
        }
        Ok(())
    }
}

/// With a blank in front.
impl fmt::Display for ActionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.index != 0 {
            write!(f, " index {}", self.index)?;
        }
        if !self.cookie.0.is_empty() {
            write!(f, " cookie {}", self.cookie)?;
        }
        match self.hw_stats {
            None => Ok(()),
            Some(HwStats::Immediate) => f.write_str(" hw_stats immediate"),
            Some(HwStats::Delayed) => f.write_str(" hw_stats delayed"),
            Some(HwStats::Disabled) => f.write_str(" hw_stats disabled"),
        }
    }
}

impl Cookie {
    /// Of these bytes, 16 at most.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

serde_as_text!(Cookie, Cookie::to_string);

impl FromStr for Cookie {
    type Err = Syntax;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: Option<Vec<u8>> =
            text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let digits = digits.filter(|digits| digits.len() % 2 == 0 && digits.len() <= 2 * LONGEST_COOKIE);
        let bytes = digits.map(|digits| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect());
        bytes.map(Self).ok_or_else(|| {
            Syntax::new(format!("{text:?} is not a cookie: up to 32 hexadecimal digits, two a byte"))
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn anything() -> impl Strategy<Value = ActionOptions> {
        let hw_stats = prop::sample::select(&[HwStats::Immediate, HwStats::Delayed, HwStats::Disabled]);
        (any::<u32>(), prop::collection::vec(any::<u8>(), 0..=16), prop::option::of(hw_stats))
            .prop_map(|(index, cookie, hw_stats)| ActionOptions { index, cookie: Cookie(cookie), hw_stats })
    }

    #[test]
    fn a_cookie_that_is_not_said_is_none() {
        let options = |index, cookie: &[u8]| ActionOptions {
            index,
            cookie: Cookie(cookie.to_vec()),
            ..ActionOptions::default()
        };
        assert!(options(0, &[1]).meets(&options(7, &[1])) && options(0, &[]).meets(&options(7, &[])));
        assert!(!options(0, &[]).meets(&options(7, &[1])) && !options(0, &[2]).meets(&options(7, &[1])));
        assert!(options(7, &[]).meets(&options(7, &[1])) && !options(6, &[]).meets(&options(7, &[])));
    }
}
