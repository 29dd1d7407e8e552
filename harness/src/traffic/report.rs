//! What came of traffic, as data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::model::Percentiles;

/// Packets through the classes of one device. Times are microseconds, rates packets a second.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TrafficReport {
    /// How long packets were sent, seconds.
    pub seconds: f64,
    /// What each stream was to send, packets a second.
    pub rate_per_stream: f64,
    /// What was sent of what was to be sent in that time, percent. Below 100 this machine was too slow.
    pub rate_held_percent: Option<f64>,
    /// Packets sent, those that a queue refused included.
    pub sent: u64,
    /// Of them those that the device's own queue dropped at once: the sender was told (`ENOBUFS`). They are lost, too.
    pub refused: u64,
    /// Different packets that came.
    pub received: u64,
    /// Packets that did not come within the wait at the end.
    pub lost: u64,
    /// Packets that still waited in the device's queues then, as its root qdisc says; null where it could not be asked. They are in
    /// `lost`, and not in `loss_percent`.
    pub queued_at_end: Option<u64>,
    /// Of those received, how many came after a later one of their stream (RFC 4737, Type-P-Reordered).
    pub reordered: u64,
    /// Packets that came once more.
    pub duplicated: u64,
    /// Packets that came after so many gaps that they are counted as lost.
    pub too_late: u64,
    /// Packets that came and found no room at the receiver (`PACKET_STATISTICS`): our fault, and no loss of the device's.
    pub receiver_drops: u64,
    /// Packets lost, percent of those sent. Null where it cannot be told; see `inconclusive_because`.
    pub loss_percent: Option<f64>,
    /// Why `loss_percent` is null.
    pub inconclusive_because: Option<String>,
    /// From handing a packet to the kernel until the receiver's thread had it: queueing, and being scheduled. Null where none came.
    pub latency_us: Option<Percentiles>,
    /// Each stream.
    pub streams: Vec<StreamReport>,
}

/// One stream.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct StreamReport {
    /// The class that its packets ask for.
    pub classid: String,
    /// Packets sent.
    pub sent: u64,
    /// Different packets that came.
    pub received: u64,
    /// Packets that did not come.
    pub lost: u64,
    /// Of those received, how many came after a later one.
    pub reordered: u64,
    /// Packets that came once more.
    pub duplicated: u64,
}

/// Percent of the packets sent that were lost, or why that cannot be told. What still waits is not lost.
pub(super) fn loss(
    sent: u64,
    lost: u64,
    queued: Option<u64>,
    drops: u64,
    failed: Option<&str>,
) -> Result<f64, String> {
    if let Some(failed) = failed {
        return Err(failed.to_owned());
    }
    if drops > 0 {
        return Err(format!(
            "the receiver had no room for {drops} packets: use a lower rate, or a machine that does less besides"
        ));
    }
    if sent == 0 {
        return Err("no packet was sent".to_owned());
    }
    // Without an answer all that did not come counts.
    Ok(lost.saturating_sub(queued.unwrap_or(0)) as f64 / sent as f64 * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_a_share_or_a_reason() {
        assert_eq!(loss(200, 4, Some(0), 0, None), Ok(2.0));
        assert_eq!(loss(200, 4, Some(4), 0, None), Ok(0.0));
        assert_eq!(loss(200, 4, None, 0, None), Ok(2.0));
        for (sent, drops, failed) in [(0, 0, None), (200, 1, None), (200, 0, Some("send: no such device"))] {
            loss(sent, 0, Some(0), drops, failed).unwrap_err();
        }
    }
}
