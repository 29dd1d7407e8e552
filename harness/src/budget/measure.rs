//! What a run says about a quantity, and how sure that is.

use super::{Metric, Quantity};
use crate::report::model::{Growth, Percentiles, RunResult, TimeAt, WorkloadResult};
use crate::workload::OperationKind;

/// Bytes in what the names call MB.
const MEGABYTE: f64 = 1e6;

/// A measured value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The value.
    pub value: f64,
    /// How many observations it comes from, where that says how sure it is.
    pub count: Option<u64>,
    /// Where the true value lies, where it is an estimate.
    pub interval: Option<[f64; 2]>,
}

impl From<f64> for Reading {
    fn from(value: f64) -> Self {
        Self { value, count: None, interval: None }
    }
}

impl Metric {
    /// Its value in a distribution, if it is a percentile of latencies.
    fn of_latency(self, latency: &Percentiles) -> Option<Reading> {
        let value = match self {
            Self::LatencyP50Us => latency.p50,
            Self::LatencyP90Us => latency.p90,
            Self::LatencyP95Us => latency.p95,
            Self::LatencyP99Us => latency.p99,
            Self::LatencyP999Us => latency.p99_9,
            Self::LatencyMaxUs => latency.max,
            _ => return None,
        };
        Some(Reading { count: Some(latency.count), ..value.into() })
    }

    /// The value in one workload.
    fn of_workload(self, workload: &WorkloadResult) -> Option<Reading> {
        match self {
            Self::ThroughputMeanOpsPerS => workload.throughput_ops_per_s.mean.map(Reading::from),
            Self::ThroughputWorstSecondOpsPerS => {
                workload.throughput_ops_per_s.worst_second.map(Reading::from)
            }
            Self::LatencyP50Us
            | Self::LatencyP90Us
            | Self::LatencyP95Us
            | Self::LatencyP99Us
            | Self::LatencyP999Us
            | Self::LatencyMaxUs => self.of_latency(workload.latency_all_us.as_ref()?),
            Self::ErrorRatePercent => {
                let errors: u64 = workload.errors.iter().map(|error| error.count).sum();
                let value = percent(errors, workload.operations)?;
                Some(Reading { count: Some(workload.operations), ..value.into() })
            }
            Self::OfferedRateHeldPercent => {
                workload.rate?;
                percent(workload.operations, workload.operations + workload.unsent).map(Reading::from)
            }
            Self::PeakRssBytes => count(workload.resources.peak_rss_bytes),
            Self::CpuPercentOfOneCore => workload.resources.cpu_percent_of_one_core.map(Reading::from),
            Self::ClassesLeftAfterTeardown => count(workload.left_after_teardown),
            Self::LeakedSockets
            | Self::LeakedFds
            | Self::MachineCpuPercent
            | Self::MachineMemoryPercent
            | Self::MemoryGrowthMbPerHour
            | Self::FdsGrowthPerHour
            | Self::SocketsGrowthPerHour
            | Self::SlabGrowthMbPerHour
            | Self::PacketLossPercent
            | Self::PacketsReordered
            | Self::CacheHitRatePercent
            | Self::NodeAvailabilityPercent
            | Self::ServiceAvailabilityPercent => None,
        }
    }

    /// The value over the run, for metrics of the run.
    pub fn of_run(self, run: &RunResult) -> Option<Reading> {
        let resources = &run.resources;
        let grown = |before: Option<u64>, after: Option<u64>| count(Some(after?.saturating_sub(before?)));
        let growth = |key: &str| resources.growth.as_ref()?.get(key);
        match self {
            Self::LeakedSockets => grown(resources.sockets_before, resources.sockets_after),
            Self::LeakedFds => grown(resources.fds_before, resources.fds_after),
            Self::MachineCpuPercent => resources.machine_cpu_percent.map(Reading::from),
            Self::MachineMemoryPercent => resources.machine_memory_percent.map(Reading::from),
            Self::MemoryGrowthMbPerHour => {
                // What is allocated tells of a leak sooner than what is resident.
                growth("heap_bytes").or_else(|| growth("rss_bytes")).map(|growth| estimate(growth, MEGABYTE))
            }
            Self::FdsGrowthPerHour => growth("fds").map(|growth| estimate(growth, 1.0)),
            Self::SocketsGrowthPerHour => growth("sockets").map(|growth| estimate(growth, 1.0)),
            Self::SlabGrowthMbPerHour => growth("slab_bytes").map(|growth| estimate(growth, MEGABYTE)),
            Self::PacketLossPercent => {
                let traffic = run.traffic.as_ref()?;
                Some(Reading { count: Some(traffic.sent), ..traffic.loss_percent?.into() })
            }
            Self::PacketsReordered => count(run.traffic.as_ref()?.reordering().ok()),
            _ => None,
        }
    }
}

impl Quantity {
    /// The value in one workload.
    pub fn of_workload(self, workload: &WorkloadResult) -> Option<f64> {
        self.reading(None, workload).map(|reading| reading.value)
    }

    /// The value in one workload, or of one operation there.
    pub fn reading(self, operation: Option<OperationKind>, workload: &WorkloadResult) -> Option<Reading> {
        match (self.phase, operation) {
            (None, None) => self.metric.of_workload(workload),
            (Some(phase), None) => self.metric.of_latency(workload.phases_all_us.as_ref()?.phase(phase)?),
            (Some(phase), Some(operation)) => {
                let phases = workload.phases_us.as_ref()?.get(operation.name())?;
                self.metric.of_latency(phases.phase(phase)?)
            }
            (None, Some(operation)) => {
                let latency = workload.latency_us.get(operation.name())?;
                if self.metric == Metric::ThroughputMeanOpsPerS {
                    // Only what succeeded has a latency.
                    let seconds = workload.measured_seconds;
                    return (seconds > 0.0).then(|| (latency.count as f64 / seconds).into());
                }
                self.metric.of_latency(latency)
            }
        }
    }

    /// What the requests are made of that take about as long as this latency.
    pub fn time_at(self, workload: &WorkloadResult) -> Option<&TimeAt> {
        self.phase.is_none().then(|| workload.time_at.as_ref()?.get(self.metric.percentile()?))?
    }
}

/// Whether a workload was never asked for an operation. It has no latency of one that was never answered, either; so this is
/// certain only where every request is accounted for by others.
pub(super) fn never_asked(operation: OperationKind, workload: &WorkloadResult) -> bool {
    let others: u64 = workload.latency_us.values().map(|latency| latency.count).sum();
    !workload.latency_us.contains_key(operation.name())
        && workload.unsent == 0
        && workload.operations > 0
        && others == workload.operations
}

fn count(count: Option<u64>) -> Option<Reading> {
    count.map(|count| (count as f64).into())
}

fn estimate(growth: &Growth, unit: f64) -> Reading {
    Reading {
        value: growth.per_hour / unit,
        count: Some(growth.samples),
        interval: Some(growth.interval.map(|end| end / unit)),
    }
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64 * 100.0)
}
