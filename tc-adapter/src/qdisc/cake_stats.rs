//! What CAKE counts (`cake_dump_stats`).

use crate::attribute::{each, u32_at, u64_at};
use crate::reply::Malformed;
use crate::time::Time;

/// What CAKE counts; `tc -s qdisc show` (`TCA_CAKE_STATS_*`). What an old kernel does not tell is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CakeXstats {
    /// Bytes a second that `autorate-ingress` estimates.
    pub capacity_estimate: u64,
    /// Bytes of memory that waiting packets may take.
    pub memory_limit: u32,
    /// The most bytes that they took.
    pub memory_used: u32,
    /// Average place of the network header in packets, in bytes.
    pub avg_hdr_offset: u32,
    /// The smallest packet of the network layer, in bytes; 65,535: none was seen.
    pub min_network_size: u32,
    /// The largest.
    pub max_network_size: u32,
    /// The smallest packet with overhead, in bytes; 65,535: none was seen.
    pub min_adj_size: u32,
    /// The largest.
    pub max_adj_size: u32,
    /// Of each tin, in the order of rising priority.
    pub tins: Vec<CakeTin>,
}

/// What CAKE counts in a tin (`TCA_CAKE_TIN_STATS_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CakeTin {
    /// Bytes a second from which on the tin's priority falls; 0: unlimited.
    pub threshold_rate: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes waiting now.
    pub backlog_bytes: u32,
    /// The waiting time that is acceptable.
    pub target: Time,
    /// How long it may be missed.
    pub interval: Time,
    /// The longest waiting time, smoothed.
    pub peak_delay: Time,
    /// The average waiting time.
    pub avg_delay: Time,
    /// The waiting time of sparse flows.
    pub base_delay: Time,
    /// Packets sent.
    pub sent_packets: u32,
    /// Flows that found their place in the hash taken, and another one near.
    pub way_indirect_hits: u32,
    /// Flows for which a queue was found free.
    pub way_misses: u32,
    /// Flows that share a queue with another one.
    pub way_collisions: u32,
    /// Packets dropped.
    pub drops: u32,
    /// Packets marked instead.
    pub ecn_mark: u32,
    /// Acknowledgements dropped because they were superfluous.
    pub ack_drops: u32,
    /// Flows with little to send, now.
    pub sparse_flows: u32,
    /// Flows with much to send, now.
    pub bulk_flows: u32,
    /// Flows that do not heed drops and marks, now.
    pub unresponsive_flows: u32,
    /// Bytes of the largest packet.
    pub max_pkt_len: u32,
    /// Bytes that a flow may send in its turn.
    pub flow_quantum: u32,
}

const TIN_STATS: u16 = 10;
const SHORT: Malformed = Malformed("a CAKE statistics attribute is too short");

impl CakeXstats {
    /// Reads the value of `TCA_STATS_APP`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut stats = Self::default();
        for attribute in each(bytes) {
            let (kind, value) = attribute?;
            let word = || u32_at(value, 0).ok_or(SHORT);
            match kind {
                2 => stats.capacity_estimate = u64_at(value, 0).ok_or(SHORT)?,
                3 => stats.memory_limit = word()?,
                4 => stats.memory_used = word()?,
                5 => stats.avg_hdr_offset = word()?,
                6 => stats.min_network_size = word()?,
                7 => stats.max_network_size = word()?,
                8 => stats.min_adj_size = word()?,
                9 => stats.max_adj_size = word()?,
                TIN_STATS => {
                    let tins = each(value).map(|tin| CakeTin::decode(tin?.1));
                    stats.tins = tins.collect::<Result<_, _>>()?;
                }
                _ => {}
            }
        }
        Ok(stats)
    }
}

impl CakeTin {
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut tin = Self::default();
        for attribute in each(bytes) {
            let (kind, value) = attribute?;
            let word = || u32_at(value, 0).ok_or(SHORT);
            let double = || u64_at(value, 0).ok_or(SHORT);
            let time = || word().map(Time::from_microseconds);
            match kind {
                2 => tin.sent_packets = word()?,
                3 => tin.sent_bytes = double()?,
                4 => tin.drops = word()?,
                6 => tin.ack_drops = word()?,
                8 => tin.ecn_mark = word()?,
                11 => tin.backlog_bytes = word()?,
                12 => tin.threshold_rate = double()?,
                13 => tin.target = time()?,
                14 => tin.interval = time()?,
                15 => tin.way_indirect_hits = word()?,
                16 => tin.way_misses = word()?,
                17 => tin.way_collisions = word()?,
                18 => tin.peak_delay = time()?,
                19 => tin.avg_delay = time()?,
                20 => tin.base_delay = time()?,
                21 => tin.sparse_flows = word()?,
                22 => tin.bulk_flows = word()?,
                23 => tin.unresponsive_flows = word()?,
                24 => tin.max_pkt_len = word()?,
                25 => tin.flow_quantum = word()?,
                _ => {}
            }
        }
        Ok(tin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::{nest, put};

    #[test]
    fn tins_are_nested() {
        let mut bytes = Vec::new();
        put(&mut bytes, 2, &(1_u64 << 40).to_ne_bytes());
        put(&mut bytes, 3, &4_u32.to_ne_bytes());
        nest(&mut bytes, TIN_STATS, |bytes| {
            for tin in 1..=3_u16 {
                nest(bytes, tin, |bytes| {
                    put(bytes, 3, &(u64::from(tin) << 40).to_ne_bytes());
                    put(bytes, 13, &5_000_u32.to_ne_bytes());
                });
            }
        });
        let stats = CakeXstats::decode(&bytes).unwrap();
        assert_eq!((stats.capacity_estimate, stats.memory_limit, stats.tins.len()), (1 << 40, 4, 3));
        assert_eq!((stats.tins[2].sent_bytes, stats.tins[2].target), (3 << 40, Time::from_milliseconds(5)));
    }
}
