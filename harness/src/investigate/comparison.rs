//! Two runs side by side.

use super::findings::with_unit;
use super::{incomparable, place};
use crate::report::model::{RunResult, WorkloadResult};

/// What is compared of each workload, by the budget's names.
const METRICS: [&str; 6] = [
    "throughput_mean_ops_per_s",
    "latency_p50_us",
    "latency_p95_us",
    "latency_p99_us",
    "rtnl_wait_p95_us",
    "on_cpu_p50_us",
];

/// Two runs.
#[derive(Debug)]
pub(super) struct Comparison {
    /// The other run's name.
    pub(super) against: String,
    /// What they do not share; where there is anything, the figures are not comparable.
    pub(super) differences: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// One metric of one workload.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    pub(super) workload: String,
    pub(super) metric: &'static str,
    pub(super) before: String,
    pub(super) after: String,
    /// `+12 %`; empty where a value is absent or the runs are not comparable.
    pub(super) change: String,
}

pub(super) fn compare(run: &RunResult, against: &RunResult) -> Comparison {
    let differences = incomparable(run, against);
    let mut rows = Vec::new();
    for workload in &run.workloads {
        let same = |other: &&WorkloadResult| other.tag() == workload.tag();
        let Some(before) = against.workloads.iter().find(same) else { continue };
        let mut name = place(workload);
        for metric in METRICS {
            let value = |of: &WorkloadResult| {
                crate::budget::Quantity::try_from(metric.to_owned()).ok()?.of_workload(of)
            };
            let (old, new) = (value(before), value(workload));
            let shown = |value: Option<f64>| {
                value.map_or_else(|| "not measured".to_owned(), |value| with_unit(metric, value))
            };
            let change = match (old, new) {
                (Some(old), Some(new)) if differences.is_empty() && old > 0.0 => {
                    format!("{:+.1} %", (new / old - 1.0) * 100.0)
                }
                _ => String::new(),
            };
            rows.push(Row {
                workload: std::mem::take(&mut name),
                metric,
                before: shown(old),
                after: shown(new),
                change,
            });
        }
    }
    Comparison { against: against.run_id.clone(), differences, rows }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::fixtures;

    #[test]
    fn figures_of_another_machine_have_no_change() {
        let (before, mut after) = (fixtures::run(), fixtures::run());
        after.workloads[0].latency_all_us = Some(fixtures::percentiles(1_280.0, 20_000));
        let change = |comparison: &Comparison| {
            comparison
                .rows
                .iter()
                .find(|row| row.metric == "latency_p50_us")
                .map(|row| row.change.clone())
                .unwrap()
        };
        let comparison = compare(&after, &before);
        assert_eq!((change(&comparison).as_str(), comparison.differences.len()), ("+100.0 %", 0));
        // A phase that was not measured is not zero.
        let phase = comparison.rows.iter().find(|row| row.metric == "on_cpu_p50_us").unwrap();
        assert_eq!((phase.after.as_str(), phase.change.as_str()), ("not measured", ""));
        after.environment.kernel = "7.2".into();
        let comparison = compare(&after, &before);
        assert_eq!(
            (change(&comparison).as_str(), comparison.differences.as_slice()),
            ("", &["kernel: 7.2 and 6.18.0".to_owned()][..])
        );
    }
}
