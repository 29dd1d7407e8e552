//! The parts of a netem's settings that have several numbers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{LOSS, RATE, RATE64, SLOT};
use crate::attribute::{each, nest, put, u32_at, u64_at};
use crate::qdisc::share::Percent;
use crate::qdisc::write_said;
use crate::rate::Rate;
use crate::reply::Malformed;
use crate::size::Size;
use crate::time::Time;
use crate::words::{Syntax, Words, abbreviates};

/// `NLA_F_NESTED`, which `tc` sets here alone.
const NESTED: u16 = 1 << 15;

const LOSS_STATE: u16 = 1;
const LOSS_GEMODEL: u16 = 2;

/// A share of the packets, and how much what happens to one depends on the one before: `<percent> [<correlation>]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetemChance {
    /// How many.
    pub percent: Percent,
    /// `None`: they are independent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Percent>,
}

/// Which packets are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NetemLoss {
    /// Any: `loss [random] <percent> [<correlation>]`.
    Random(NetemChance),
    /// By a Markov chain of four states, of which the chances of a transition are given: `loss state <p13> [<p31> [<p32> [<p23>
    /// [<p14>]]]]`. In words what is not said is `100% - p13`, 0, 100%, 0.
    State {
        /// From receiving to losing in a burst.
        p13: Percent,
        /// Back.
        p31: Percent,
        /// From losing in a burst to receiving within it.
        p32: Percent,
        /// Back.
        p23: Percent,
        /// From receiving to losing a single packet.
        p14: Percent,
    },
    /// By the Gilbert-Elliott model of a good and a bad state: `loss gemodel <p> [<r> [<1-h> [<1-k>]]]`. In words what is not said is
    /// `100% - p`, 100%, 0.
    Gemodel {
        /// The chance to go from good to bad.
        p: Percent,
        /// The chance to go back.
        r: Percent,
        /// Losses in the bad state.
        #[serde(rename = "1-h")]
        one_minus_h: Percent,
        /// Losses in the good state.
        #[serde(rename = "1-k")]
        one_minus_k: Percent,
    },
}

/// Delays packets as a line of this rate does: `rate <rate> [<packet overhead> [<cell size> [<cell overhead>]]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetemRate {
    /// How fast.
    pub rate: Rate,
    /// Bytes added to each packet; may be negative.
    #[serde(default, skip_serializing_if = "crate::text::is_default")]
    pub packet_overhead: i32,
    /// Bytes of a cell, to which packets are filled up; 0: no cells.
    #[serde(default, skip_serializing_if = "crate::text::is_default")]
    pub cell_size: u32,
    /// Bytes added to each cell; may be negative.
    #[serde(default, skip_serializing_if = "crate::text::is_default")]
    pub cell_overhead: i32,
}

/// Keeps packets until the next slot, as on shared media: `slot <min> [<max>] [packets <number>] [bytes <size>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetemSlot {
    /// The least time between slots.
    pub min: Time,
    /// The longest, not below `min`, and above 0: the kernel does not keep a slot of no time. `tc` takes `min` where it is not said.
    pub max: Time,
    /// Packets that may go in one; up to 2^31 - 1. 0: any number.
    #[serde(default, skip_serializing_if = "crate::text::is_default")]
    pub packets: u32,
    /// Bytes that may go in one; up to 2^31 - 1. 0: any number.
    #[serde(default, skip_serializing_if = "crate::text::is_default")]
    pub bytes: u32,
}

impl NetemChance {
    pub(super) fn wire(chance: Option<Self>) -> (u32, u32) {
        chance.map_or((0, 0), |chance| (chance.percent.raw(), correlation(chance.correlation)))
    }

    /// `None` when nothing ever happens.
    pub(super) fn from_wire(percent: u32, correlation: u32) -> Option<Self> {
        (percent != 0 || correlation != 0)
            .then(|| Self { percent: Percent::from_raw(percent), correlation: said(correlation) })
    }
}

pub(super) fn correlation(correlation: Option<Percent>) -> u32 {
    correlation.map_or(0, Percent::raw)
}

pub(super) fn said(share: u32) -> Option<Percent> {
    Some(share).filter(|share| *share != 0).map(Percent::from_raw)
}

/// The next word when it is a number; what follows is optional where `tc` asks the first character (`NEXT_IS_NUMBER`).
pub(super) fn number<T: std::str::FromStr<Err: fmt::Display>>(
    words: &mut Words,
    keyword: &str,
) -> Result<Option<T>, Syntax> {
    let is_number = words.peek().is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit()));
    if is_number { words.parse(keyword).map(Some) } else { Ok(None) }
}

/// As [`number`], with a minus sign before it.
fn signed(words: &mut Words, keyword: &str) -> Result<Option<i32>, Syntax> {
    let is_number =
        words.peek().is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit() || c == '-'));
    if is_number { words.parse(keyword).map(Some) } else { Ok(None) }
}

impl NetemChance {
    pub(super) fn parse(keyword: &str, words: &mut Words) -> Result<Self, Syntax> {
        Ok(Self { percent: words.parse(keyword)?, correlation: number(words, keyword)? })
    }
}

impl NetemLoss {
    pub(super) fn encode(self, buffer: &mut Vec<u8>) {
        match self {
            Self::State { p13, p31, p32, p23, p14 } => {
                let model = [p13, p31, p32, p14, p23].map(|share| share.raw().to_ne_bytes());
                nest(buffer, LOSS | NESTED, |buffer| put(buffer, LOSS_STATE, model.as_flattened()));
            }
            Self::Gemodel { p, r, one_minus_h, one_minus_k } => {
                let h = u32::MAX - one_minus_h.raw();
                let model = [p.raw(), r.raw(), h, one_minus_k.raw()].map(u32::to_ne_bytes);
                nest(buffer, LOSS | NESTED, |buffer| put(buffer, LOSS_GEMODEL, model.as_flattened()));
            }
            // Among the options that are always there.
            Self::Random(_) => {}
        }
    }

    pub(super) fn decode(value: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut model = None;
        for attribute in each(value) {
            let (kind, value) = attribute?;
            let raw = |index: usize| {
                u32_at(value, index * 4).ok_or(Malformed("a loss model of netem is too short"))
            };
            let share = |index: usize| raw(index).map(Percent::from_raw);
            match kind {
                LOSS_STATE => {
                    let [p13, p31, p32, p14, p23] = [share(0)?, share(1)?, share(2)?, share(3)?, share(4)?];
                    model = Some(Self::State { p13, p31, p32, p23, p14 });
                }
                LOSS_GEMODEL => {
                    model = Some(Self::Gemodel {
                        p: share(0)?,
                        r: share(1)?,
                        one_minus_h: Percent::from_raw(u32::MAX - raw(2)?),
                        one_minus_k: share(3)?,
                    });
                }
                _ => {}
            }
        }
        Ok(model)
    }

    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        // The first share, and what is left to 100%, computed as tc does.
        let first = |words: &mut Words| {
            let text = words.value("loss")?;
            let fraction = Percent::read(text)
                .ok_or_else(|| Syntax::new(format!("loss: {text:?} is not a percentage from 0 to 100")))?;
            Ok((Percent::from_fraction(fraction), Percent::from_fraction(1.0 - fraction)))
        };
        match words.peek() {
            Some("random") => {
                words.next();
                NetemChance::parse("loss", words).map(Self::Random)
            }
            Some("state") => {
                words.next();
                let (p13, rest) = first(words)?;
                // Each may be said only when the one before is; in tc's order.
                let mut shares = [rest, Percent::default(), Percent::HUNDRED, Percent::default()];
                fill(&mut shares, words)?;
                let [p31, p32, p23, p14] = shares;
                Ok(Self::State { p13, p31, p32, p23, p14 })
            }
            Some("gemodel") => {
                words.next();
                let (p, rest) = first(words)?;
                let mut shares = [rest, Percent::HUNDRED, Percent::default()];
                fill(&mut shares, words)?;
                let [r, one_minus_h, one_minus_k] = shares;
                Ok(Self::Gemodel { p, r, one_minus_h, one_minus_k })
            }
            _ => NetemChance::parse("loss", words).map(Self::Random),
        }
    }
}

fn fill(shares: &mut [Percent], words: &mut Words) -> Result<(), Syntax> {
    for share in shares {
        match number(words, "loss")? {
            Some(said) => *share = said,
            None => break,
        }
    }
    Ok(())
}

impl NetemRate {
    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        let bytes = self.rate.bytes_per_second();
        if u32::try_from(bytes).is_err() {
            put(buffer, RATE64, &bytes.to_ne_bytes());
        }
        let narrow = u32::try_from(bytes).unwrap_or(u32::MAX);
        // struct tc_netem_rate
        let rate = [
            narrow,
            self.packet_overhead.cast_unsigned(),
            self.cell_size,
            self.cell_overhead.cast_unsigned(),
        ];
        put(buffer, RATE, rate.map(u32::to_ne_bytes).as_flattened());
    }

    pub(super) fn decode(value: &[u8], wide: Option<u64>) -> Result<Option<Self>, Malformed> {
        let word = |index: usize| u32_at(value, index * 4).ok_or(Malformed("TCA_NETEM_RATE is too short"));
        let cell_overhead = word(3)?.cast_signed();
        // The kernel tells a rate of 0 where there is none.
        let rate = match wide.unwrap_or(u64::from(word(0)?)) {
            0 => return Ok(None),
            bytes => Rate::from_bytes_per_second(bytes)
                .map_err(|_| Malformed("a netem with an impossible rate"))?,
        };
        Ok(Some(Self { rate, packet_overhead: word(1)?.cast_signed(), cell_size: word(2)?, cell_overhead }))
    }

    pub(super) fn parse(keyword: &str, words: &mut Words) -> Result<Self, Syntax> {
        let rate = words.parse(keyword)?;
        let packet_overhead = signed(words, keyword)?.unwrap_or(0);
        let is_number = words.peek().is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit()));
        let cell_size = if is_number { words.number(keyword)? } else { 0 };
        let cell_overhead = signed(words, keyword)?.unwrap_or(0);
        Ok(Self { rate, packet_overhead, cell_size, cell_overhead })
    }
}

impl NetemSlot {
    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        // struct tc_netem_slot: min_delay, max_delay, max_packets, max_bytes, dist_delay, dist_jitter
        let mut slot = [0; 40];
        slot[..8].copy_from_slice(&self.min.nanoseconds().to_ne_bytes());
        slot[8..16].copy_from_slice(&self.max.nanoseconds().to_ne_bytes());
        slot[16..20].copy_from_slice(&self.packets.to_ne_bytes());
        slot[20..24].copy_from_slice(&self.bytes.to_ne_bytes());
        put(buffer, SLOT, &slot);
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, Malformed> {
        const SHORT: Malformed = Malformed("TCA_NETEM_SLOT is too short");
        let time = |offset: usize| u64_at(value, offset).map(Time::from_nanoseconds).ok_or(SHORT);
        let word = |offset: usize| u32_at(value, offset).ok_or(SHORT);
        Ok(Self { min: time(0)?, max: time(8)?, packets: word(16)?, bytes: word(20)? })
    }

    pub(super) fn parse(keyword: &str, words: &mut Words) -> Result<Self, Syntax> {
        if words.peek() == Some("distribution") {
            return Err(Syntax::new("netem: the tables of distribution are not supported"));
        }
        let min = slot_time(words.value(keyword)?)?;
        let is_number = words.peek().is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit()));
        let max = if is_number { slot_time(words.value(keyword)?)? } else { min };
        let mut slot = Self { min, max, packets: 0, bytes: 0 };
        if let Some(word) = words.peek().filter(|word| abbreviates(word, "packets")) {
            words.next();
            slot.packets = words.number(word)?;
        }
        if let Some(word) = words.peek().filter(|word| abbreviates(word, "bytes")) {
            words.next();
            slot.bytes = words.parse::<Size>(word)?.bytes();
        }
        Ok(slot)
    }
}

/// Unlike anywhere else in a qdisc, a bare number is nanoseconds here (`get_time64`).
fn slot_time(text: &str) -> Result<Time, Syntax> {
    let bare = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let parsed = if bare { format!("{text}ns").parse() } else { text.parse() };
    parsed.map_err(|error| Syntax::new(format!("slot: {error}")))
}

impl fmt::Display for NetemChance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.percent.fmt(f)?;
        self.correlation.map_or(Ok(()), |correlation| write!(f, " {correlation}"))
    }
}

impl fmt::Display for NetemLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random(chance) => write!(f, "random {chance}"),
            Self::State { p13, p31, p32, p23, p14 } => write!(f, "state {p13} {p31} {p32} {p23} {p14}"),
            Self::Gemodel { p, r, one_minus_h, one_minus_k } => {
                write!(f, "gemodel {p} {r} {one_minus_h} {one_minus_k}")
            }
        }
    }
}

impl fmt::Display for NetemRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rate.exact().fmt(f)?;
        if (self.packet_overhead, self.cell_size, self.cell_overhead) == (0, 0, 0) {
            return Ok(());
        }
        write!(f, " {} {} {}", self.packet_overhead, self.cell_size, self.cell_overhead)
    }
}

impl fmt::Display for NetemSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.min, self.max)?;
        write_said(f, "packets", Some(self.packets).filter(|number| *number != 0))?;
        write_said(f, "bytes", Some(self.bytes).filter(|number| *number != 0))
    }
}
