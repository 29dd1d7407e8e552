//! What a canary measured, as data. Times are milliseconds where they say `_ms` and microseconds where `_us`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::model::Percentiles;
use crate::traffic::TrafficReport;

/// A new tree on one device against the old one on another.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CanaryReport {
    /// Seed of the blocks' order and of the classes that are asked for.
    pub seed: u64,
    /// The change from the old tree to the new one on the canary's device.
    pub rollout: Option<Rollout>,
    /// In the order in which they were measured.
    pub blocks: Vec<Block>,
    /// New against old, block by block. Empty where no block was measured on both sides.
    pub ratios: Vec<Ratio>,
    /// Bringing the old tree back; null where that was not asked for or not needed.
    pub restoration: Option<Restoration>,
}

/// The change from the old tree to the new one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Rollout {
    /// How long it took, the refusal and its undoing included.
    pub apply_ms: f64,
    /// Requests carried out; null where the kernel refused one.
    pub steps: Option<u64>,
    /// What the kernel said, where it refused.
    pub refused: Option<String>,
    /// Packets through the canary's classes meanwhile.
    pub canary: Flow,
    /// Packets through the other device's, which nobody changed.
    pub control: Flow,
}

/// Which tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The old tree on the control's device.
    Old,
    /// The new tree on the canary's device.
    New,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Old => "old",
            Self::New => "new",
        })
    }
}

/// One block: a tree, built where there is nothing, changed and read, with packets flowing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Block {
    /// Which tree.
    pub side: Side,
    /// Blocks come in pairs, one of each side, in random order; which pair.
    pub pair: u32,
    /// How long building took, reading before and after included.
    pub apply_ms: f64,
    /// Requests that it took.
    pub steps: u64,
    /// HTB classes that the kernel has then, by asking it.
    pub classes: u64,
    /// Packets while it was built.
    pub building: Flow,
    /// Packets while classes were changed and read.
    pub steady: Flow,
    /// Changes of single classes (to what they are). Null where the tree has no HTB class.
    pub change_us: Option<Percentiles>,
    /// Reading single classes. Null where the tree has no HTB class.
    pub read_us: Option<Percentiles>,
    /// Changes and reads that failed.
    pub failed: u64,
}

/// Packets through one device: a [`TrafficReport`] without its streams.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Flow {
    /// How long packets were sent, seconds.
    pub seconds: f64,
    /// Classes that they went through.
    pub streams: u64,
    /// Packets sent.
    pub sent: u64,
    /// Different packets that came.
    pub received: u64,
    /// Packets that did not come within the wait at the end, those still queued included.
    pub lost: u64,
    /// Packets that still waited in the device's queues then; null where it could not be asked.
    pub queued_at_end: Option<u64>,
    /// Packets that came after a later one of their stream.
    pub reordered: u64,
    /// Packets that came once more.
    pub duplicated: u64,
    /// Packets lost and not queued, percent of those sent. Null where it cannot be told.
    pub loss_percent: Option<f64>,
    /// Why not.
    pub inconclusive_because: Option<String>,
    /// From sending to receiving; null where none came.
    pub latency_us: Option<Percentiles>,
}

impl From<TrafficReport> for Flow {
    fn from(report: TrafficReport) -> Self {
        Self {
            seconds: report.seconds,
            streams: report.streams.len() as u64,
            sent: report.sent,
            received: report.received,
            lost: report.lost,
            queued_at_end: report.queued_at_end,
            reordered: report.reordered,
            duplicated: report.duplicated,
            loss_percent: report.loss_percent,
            inconclusive_because: report.inconclusive_because,
            latency_us: report.latency_us,
        }
    }
}

/// New over old, or new less old, pair by pair.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Ratio {
    /// Of what: `apply_ms`, `change_p95_us`, `read_p95_us` (ratios); `loss_points` (a difference in percentage points).
    pub metric: String,
    /// Pairs.
    pub pairs: u64,
    /// The median of the pairs.
    pub median: f64,
    /// An interval that holds the true median with 95 % confidence (order statistics of the sign test); null with fewer than six pairs.
    pub interval: Option<[f64; 2]>,
}

/// Bringing the old tree back.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Restoration {
    /// Who did it: `apply`, which takes a refused change back by itself, or `rollback`.
    pub by: String,
    /// How long it took; null where `apply` did it.
    pub apply_ms: Option<f64>,
    /// Requests that it took; null where `apply` did it, and where the kernel refused.
    pub steps: Option<u64>,
    /// Whether the kernel, asked afterwards, had the old tree and nothing else.
    pub verified: bool,
    /// What is not as it was, or why it could not be asked.
    pub because: Option<String>,
    /// HTB classes that the old tree has.
    pub classes_expected: u64,
    /// HTB classes that the kernel has, by asking it; null where it could not be asked.
    pub classes: Option<u64>,
    /// Packets through the canary's classes meanwhile; null where `apply` did it, which the rollout's packets saw.
    pub traffic: Option<Flow>,
}
