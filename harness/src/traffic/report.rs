//! What came of traffic, as data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::model::Percentiles;

/// With less than this of what was due it is another traffic.
const HELD_PERCENT: f64 = 90.0;

/// Packets through the classes of one device. Times are microseconds, rates packets a second.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TrafficReport {
    /// How long packets were sent, seconds.
    pub seconds: f64,
    /// What each stream was to send, packets a second.
    pub rate_per_stream: f64,
    /// What was sent of what was to be sent in that time, percent. Below 100 this machine was too slow, or so much waited in the device's
    /// queues that the sender had to wait as well.
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
    /// How often the streams' own classes were changed meanwhile. Absent where nobody counted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_changes: Option<u64>,
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

impl TrafficReport {
    /// Packets that came after a later one of their stream, or why that cannot be told: with some missing that found no room at the
    /// receiver, or came after so many gaps that they were no longer told apart, there may have been more.
    pub fn reordering(&self) -> Result<u64, String> {
        match &self.inconclusive_because {
            Some(because) => Err(because.clone()),
            None if self.received == 0 => Err("no packet came".to_owned()),
            None if self.too_late > 0 => Err(format!("{} packets came too late to tell", self.too_late)),
            None => Ok(self.reordered),
        }
    }

    /// Why less was sent than was asked for, so that what held does not hold of what was asked for; `None`: it was sent.
    pub fn sent_less(&self) -> Option<String> {
        match self.rate_held_percent {
            Some(held) if held >= HELD_PERCENT => None,
            Some(held) => Some(format!(
                "only {held:.0} % of the packets that were due were sent: this machine cannot offer them, or too many wait in queues"
            )),
            None => Some("how many packets were due is not known".to_owned()),
        }
    }
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
    fn the_order_is_known_or_not() {
        let report = crate::report::model::fixtures::traffic();
        assert_eq!((report.reordering(), report.sent_less()), (Ok(0), None));
        for (report, word) in [
            (TrafficReport { received: 0, ..report.clone() }, "no packet came"),
            (TrafficReport { too_late: 3, ..report.clone() }, "3 packets"),
            (TrafficReport { inconclusive_because: Some("no room".into()), ..report.clone() }, "no room"),
        ] {
            assert!(report.reordering().unwrap_err().contains(word), "{word}");
        }
        for held in [None, Some(f64::NAN), Some(89.0)] {
            assert!(
                TrafficReport { rate_held_percent: held, ..report.clone() }.sent_less().is_some(),
                "{held:?}"
            );
        }
    }

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
