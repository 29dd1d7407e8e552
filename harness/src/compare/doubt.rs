//! Why figures of a workload prove less than they seem to: what [`crate::budget`] doubts of one run, of all runs of both sides.

use crate::budget::{FOREIGN_RTNL_PERCENT, LATE_US, MOST_LOST, NOISY_STEAL_PERCENT, Quantity};
use crate::report::model::{RunResult, WorkloadResult};

/// What speaks against a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Doubts {
    /// Whatever it says: what was measured is not what was asked for.
    pub(super) always: Option<String>,
    /// That a difference comes from what is compared, unless both sides were measured in turns.
    pub(super) of_difference: Option<String>,
}

/// A run, and a workload of it.
type Measured<'a> = (&'a RunResult, &'a WorkloadResult);

/// Whether it is one of the metric, of which runs it is one, and in words.
type Doubt = (bool, fn(&Measured<'_>) -> bool, &'static str);

impl Doubts {
    /// Of a metric of a workload, in all runs that have it.
    pub(super) fn of_workload(quantity: Quantity, runs: &[Measured<'_>]) -> Self {
        let said = |doubts: &[Doubt]| {
            doubts.iter().filter(|(applies, ..)| *applies).find_map(|(_, holds, words)| {
                let count = runs.iter().filter(|run| holds(run)).count();
                (count > 0).then(|| format!("{words} in {count} of {} runs", runs.len()))
            })
        };
        let timing = quantity.metric.suffers_from_noise();
        Self {
            always: said(&[
                (
                    quantity.metric.is_latency(),
                    |(_, workload)| workload.unsent > 0,
                    "scheduled requests were never sent, whose latency is unknown,",
                ),
                (timing, |(run, _)| run.environment.suspended_seconds > Some(0.0), "the machine slept"),
                (timing, late, "the harness itself began late, or it is not known how late,"),
                (quantity.phase.is_some(), lost, "too many of the kernel's events were lost"),
            ]),
            of_difference: said(&[
                (
                    timing,
                    |(run, _)| run.environment.steal_percent > Some(NOISY_STEAL_PERCENT),
                    "the hypervisor took much of the CPU time",
                ),
                (timing, foreign, "requests waited much for RTNL that other processes held"),
            ]),
        }
    }
}

fn late((_, workload): &Measured<'_>) -> bool {
    workload.schedule_lag_us.map_or_else(|| workload.keeps_time(), |lag| lag.p99 > LATE_US)
}

fn lost((_, workload): &Measured<'_>) -> bool {
    workload.lost_events.is_none_or(|lost| lost as f64 > workload.operations as f64 * MOST_LOST)
}

fn foreign((_, workload): &Measured<'_>) -> bool {
    let waits = workload.rtnl_waits.as_ref();
    waits.is_some_and(|waits| waits.foreign_percent_of_requests > FOREIGN_RTNL_PERCENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::fixtures;

    type Change = fn(&mut RunResult);

    fn doubts(name: &str, change: Change) -> Doubts {
        let (sound, mut changed) = (fixtures::run(), fixtures::run());
        change(&mut changed);
        let runs = [(&sound, &sound.workloads[0]), (&changed, &changed.workloads[0])];
        Doubts::of_workload(Quantity::try_from(name.to_owned()).unwrap(), &runs)
    }

    #[test]
    fn each_doubt_is_of_those_metrics_that_it_touches() {
        let changes: [(&str, Change, [bool; 3]); 5] = [
            ("never sent", |run| run.workloads[0].unsent = 1, [true, false, false]),
            ("slept", |run| run.environment.suspended_seconds = Some(3.0), [true, true, false]),
            ("late", |run| run.workloads[0].rate = Some(100.0), [true, true, false]),
            (
                "late",
                |run| run.workloads[0].schedule_lag_us = Some(fixtures::percentiles(LATE_US, 1)),
                [true, true, false],
            ),
            ("events", |run| run.workloads[0].lost_events = Some(21), [false, false, false]),
        ];
        let metrics = ["latency_p95_us", "throughput_mean_ops_per_s", "peak_rss_bytes"];
        for (word, change, touched) in changes {
            for (metric, touched) in metrics.iter().zip(touched) {
                let said = doubts(metric, change).always;
                assert_eq!(said.is_some(), touched, "{word} {metric}: {said:?}");
                assert!(said.is_none_or(|said| said.contains(word) && said.ends_with("in 1 of 2 runs")));
            }
        }
        assert!(doubts("encode_p95_us", |run| run.workloads[0].lost_events = Some(21)).always.is_some());
        assert!(doubts("encode_p95_us", |run| run.workloads[0].lost_events = Some(20)).always.is_none());
    }

    #[test]
    fn what_disturbs_one_side_by_chance_is_a_doubt_of_differences_only() {
        let stolen = doubts("latency_p95_us", |run| run.environment.steal_percent = Some(11.0));
        assert!(stolen.always.is_none() && stolen.of_difference.is_some(), "{stolen:?}");
        let little = doubts("latency_p95_us", |run| run.environment.steal_percent = Some(9.0));
        assert_eq!(little, Doubts::default());
        let memory = doubts("peak_rss_bytes", |run| run.environment.steal_percent = Some(11.0));
        assert_eq!(memory, Doubts::default());
    }
}
