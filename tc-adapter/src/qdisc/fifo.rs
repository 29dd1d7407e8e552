//! The plain queues (tc-bfifo(8), `net/sched/sch_fifo.c`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{TCA_OPTIONS, is_longest_packet};
use crate::attribute::{put, u32_at};
use crate::link::Link;
use crate::reply::Malformed;
use crate::size::Size;
use crate::words::{Syntax, Words};

/// First in, first out, bounded by packets: `tc qdisc … pfifo [limit <packets>]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pfifo {
    /// Packets that it holds; `None`: the device's transmit queue length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// First in, first out, bounded by bytes: `tc qdisc … bfifo [limit <size>]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bfifo {
    /// Bytes that it holds; `None`: the device's transmit queue length times its MTU with the link-layer header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Size>,
}

/// `struct tc_fifo_qopt`. Without a limit `tc` sends no options at all.
fn encode(limit: Option<u32>, buffer: &mut Vec<u8>) {
    if let Some(limit) = limit {
        put(buffer, TCA_OPTIONS, &limit.to_ne_bytes());
    }
}

fn decode(options: &[u8]) -> Result<Option<u32>, Malformed> {
    Ok(Some(u32_at(options, 0).ok_or(Malformed("the options of a fifo are too short"))?))
}

impl Pfifo {
    pub(super) fn encode(self, buffer: &mut Vec<u8>) {
        encode(self.limit, buffer);
    }

    pub(super) fn decode(options: &[u8]) -> Result<Self, Malformed> {
        Ok(Self { limit: decode(options)? })
    }

    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        let mut pfifo = Self::default();
        while let Some(word) = words.next() {
            match word {
                "limit" => pfifo.limit = Some(words.number(word)?),
                other => return Err(Syntax::unknown("pfifo", other)),
            }
        }
        Ok(pfifo)
    }

    pub(super) fn meets(self, actual: Self, transmit_queue_length: u32) -> bool {
        // A device without a queue of its own counts as one of 1 (fifo_init).
        let limit = self.limit.unwrap_or(transmit_queue_length.max(1));
        actual.limit == Some(limit)
    }
}

impl Bfifo {
    pub(super) fn encode(self, buffer: &mut Vec<u8>) {
        encode(self.limit.map(Size::bytes), buffer);
    }

    pub(super) fn decode(options: &[u8]) -> Result<Self, Malformed> {
        Ok(Self { limit: decode(options)?.map(Size::from_bytes) })
    }

    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        let mut bfifo = Self::default();
        while let Some(word) = words.next() {
            match word {
                "limit" => bfifo.limit = Some(words.parse(word)?),
                other => return Err(Syntax::unknown("bfifo", other)),
            }
        }
        Ok(bfifo)
    }

    /// The default depends on the device's link-layer header, which is not known here: unsaid is not compared.
    pub(super) fn meets(self, actual: Self, link: Link) -> bool {
        if self.limit.is_some() {
            return self.limit == actual.limit;
        }
        // So many of the largest packets, of which only the link-layer header is not known here (fifo_init).
        let (limit, length) = (actual.limit.map_or(0, Size::bytes), link.transmit_queue_length.max(1));
        limit % length == 0 && is_longest_packet(limit / length, link)
    }
}

/// As words of a `tc` command.
impl fmt::Display for Pfifo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.limit.map_or(Ok(()), |limit| write!(f, " limit {limit}"))
    }
}

/// As words of a `tc` command.
impl fmt::Display for Bfifo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.limit.map_or(Ok(()), |limit| write!(f, " limit {}", limit.exact()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_not_said_is_the_devices() {
        let link = Link { mtu: 1500, transmit_queue_length: 1000 };
        let bfifo = |limit: Option<u32>| Bfifo { limit: limit.map(Size::from_bytes) };
        let meets = |wanted, actual, link| bfifo(wanted).meets(bfifo(Some(actual)), link);
        assert!(meets(None, 1_514_000, link) && meets(None, 1_500_000, link));
        assert!(!meets(None, 1_499_000, link) && !meets(None, 1_514_001, link) && !meets(None, 10_000, link));
        assert!(meets(None, 1514, Link { transmit_queue_length: 0, ..link }));
        assert!(meets(Some(10_000), 10_000, link) && !meets(Some(10_000), 1_514_000, link));
    }
}
