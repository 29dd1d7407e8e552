//! Which figures are followed without being named. More would be more false alarms, and say the same.

use crate::budget::{Metric, Quantity};
use crate::history::Series;

/// What people follow.
const FOLLOWED: [Metric; 6] = [
    Metric::LatencyP50Us,
    Metric::LatencyP95Us,
    Metric::LatencyP99Us,
    Metric::ThroughputMeanOpsPerS,
    Metric::ErrorRatePercent,
    Metric::PeakRssBytes,
];

/// Of those the ones that a quiet machine repeats: a 99th percentile differs by more from run to run, and errors are none.
const STEADY: [Metric; 4] =
    [Metric::LatencyP50Us, Metric::LatencyP95Us, Metric::ThroughputMeanOpsPerS, Metric::PeakRssBytes];

/// Whether a figure is one that is followed: of a workload the latencies p50, p95 and p99, throughput, error rate and peak memory.
pub fn is_followed(series: &Series) -> bool {
    is_one_of(series, &FOLLOWED)
}

/// Whether it is followed, and hardly differs between runs of the same: not p99, and not the error rate.
pub fn is_steady(series: &Series) -> bool {
    is_one_of(series, &STEADY)
}

/// Of others' runs everything: nobody knows which of their figures are the same in other words.
fn is_one_of(series: &Series, metrics: &[Metric]) -> bool {
    Quantity::try_from(series.metric.clone()).map_or(true, |quantity| {
        quantity.phase.is_none() && metrics.contains(&quantity.metric) && series.operation.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::series;
    use super::*;

    #[test]
    fn a_few_of_ours_and_all_of_others() {
        let of = |metric: &str, operation: &str| Series {
            metric: metric.into(),
            operation: operation.into(),
            ..series("lower")
        };
        for (metric, operation, followed, steady) in [
            ("latency_p95_us", "", true, true),
            ("latency_p99_us", "", true, false),
            ("error_rate_percent", "", true, false),
            ("latency_p95_us", "class-add", false, false),
            ("rtnl_wait_p95_us", "", false, false),
            ("latency_p90_us", "", false, false),
            ("mean", "", true, true),
        ] {
            let series = of(metric, operation);
            assert_eq!((is_followed(&series), is_steady(&series)), (followed, steady), "{metric}");
        }
    }
}
