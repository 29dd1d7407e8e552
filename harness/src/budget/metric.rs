//! What a target can be set on.

use serde::{Deserialize, Serialize};

use crate::report::model::{Percentiles, RunResult, WorkloadResult};

/// A metric's name carries its unit. Those of a workload are judged once for each workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Successful operations per second over the measured time.
    ThroughputMeanOpsPerS,
    /// Successful operations in the worst whole second.
    ThroughputWorstSecondOpsPerS,
    /// Median latency over all operations, µs.
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
}

impl Metric {
    /// The name used in budget files and results.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => unreachable!("a unit variant serialises to its name"),
        }
    }

    /// Whether it is measured once for the run rather than in each workload.
    pub fn is_of_the_run(self) -> bool {
        matches!(self, Self::LeakedSockets | Self::LeakedFds)
    }

    /// Whether a busy machine can only have made the value worse, so that exceeding a limit proves little.
    pub fn suffers_from_noise(self) -> bool {
        !matches!(
            self,
            Self::ErrorRatePercent
                | Self::PeakRssBytes
                | Self::ClassesLeftAfterTeardown
                | Self::LeakedSockets
                | Self::LeakedFds
        )
    }

    /// Whether requests that were never sent could only have raised the value.
    pub fn is_latency(self) -> bool {
        matches!(
            self,
            Self::LatencyP50Us
                | Self::LatencyP90Us
                | Self::LatencyP95Us
                | Self::LatencyP99Us
                | Self::LatencyP999Us
                | Self::LatencyMaxUs
        )
    }

    /// The value in one workload.
    pub fn of_workload(self, workload: &WorkloadResult) -> Option<f64> {
        let latency = |pick: fn(&Percentiles) -> f64| workload.latency_all_us.as_ref().map(pick);
        match self {
            Self::ThroughputMeanOpsPerS => workload.throughput_ops_per_s.mean,
            Self::ThroughputWorstSecondOpsPerS => workload.throughput_ops_per_s.worst_second,
            Self::LatencyP50Us => latency(|l| l.p50),
            Self::LatencyP90Us => latency(|l| l.p90),
            Self::LatencyP95Us => latency(|l| l.p95),
            Self::LatencyP99Us => latency(|l| l.p99),
            Self::LatencyP999Us => latency(|l| l.p99_9),
            Self::LatencyMaxUs => latency(|l| l.max),
            Self::ErrorRatePercent => {
                let errors: u64 = workload.errors.iter().map(|error| error.count).sum();
                percent(errors, workload.operations)
            }
            Self::OfferedRateHeldPercent => {
                workload.rate?;
                percent(workload.operations, workload.operations + workload.unsent)
            }
            Self::PeakRssBytes => workload.resources.peak_rss_bytes.map(|bytes| bytes as f64),
            Self::CpuPercentOfOneCore => workload.resources.cpu_percent_of_one_core,
            Self::ClassesLeftAfterTeardown => workload.left_after_teardown.map(|count| count as f64),
            Self::LeakedSockets | Self::LeakedFds => None,
        }
    }

    /// The value over the run, for metrics of the run.
    pub fn of_run(self, run: &RunResult) -> Option<f64> {
        let grown = |before: Option<u64>, after: Option<u64>| Some(after?.saturating_sub(before?) as f64);
        match self {
            Self::LeakedSockets => grown(run.resources.sockets_before, run.resources.sockets_after),
            Self::LeakedFds => grown(run.resources.fds_before, run.resources.fds_after),
            _ => None,
        }
    }
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64 * 100.0)
}
