//! What a target can be set on.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::Direction;

/// A metric's name carries its unit. Those of a workload are judged once for each workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Successful operations per second over the measured time.
    ThroughputMeanOpsPerS,
    /// Successful operations in the worst whole second.
    ThroughputWorstSecondOpsPerS,
    /// Median latency, µs.
    LatencyP50Us,
    /// 90th percentile, µs.
    LatencyP90Us,
    /// 95th percentile, µs.
    LatencyP95Us,
    /// 99th percentile, µs.
    LatencyP99Us,
    /// 99.9th percentile, µs.
    #[serde(rename = "latency_p99_9_us")]
    LatencyP999Us,
    /// Largest latency, µs.
    LatencyMaxUs,
    /// Failed operations, percent of those sent.
    ErrorRatePercent,
    /// Operations completed by the end of an open loop's schedule and its grace, percent of those scheduled.
    OfferedRateHeldPercent,
    /// Peak resident set while measured, bytes.
    PeakRssBytes,
    /// User and system time, percent of one core.
    CpuPercentOfOneCore,
    /// HTB classes and qdiscs that outlived their workload's teardown.
    ClassesLeftAfterTeardown,
    /// Sockets open after the run that were not before.
    LeakedSockets,
    /// File descriptors open after the run that were not before.
    LeakedFds,
    /// The whole machine's CPU time in use, percent of all cores.
    MachineCpuPercent,
    /// The whole machine's memory in use, percent.
    MachineMemoryPercent,
    /// How fast the process's memory grows, 10⁶ bytes an hour.
    MemoryGrowthMbPerHour,
    /// How fast its descriptors become more, an hour.
    FdsGrowthPerHour,
    /// How fast its sockets become more, an hour.
    SocketsGrowthPerHour,
    /// How fast the kernel's slab memory of qdiscs grows, 10⁶ bytes an hour.
    SlabGrowthMbPerHour,
    /// Packets of a profile's traffic that were lost, percent of those sent.
    PacketLossPercent,
    /// Packets of a profile's traffic that came after a later one of their stream.
    PacketsReordered,
    /// No counterpart in traffic control.
    CacheHitRatePercent,
    /// No counterpart in traffic control.
    NodeAvailabilityPercent,
    /// No counterpart in traffic control.
    ServiceAvailabilityPercent,
}

/// Where a metric has its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In each workload.
    Workload,
    /// Once in the run.
    Run,
    /// Nowhere: it is known from other budgets, and traffic control has nothing like it.
    Nowhere,
}

impl Metric {
    /// All of them.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// The name used in budget files and results.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => unreachable!("a unit variant serialises to its name"),
        }
    }

    /// Where it has its values.
    pub fn place(self) -> Place {
        match self {
            Self::LeakedSockets
            | Self::LeakedFds
            | Self::MachineCpuPercent
            | Self::MachineMemoryPercent
            | Self::MemoryGrowthMbPerHour
            | Self::FdsGrowthPerHour
            | Self::SocketsGrowthPerHour
            | Self::SlabGrowthMbPerHour
            | Self::PacketLossPercent
            | Self::PacketsReordered => Place::Run,
            Self::CacheHitRatePercent | Self::NodeAvailabilityPercent | Self::ServiceAvailabilityPercent => {
                Place::Nowhere
            }
            _ => Place::Workload,
        }
    }

    /// Which way it gets better.
    pub fn direction(self) -> Direction {
        match self {
            Self::ThroughputMeanOpsPerS
            | Self::ThroughputWorstSecondOpsPerS
            | Self::OfferedRateHeldPercent
            | Self::CacheHitRatePercent
            | Self::NodeAvailabilityPercent
            | Self::ServiceAvailabilityPercent => Direction::Higher,
            _ => Direction::Lower,
        }
    }

    /// What it is counted in.
    pub fn unit(self) -> &'static str {
        match self {
            Self::ThroughputMeanOpsPerS | Self::ThroughputWorstSecondOpsPerS => "ops/s",
            Self::ErrorRatePercent
            | Self::OfferedRateHeldPercent
            | Self::CpuPercentOfOneCore
            | Self::MachineCpuPercent
            | Self::MachineMemoryPercent
            | Self::PacketLossPercent
            | Self::CacheHitRatePercent
            | Self::NodeAvailabilityPercent
            | Self::ServiceAvailabilityPercent => "%",
            Self::PeakRssBytes => "bytes",
            Self::MemoryGrowthMbPerHour | Self::SlabGrowthMbPerHour => "MB/h",
            Self::FdsGrowthPerHour | Self::SocketsGrowthPerHour => "per hour",
            Self::ClassesLeftAfterTeardown
            | Self::LeakedSockets
            | Self::LeakedFds
            | Self::PacketsReordered => "",
            _ => "µs",
        }
    }

    /// Whether a busy machine can only have made the value worse, so that exceeding a limit proves little.
    pub fn suffers_from_noise(self) -> bool {
        self.is_latency()
            || self.is_throughput()
            || matches!(self, Self::OfferedRateHeldPercent | Self::CpuPercentOfOneCore)
    }

    /// Whether requests that were never sent could only have raised the value.
    pub fn is_latency(self) -> bool {
        self.percentile().is_some()
    }

    /// Whether an open loop bounds it by what it offers.
    pub fn is_throughput(self) -> bool {
        matches!(self, Self::ThroughputMeanOpsPerS | Self::ThroughputWorstSecondOpsPerS)
    }

    /// Whether it is of the packets that a load profile's traffic sent.
    pub fn is_of_traffic(self) -> bool {
        matches!(self, Self::PacketLossPercent | Self::PacketsReordered)
    }

    /// Whether it is an estimate with an interval.
    pub fn is_growth(self) -> bool {
        matches!(
            self,
            Self::MemoryGrowthMbPerHour
                | Self::FdsGrowthPerHour
                | Self::SocketsGrowthPerHour
                | Self::SlabGrowthMbPerHour
        )
    }

    /// Whether it is kept for each operation, too.
    pub fn is_by_operation(self) -> bool {
        self.is_latency() || self == Self::ThroughputMeanOpsPerS
    }

    /// The percentile's name in `time_at` of a workload.
    pub fn percentile(self) -> Option<&'static str> {
        match self {
            Self::LatencyP50Us => Some("p50"),
            Self::LatencyP90Us => Some("p90"),
            Self::LatencyP95Us => Some("p95"),
            Self::LatencyP99Us => Some("p99"),
            Self::LatencyP999Us => Some("p99_9"),
            Self::LatencyMaxUs => Some("max"),
            _ => None,
        }
    }

    /// The percentile as a share: 0.95 for the 95th.
    pub fn share(self) -> Option<f64> {
        match self {
            Self::LatencyP50Us => Some(0.5),
            Self::LatencyP90Us => Some(0.9),
            Self::LatencyP95Us => Some(0.95),
            Self::LatencyP99Us => Some(0.99),
            Self::LatencyP999Us => Some(0.999),
            Self::LatencyMaxUs => Some(1.0),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_the_names() {
        for metric in Metric::all() {
            let name = metric.name();
            let suffix = match metric.unit() {
                "ops/s" => "_ops_per_s",
                "%" if name == "cpu_percent_of_one_core" => "_percent_of_one_core",
                "%" => "_percent",
                "bytes" => "_bytes",
                "MB/h" => "_mb_per_hour",
                "per hour" => "_growth_per_hour",
                "µs" => "_us",
                _ => "",
            };
            assert!(name.ends_with(suffix), "{name}: {}", metric.unit());
        }
    }
}
