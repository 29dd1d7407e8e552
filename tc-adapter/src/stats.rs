//! The counters that every qdisc and class has.

use crate::attribute::{each, u32_at, u64_at};
use crate::reply::Malformed;

/// Counters since creation, and what is queued now (`TCA_STATS2`, `include/uapi/linux/gen_stats.h`);
/// `tc -s qdisc show`, `tc -s class show`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes sent.
    pub bytes: u64,
    /// Packets sent.
    pub packets: u64,
    /// Packets dropped; wraps at 2^32, as the three below.
    pub drops: u32,
    /// Times that sending was put off because a limit was reached.
    pub overlimits: u32,
    /// Packets that the driver handed back.
    pub requeues: u32,
    /// Bytes queued now.
    pub backlog: u32,
    /// Packets queued now.
    pub qlen: u32,
    /// The rate estimator's view; `None` when none was configured (HTB classes have one only on request).
    pub rate: Option<RateEstimate>,
}

/// What a rate estimator measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateEstimate {
    /// Bytes per second.
    pub bytes_per_second: u64,
    /// Packets per second.
    pub packets_per_second: u64,
}

const BASIC: u16 = 1;
const RATE_EST: u16 = 2;
const QUEUE: u16 = 3;
const APP: u16 = 4;
const RATE_EST64: u16 = 5;
const PKT64: u16 = 8;

impl Stats {
    /// Reads the value of `TCA_STATS2`; also gives the value of `TCA_STATS_APP`, which belongs to the kind.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, Option<&[u8]>), Malformed> {
        const SHORT: Malformed = Malformed("a statistics attribute is too short");
        let mut stats = Self::default();
        let (mut narrow, mut wide, mut packets64, mut app) = (None, None, None, None);
        for attribute in each(bytes) {
            let (kind, value) = attribute?;
            let word = |index: usize| u32_at(value, index * 4).ok_or(SHORT);
            let double = |index: usize| u64_at(value, index * 8).ok_or(SHORT);
            match kind {
                BASIC => (stats.bytes, stats.packets) = (double(0)?, u64::from(word(2)?)),
                PKT64 => packets64 = Some(double(0)?),
                QUEUE => {
                    (stats.qlen, stats.backlog, stats.drops) = (word(0)?, word(1)?, word(2)?);
                    (stats.requeues, stats.overlimits) = (word(3)?, word(4)?);
                }
                RATE_EST => narrow = Some((u64::from(word(0)?), u64::from(word(1)?))),
                RATE_EST64 => wide = Some((double(0)?, double(1)?)),
                APP => app = Some(value),
                _ => {}
            }
        }
        stats.packets = packets64.unwrap_or(stats.packets);
        stats.rate = wide.or(narrow).map(|(bytes_per_second, packets_per_second)| RateEstimate {
            bytes_per_second,
            packets_per_second,
        });
        Ok((stats, app))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::put;
    use proptest::prelude::*;

    #[test]
    fn sixty_four_bit_counters_win_in_any_order() {
        for reversed in [false, true] {
            let mut parts: Vec<(u16, Vec<u8>)> = vec![
                (BASIC, [7_u64.to_ne_bytes(), 3_u64.to_ne_bytes()].concat()),
                (PKT64, (1_u64 << 33).to_ne_bytes().to_vec()),
                (RATE_EST, [u32::MAX, 1].map(u32::to_ne_bytes).concat()),
                (RATE_EST64, [1_u64 << 40, 2].map(u64::to_ne_bytes).concat()),
                (QUEUE, [1, 2, 3, 4, 5].map(u32::to_ne_bytes).concat()),
                (APP, vec![9]),
            ];
            if reversed {
                parts.reverse();
            }
            let mut bytes = Vec::new();
            for (kind, value) in &parts {
                put(&mut bytes, *kind, value);
            }
            let rate = Some(RateEstimate { bytes_per_second: 1 << 40, packets_per_second: 2 });
            let expected = Stats {
                bytes: 7,
                packets: 1 << 33,
                qlen: 1,
                backlog: 2,
                drops: 3,
                requeues: 4,
                overlimits: 5,
                rate,
            };
            assert_eq!(Stats::decode(&bytes), Ok((expected, Some([9].as_slice()))));
        }
    }

    proptest! {
        #[test]
        fn decoder_never_panics(bytes: Vec<u8>) {
            let _ = Stats::decode(&bytes);
        }
    }
}
