//! What a target can be set on.

use serde::{Deserialize, Serialize};

use crate::attribution::Phase;
use crate::report::model::{Percentiles, RunResult, TimeAt, WorkloadResult};

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
        self.percentile().is_some()
    }

    /// Its value in a distribution, if it is a percentile of latencies.
    fn of_latency(self, latency: &Percentiles) -> Option<f64> {
        match self {
            Self::LatencyP50Us => Some(latency.p50),
            Self::LatencyP90Us => Some(latency.p90),
            Self::LatencyP95Us => Some(latency.p95),
            Self::LatencyP99Us => Some(latency.p99),
            Self::LatencyP999Us => Some(latency.p99_9),
            Self::LatencyMaxUs => Some(latency.max),
            _ => None,
        }
    }

    /// The percentile's name in [`WorkloadResult::time_at`].
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

    /// The value in one workload.
    pub fn of_workload(self, workload: &WorkloadResult) -> Option<f64> {
        match self {
            Self::ThroughputMeanOpsPerS => workload.throughput_ops_per_s.mean,
            Self::ThroughputWorstSecondOpsPerS => workload.throughput_ops_per_s.worst_second,
            Self::LatencyP50Us
            | Self::LatencyP90Us
            | Self::LatencyP95Us
            | Self::LatencyP99Us
            | Self::LatencyP999Us
            | Self::LatencyMaxUs => self.of_latency(workload.latency_all_us.as_ref()?),
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

/// A metric, or a percentile of one phase of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Quantity {
    /// The metric. With a phase, the percentile.
    pub metric: Metric,
    /// The phase; `None`: the whole request, or what is no time at all.
    pub phase: Option<Phase>,
}

impl From<Metric> for Quantity {
    fn from(metric: Metric) -> Self {
        Self { metric, phase: None }
    }
}

/// A name that is none of a metric.
#[derive(Debug, thiserror::Error)]
#[error(
    "unknown metric `{0}`: see README for the metrics, and `<phase>_<p50|p90|p95|p99|p99_9|max>_us` for those of a phase, such as `rtnl_wait_p95_us`"
)]
pub struct UnknownQuantity(String);

impl TryFrom<String> for Quantity {
    type Error = UnknownQuantity;

    fn try_from(name: String) -> Result<Self, UnknownQuantity> {
        let metric = |name: &str| serde_json::from_value::<Metric>(name.into()).ok();
        if let Some(metric) = metric(&name) {
            return Ok(metric.into());
        }
        Phase::ALL
            .into_iter()
            .find_map(|phase| {
                let percentile = name.strip_prefix(phase.name())?.strip_prefix('_')?;
                let metric = metric(&format!("latency_{percentile}")).filter(|metric| metric.is_latency())?;
                Some(Self { metric, phase: Some(phase) })
            })
            .ok_or(UnknownQuantity(name))
    }
}

impl Quantity {
    /// The name used in budget files and results.
    pub fn name(self) -> String {
        let name = self.metric.name();
        match (self.phase, name.strip_prefix("latency_")) {
            (Some(phase), Some(percentile)) => format!("{}_{percentile}", phase.name()),
            _ => name,
        }
    }

    /// The value in one workload.
    pub fn of_workload(self, workload: &WorkloadResult) -> Option<f64> {
        match self.phase {
            Some(phase) => self.metric.of_latency(workload.phases_all_us.as_ref()?.phase(phase)?),
            None => self.metric.of_workload(workload),
        }
    }

    /// What the requests are made of that take about as long as this latency.
    pub fn time_at(self, workload: &WorkloadResult) -> Option<&TimeAt> {
        self.phase.is_none().then(|| workload.time_at.as_ref()?.get(self.metric.percentile()?))?
    }
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64 * 100.0)
}
