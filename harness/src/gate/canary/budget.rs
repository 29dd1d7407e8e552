//! A canary's requests against a budget: as a workload of one caller, so that one and the same code judges. Pure.

use std::collections::BTreeMap;

use super::measure::Tally;
use crate::budget::{Budget, judge as against};
use crate::environment;
use crate::gate::model::{Check, GateResult};
use crate::record::{nanoseconds, percentiles};
use crate::report::model::{
    Environment, ErrorCount, Mode, Probes, RunResources, RunResult, SCHEMA_VERSION, Settings, State,
    Throughput, WorkloadResources, WorkloadResult,
};
use crate::report::sheet::Sheet;

/// Metrics that a canary is judged by: how long single requests take, and how many fail. All others are for `post`.
fn is_judged(metric: &str) -> bool {
    metric.starts_with("latency_") || metric == "error_rate_percent"
}

/// Checks, and what the budget has besides.
pub(super) fn judge(budget: &Budget, tally: &Tally, gate: &GateResult) -> (Vec<Check>, Vec<String>) {
    let mut run = run(tally, gate);
    let judged = against(budget, &run);
    let (mine, others): (Vec<_>, Vec<_>) =
        judged.judgements.into_iter().partition(|judgement| is_judged(&judgement.metric));
    run.budget = mine;
    let mut left: Vec<String> = others
        .into_iter()
        .map(|judgement| judgement.metric)
        .chain(judged.not_judged.into_iter().map(|left| left.metric))
        .collect();
    left.sort();
    left.dedup();
    let notes = (!left.is_empty()).then(|| format!("Left to `gate post`: {}.", left.join(", ")));
    (Sheet::of_run(&run).cases.into_iter().map(Check::from).collect(), notes.into_iter().collect())
}

/// The requests as a run. What was not measured is absent.
fn run(tally: &Tally, gate: &GateResult) -> RunResult {
    let latency_us: BTreeMap<_, _> = tally
        .latency
        .iter()
        .filter_map(|(operation, histogram)| Some(((*operation).to_owned(), percentiles(histogram)?)))
        .collect();
    let mut all = nanoseconds::<u64>();
    for histogram in tally.latency.values() {
        all.add(histogram).expect("an auto-resizing histogram takes any other of the same digits");
    }
    let errors: Vec<_> = tally
        .errors
        .iter()
        .map(|((errno, text), count)| ErrorCount { errno: *errno, text: text.clone(), count: *count })
        .collect();
    let failed: u64 = errors.iter().map(|error| error.count).sum();
    let workload = WorkloadResult {
        name: "canary".into(),
        mode: Mode::Closed,
        workers: 1,
        rate: None,
        duration_seconds: tally.measured.as_secs_f64(),
        classes: None,
        weights: None,
        devices: 1,
        population_max: 0,
        operations: all.len() + failed,
        unsent: 0,
        errors,
        expected_errors: Vec::new(),
        schedule_lag_us: None,
        stage: None,
        measured_seconds: tally.measured.as_secs_f64(),
        throughput_ops_per_s: Throughput { mean: None, worst_second: None },
        timeline_ops: Vec::new(),
        latency_us,
        latency_all_us: percentiles(&all),
        kernel_us: None,
        lost_events: None,
        lost_events_accounted: None,
        phases_us: None,
        phases_all_us: None,
        time_at: None,
        rtnl_waits: None,
        resources: WorkloadResources {
            peak_rss_bytes: None,
            cpu_percent_of_one_core: None,
            fds_max: None,
            sockets_max: None,
        },
        left_after_teardown: None,
        interrupted: false,
    };
    RunResult {
        schema_version: SCHEMA_VERSION,
        run_id: gate.started_at.clone(),
        started_at: gate.started_at.clone(),
        qdiscope_version: gate.qdiscope_version.clone(),
        verdict: State::Inconclusive,
        interrupted: false,
        settings: Settings {
            seed: 0,
            warmup_operations: 0,
            devices: 1,
            probes: "off".into(),
            messages_per_packet: 1,
            heap_sampled_every_bytes: None,
            stacks: false,
            budget: String::new(),
        },
        environment: Environment {
            kernel: environment::kernel_release(),
            cpu: environment::cpu_model(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            virtualised: environment::virtualised(),
            probes: Probes {
                kind: "off".into(),
                reason: "a canary is seen from outside".into(),
                passed_over: Vec::new(),
                rtnl_lock: None,
                structures_unread: None,
                attached: Vec::new(),
            },
            foreign_htb_classes: None,
            load_average_before: None,
            load_average_after: None,
            steal_percent: None,
            suspended_seconds: None,
            clock_step_seconds: None,
        },
        profile: None,
        workloads: vec![workload],
        resources: RunResources { cpu_measured_at: "all workloads".into(), ..RunResources::default() },
        budget: Vec::new(),
        not_judged: Vec::new(),
        explanations: Vec::new(),
        traffic: None,
        artifacts: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::canary::measure::{CHANGE, READ};
    use crate::gate::model::Kind;
    use crate::record::record;
    use crate::report::sheet::Verdict;

    fn judged(micros: u64, failed: u64) -> Vec<(String, Verdict)> {
        let mut tally = Tally::default();
        for operation in [CHANGE, READ] {
            let histogram = tally.latency.entry(operation).or_insert_with(nanoseconds);
            (0..1_000).for_each(|_| record(histogram, micros * 1_000));
        }
        if failed > 0 {
            tally.errors.insert((Some(2), "No such file or directory".into()), failed);
        }
        let gate = GateResult::begin(Kind::Canary, "2026-11-23T12:00:00Z".into(), String::new());
        let (checks, notes) = judge(&Budget::built_in(), &tally, &gate);
        assert!(notes[0].contains("peak_rss_bytes"), "{notes:?}");
        checks.into_iter().map(|check| (check.name, check.verdict)).collect()
    }

    #[test]
    fn requests_are_held_against_the_budget() {
        let verdicts =
            |micros, failed| judged(micros, failed).into_iter().map(|judged| judged.1).collect::<Vec<_>>();
        let names: Vec<_> = judged(10, 0).into_iter().map(|judged| judged.0).collect();
        assert_eq!(names, ["latency_p95_us", "latency_p99_us", "error_rate_percent"]);
        assert_eq!(verdicts(10, 0), [Verdict::Pass; 3]);
        assert_eq!(verdicts(50_000, 0), [Verdict::Critical, Verdict::Critical, Verdict::Pass]);
        assert_eq!(verdicts(10, 500)[2], Verdict::Critical);
    }
}
