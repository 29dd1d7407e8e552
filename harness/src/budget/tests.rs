//! Every metric in every state, and what a missing value never becomes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::attribution::Phase;
use crate::report::model::{
    ErrorCount, Growth, Judgement, Mode, Percentiles, RequestPhases, RtnlHolder, RtnlWaits, RunResult, State,
    TimeAt, fixtures,
};
use crate::traffic::TrafficReport;
use crate::workload::OperationKind;

fn flat(value: f64) -> Percentiles {
    Percentiles {
        p50: value,
        p90: value,
        p95: value,
        p99: value,
        p99_9: value,
        max: value,
        mean: value,
        count: 20_000,
    }
}

pub(super) fn phases(value: f64) -> RequestPhases {
    let phase = Some(flat(value));
    RequestPhases {
        total: flat(value),
        schedule_lag: phase,
        encode: phase,
        queue: phase,
        entry: phase,
        rtnl_wait: phase,
        on_cpu: phase,
        off_cpu: phase,
        reply: phase,
        unattributed: flat(0.0),
    }
}

fn without(phases: &mut RequestPhases, phase: Phase) {
    *match phase {
        Phase::ScheduleLag => &mut phases.schedule_lag,
        Phase::Encode => &mut phases.encode,
        Phase::Queue => &mut phases.queue,
        Phase::Entry => &mut phases.entry,
        Phase::RtnlWait => &mut phases.rtnl_wait,
        Phase::OnCpu => &mut phases.on_cpu,
        Phase::OffCpu => &mut phases.off_cpu,
        Phase::Reply => &mut phases.reply,
    } = None;
}

/// A whole number of things; the table has no others.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the table's values are small and whole"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

fn grows(run: &mut RunResult, key: &str, value: Option<f64>, unit: f64) {
    run.resources.growth = value.map(|value| {
        let per_hour = value * unit;
        let growth =
            Growth { per_hour, interval: [per_hour * 0.99, per_hour * 1.01], samples: 600, seconds: 600.0 };
        BTreeMap::from([(key.to_owned(), growth)])
    });
}

/// Makes a run in which the metric has the value, or was not measured. A metric that is not here does not compile. False: nothing could
/// measure it.
fn set(metric: Metric, run: &mut RunResult, value: Option<f64>) -> bool {
    let workload = &mut run.workloads[0];
    match metric {
        Metric::ThroughputMeanOpsPerS => workload.throughput_ops_per_s.mean = value,
        Metric::ThroughputWorstSecondOpsPerS => workload.throughput_ops_per_s.worst_second = value,
        Metric::LatencyP50Us
        | Metric::LatencyP90Us
        | Metric::LatencyP95Us
        | Metric::LatencyP99Us
        | Metric::LatencyP999Us
        | Metric::LatencyMaxUs => workload.latency_all_us = value.map(flat),
        Metric::ErrorRatePercent => {
            workload.operations = if value.is_some() { 100_000 } else { 0 };
            let count = whole(value.unwrap_or(0.0) * 1_000.0);
            workload.errors = vec![ErrorCount { errno: Some(17), text: "exists".into(), count }];
        }
        Metric::OfferedRateHeldPercent => {
            workload.mode = Mode::Open;
            workload.rate = value.map(|_| 1_000.0);
            workload.schedule_lag_us = Some(flat(10.0));
            workload.operations = whole(value.unwrap_or(100.0) * 1_000.0);
            workload.unsent = 100_000 - workload.operations;
        }
        Metric::PeakRssBytes => workload.resources.peak_rss_bytes = value.map(whole),
        Metric::CpuPercentOfOneCore => workload.resources.cpu_percent_of_one_core = value,
        Metric::ClassesLeftAfterTeardown => workload.left_after_teardown = value.map(whole),
        Metric::LeakedSockets => {
            (run.resources.sockets_before, run.resources.sockets_after) = (Some(0), value.map(whole));
        }
        Metric::LeakedFds => {
            (run.resources.fds_before, run.resources.fds_after) = (Some(0), value.map(whole));
        }
        Metric::MachineCpuPercent => run.resources.machine_cpu_percent = value,
        Metric::MachineMemoryPercent => run.resources.machine_memory_percent = value,
        Metric::MemoryGrowthMbPerHour => grows(run, "rss_bytes", value, 1e6),
        Metric::FdsGrowthPerHour => grows(run, "fds", value, 1.0),
        Metric::SocketsGrowthPerHour => grows(run, "sockets", value, 1.0),
        Metric::SlabGrowthMbPerHour => grows(run, "slab_bytes", value, 1e6),
        Metric::PacketLossPercent => {
            run.traffic = Some(TrafficReport { loss_percent: value, ..fixtures::traffic() });
        }
        Metric::PacketsReordered => {
            let came = if value.is_some() { 100_000 } else { 0 };
            let reordered = whole(value.unwrap_or(0.0));
            run.traffic = Some(TrafficReport { received: came, reordered, ..fixtures::traffic() });
        }
        Metric::CacheHitRatePercent
        | Metric::NodeAvailabilityPercent
        | Metric::ServiceAvailabilityPercent => {
            return false;
        }
    }
    true
}

fn target(quantity: Quantity, limit: Limit, factors: Factors) -> Target {
    Target {
        quantity,
        scope: Scope::default(),
        limit,
        factors,
        regression_threshold: None,
        action: None,
        rule: None,
    }
}

fn budget(targets: Vec<Target>) -> Budget {
    Budget { targets, built_in: false, foreign_rtnl_percent: 10.0 }
}

/// The values that stand for the states, by direction, with their limit: 0.8 to 1 and 0.9 to 0.8 of it.
fn states(direction: Direction) -> (Limit, Factors, [(Option<f64>, State); 4]) {
    let (limit, factors, [pass, warning, critical]) = match direction {
        Direction::Lower => {
            (Limit::AtMost(100.0), Factors { warning: Some(0.8), critical: Some(1.0) }, [50.0, 90.0, 150.0])
        }
        Direction::Higher => {
            (Limit::AtLeast(50.0), Factors { warning: Some(0.9), critical: Some(0.8) }, [60.0, 43.0, 30.0])
        }
    };
    let table = [
        (Some(pass), State::Pass),
        (Some(warning), State::Warning),
        (Some(critical), State::Critical),
        (None, State::Inconclusive),
    ];
    (limit, factors, table)
}

fn judged(budget: &Budget, run: &RunResult) -> (State, Judgement) {
    let judged = judge(budget, run);
    assert_eq!(judged.judgements.len(), 1, "{:?}", judged.not_judged);
    (judged.verdict, judged.judgements[0].clone())
}

#[test]
fn every_metric_has_every_state() {
    let mut seen = 0;
    for &metric in Metric::all() {
        let (limit, factors, table) = states(metric.direction());
        let budget = budget(vec![target(metric.into(), limit, factors)]);
        for (value, expected) in table {
            let mut run = fixtures::run();
            let expected = if set(metric, &mut run, value) { expected } else { State::Inconclusive };
            let (verdict, judgement) = judged(&budget, &run);
            let place = format!("{metric:?} at {value:?}: {judgement:?}");
            assert_eq!((judgement.state, verdict), (expected, expected), "{place}");
            assert_eq!(
                judgement.value.is_none(),
                value.is_none() || metric.place() == Place::Nowhere,
                "{place}"
            );
            if let (Some(measured), Some(value)) = (judgement.value, value) {
                assert!((measured - value).abs() < 1e-9, "{place}");
            }
            assert_eq!(expected == State::Inconclusive, judgement.reason.is_some(), "{place}");
            let levels = Levels::of(limit, factors);
            let bound = |level: Option<Limit>| level.map(Limit::bound);
            assert_eq!(
                (judgement.warning_at, judgement.critical_at),
                (bound(levels.warning), bound(levels.critical))
            );
            seen += 1;
        }
    }
    assert_eq!(seen, Metric::all().len() * 4);
}

#[test]
fn every_percentile_of_every_phase_has_every_state() {
    for quantity in Quantity::all().filter(|quantity| quantity.phase.is_some()) {
        let (limit, factors, table) = states(Direction::Lower);
        for operation in [None, Some(OperationKind::ClassCreate)] {
            let mut target = target(quantity, limit, factors);
            target.scope.operation = operation;
            let budget = budget(vec![target]);
            for (value, expected) in table {
                let mut run = fixtures::run();
                let mut all = phases(value.unwrap_or(1.0));
                if value.is_none() {
                    without(&mut all, quantity.phase.unwrap());
                }
                run.workloads[0].phases_all_us = Some(all);
                run.workloads[0].phases_us = Some(BTreeMap::from([("class-create".into(), all)]));
                assert_eq!(judged(&budget, &run).0, expected, "{quantity:?} of {operation:?} at {value:?}");
            }
        }
    }
}

#[test]
fn every_percentile_needs_enough_values() {
    for &metric in Metric::all() {
        let Some(share) = metric.share() else { continue };
        let needed = crate::stats::enough::percentile_needs(share);
        for (count, pass, fail) in
            [(needed, State::Pass, State::Critical), (needed - 1, State::Inconclusive, State::Inconclusive)]
        {
            let mut run = fixtures::run();
            run.workloads[0].latency_all_us = (count > 0).then(|| Percentiles { count, ..flat(50.0) });
            for (limit, expected) in [(100.0, pass), (10.0, fail)] {
                let budget = budget(vec![target(metric.into(), Limit::AtMost(limit), Factors::LIMIT)]);
                assert_eq!(judged(&budget, &run).0, expected, "{metric:?} of {count} values below {limit}");
            }
        }
    }
}

#[test]
fn no_errors_among_few_operations_prove_little() {
    let mut run = fixtures::run();
    let budget = budget(vec![target(Metric::ErrorRatePercent.into(), Limit::Below(1.0), Factors::LIMIT)]);
    for (operations, expected) in [(299, State::Inconclusive), (300, State::Pass)] {
        run.workloads[0].operations = operations;
        assert_eq!(judged(&budget, &run).0, expected, "{operations}");
    }
}

#[test]
fn packets_prove_only_what_they_are_enough_for() {
    let loss = |limit| budget(vec![target(Metric::PacketLossPercent.into(), limit, Factors::LIMIT)]);
    let order = budget(vec![target(Metric::PacketsReordered.into(), Limit::AtMost(0.0), Factors::LIMIT)]);
    let mut run = fixtures::run();
    for budget in [&loss(Limit::AtMost(0.0)), &order] {
        let (state, judgement) = judged(budget, &run);
        assert_eq!(state, State::Inconclusive);
        assert!(judgement.reason.unwrap().contains("no traffic"), "a run without");
    }
    // Of none lost out of 2,999 less than a tenth of a percent is not said.
    for (sent, expected) in [(2_999, State::Inconclusive), (3_000, State::Pass)] {
        run.traffic = Some(TrafficReport { sent, ..fixtures::traffic() });
        assert_eq!(judged(&loss(Limit::Below(0.1)), &run).0, expected, "{sent}");
        assert_eq!(
            judged(&loss(Limit::AtMost(0.0)), &run).0,
            State::Pass,
            "none was lost: no number proves more"
        );
    }
    // What was not sent may have been lost; what was lost, was.
    for (lost, expected) in [(0.0, State::Inconclusive), (5.0, State::Critical)] {
        let slow =
            TrafficReport { rate_held_percent: Some(50.0), loss_percent: Some(lost), ..fixtures::traffic() };
        run.traffic = Some(slow);
        assert_eq!(judged(&loss(Limit::Below(1.0)), &run).0, expected, "{lost}");
    }
    let because = Some("the receiver had no room for 5 packets".to_owned());
    run.traffic = Some(TrafficReport {
        loss_percent: None,
        inconclusive_because: because.clone(),
        ..fixtures::traffic()
    });
    for budget in [&loss(Limit::Below(1.0)), &order] {
        let (state, judgement) = judged(budget, &run);
        assert_eq!((state, judgement.reason), (State::Inconclusive, because.clone()));
    }
}

#[test]
fn an_open_loop_is_not_blamed_for_what_it_was_not_offered() {
    let mut run = fixtures::run();
    let workload = &mut run.workloads[0];
    (workload.mode, workload.rate) = (Mode::Open, Some(500.0));
    workload.schedule_lag_us = Some(flat(10.0));
    workload.throughput_ops_per_s.mean = Some(500.0);
    let at_least = |limit| {
        budget(vec![target(Metric::ThroughputMeanOpsPerS.into(), Limit::AtLeast(limit), Factors::LIMIT)])
    };
    let (state, judgement) = judged(&at_least(1_000.0), &run);
    assert_eq!(state, State::Inconclusive);
    assert!(judgement.reason.unwrap().contains("500/s"));
    assert_eq!(judged(&at_least(400.0), &run).0, State::Pass);
    run.workloads[0].throughput_ops_per_s.mean = Some(350.0);
    assert_eq!(judged(&at_least(400.0), &run).0, State::Critical, "it was offered more than that");
}

#[test]
fn critical_comes_before_inconclusive_before_warning() {
    let run = fixtures::run();
    let p50 = |limit, factors| target(Metric::LatencyP50Us.into(), Limit::AtMost(limit), factors);
    let pass = p50(1e9, Factors::LIMIT);
    let warning = p50(1.0, Factors::NOTIFY);
    let critical = p50(1.0, Factors::LIMIT);
    let missing = target(Metric::CacheHitRatePercent.into(), Limit::AtLeast(1.0), Factors::LIMIT);
    for (targets, expected) in [
        (vec![&pass], State::Pass),
        (vec![&pass, &warning], State::Warning),
        (vec![&pass, &warning, &missing], State::Inconclusive),
        (vec![&missing, &warning, &critical, &pass], State::Critical),
    ] {
        let budget = budget(targets.into_iter().cloned().collect());
        assert_eq!(judge(&budget, &run).verdict, expected);
    }
}

#[test]
fn an_operation_is_judged_where_it_was_asked_for() {
    let mut run = fixtures::run();
    let mut other = fixtures::workload();
    other.name = "htb-qdisc".into();
    other.latency_us = BTreeMap::from([("qdisc-create".into(), flat(1.0))]);
    run.workloads.push(other);
    let mut of_create = target(Metric::LatencyP95Us.into(), Limit::AtMost(1e9), Factors::LIMIT);
    of_create.scope.operation = Some(OperationKind::ClassCreate);
    let budget = budget(vec![of_create]);
    assert_eq!(judged(&budget, &run).0, State::Pass, "the other one was never asked for it");
    // Now it may have been asked for, and failed each time.
    run.workloads[1].operations += 5;
    let all = judge(&budget, &run);
    assert_eq!((all.judgements.len(), all.verdict), (2, State::Inconclusive));
    assert_eq!(all.judgements[1].reason.as_deref(), Some("no class-create has succeeded"));
    run.workloads.clear();
    let (state, judgement) = judged(&budget, &run);
    assert_eq!(state, State::Inconclusive);
    assert_eq!(judgement.reason.as_deref(), Some("no class-create in a workload in this run"));
}

#[test]
fn what_is_too_short_for_a_rule_is_left_out_and_said() {
    let run = fixtures::run();
    let mut slow = target(Metric::MemoryGrowthMbPerHour.into(), Limit::AtMost(10.0), Factors::LIMIT);
    slow.scope.min_duration = Some(crate::duration::Span(std::time::Duration::from_mins(10)));
    let pass = target(Metric::LatencyP50Us.into(), Limit::AtMost(1e9), Factors::LIMIT);
    let all = judge(&budget(vec![pass, slow.clone()]), &run);
    assert_eq!((all.verdict, all.not_judged.len()), (State::Pass, 1));
    assert!(all.not_judged[0].reason.contains("10m"), "{:?}", all.not_judged);
    let only = judge(&budget(vec![slow.clone()]), &run);
    assert_eq!(only.verdict, State::Inconclusive, "nothing judged is no pass");
    let mut long = fixtures::run();
    long.workloads[0].measured_seconds = 600.0;
    assert_eq!(judge(&budget(vec![slow]), &long).verdict, State::Inconclusive, "now it must be measured");
}

/// A run that has everything, in two workloads.
fn whole_run() -> RunResult {
    let mut run = fixtures::run();
    let workload = &mut run.workloads[0];
    workload.phases_all_us = Some(phases(5.0));
    workload.phases_us = Some(BTreeMap::from([("class-create".into(), phases(5.0))]));
    workload.time_at = Some(BTreeMap::from([(
        "p95".into(),
        TimeAt {
            latency_us: 1.0,
            requests: 30,
            operation: "class-create".into(),
            phases_us: BTreeMap::from([(Phase::RtnlWait, 1.0)]),
            unattributed_us: 0.0,
        },
    )]));
    workload.rtnl_waits = Some(RtnlWaits {
        wait_us: 1.0,
        percent_of_requests: 1.0,
        foreign_percent_of_requests: 1.0,
        holders: vec![RtnlHolder {
            comm: "tc".into(),
            pid: 4242,
            own: false,
            doing: None,
            waits: 1,
            wait_us: 1.0,
            percent_of_waiting: 100.0,
        }],
        further_holders: 0,
        further_wait_us: 0.0,
        unknown_wait_us: 0.0,
    });
    let mut open = workload.clone();
    open.schedule_lag_us = Some(flat(10.0));
    (open.mode, open.rate) = (Mode::Open, Some(8_000.0));
    run.workloads.push(open);
    run.traffic = Some(fixtures::traffic());
    let growth = Growth { per_hour: 1.0, interval: [-1.0, 2.0], samples: 600, seconds: 600.0 };
    let keys = ["heap_bytes", "fds", "sockets", "slab_bytes"];
    run.resources.growth = Some(keys.map(|key| (key.to_owned(), growth)).into());
    run
}

/// A budget that asks for everything, and that the whole run keeps.
fn whole_budget() -> Budget {
    let mut targets = Vec::new();
    for quantity in Quantity::all().filter(|quantity| quantity.metric.place() != Place::Nowhere) {
        let limit = match quantity.metric.direction() {
            Direction::Higher => Limit::AtLeast(1.0),
            Direction::Lower => Limit::AtMost(1e12),
        };
        let mut target = target(quantity, limit, Factors::LIMIT);
        if quantity.metric == Metric::OfferedRateHeldPercent {
            target.scope.mode = Some(Mode::Open);
        }
        if quantity.metric.is_by_operation() {
            let mut of_create = target.clone();
            of_create.scope.operation = Some(OperationKind::ClassCreate);
            targets.push(of_create);
        }
        targets.push(target);
    }
    budget(targets)
}

/// Every key of every object, as the way to it.
fn keys(value: &Value, way: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                way.push(key.clone());
                found.push(way.clone());
                keys(value, way, found);
                way.pop();
            }
        }
        Value::Array(items) => {
            for (number, value) in items.iter().enumerate() {
                way.push(number.to_string());
                keys(value, way, found);
                way.pop();
            }
        }
        _ => {}
    }
}

fn remove(value: &mut Value, way: &[String]) {
    match (value, way) {
        (Value::Object(fields), [key]) => drop(fields.remove(key)),
        (Value::Object(fields), [key, rest @ ..]) => {
            if let Some(value) = fields.get_mut(key) {
                remove(value, rest);
            }
        }
        (Value::Array(items), [number, rest @ ..]) => {
            remove(&mut items[number.parse::<usize>().unwrap()], rest);
        }
        _ => {}
    }
}

type Passed = BTreeMap<(String, String, Option<String>), u64>;

fn passed(judgements: &[Judgement]) -> Passed {
    let passed = judgements.iter().filter(|judgement| judgement.state == State::Pass);
    passed
        .map(|judgement| {
            let key = (judgement.metric.clone(), judgement.workload.clone(), judgement.operation.clone());
            (key, judgement.value.expect("a pass has a value").to_bits())
        })
        .collect()
}

/// What passes with something removed passed before, with the same value; and where anything that passed is gone, so is the verdict.
fn hold(budget: &Budget, before: &Passed, document: Value, what: &str) {
    let Ok(run) = serde_json::from_value::<RunResult>(document) else { return };
    let after = judge(budget, &run);
    let now = passed(&after.judgements);
    for (key, value) in &now {
        assert_eq!(before.get(key), Some(value), "without {what} {key:?} passes");
    }
    if now.len() < before.len() {
        assert!(
            matches!(after.verdict, State::Inconclusive | State::Critical),
            "without {what}: {:?}",
            after.verdict
        );
    }
}

#[test]
fn without_any_one_field_nothing_passes_that_needs_it() {
    let (budget, run) = (whole_budget(), whole_run());
    let whole = judge(&budget, &run);
    let open = whole.judgements.iter().find(|judgement| judgement.state != State::Pass);
    assert_eq!((whole.verdict, open.map(|open| &open.metric)), (State::Pass, None));
    let before = passed(&whole.judgements);
    let document = serde_json::to_value(&run).unwrap();
    let mut ways = Vec::new();
    keys(&document, &mut Vec::new(), &mut ways);
    assert!(ways.len() > 300, "{}", ways.len());
    for way in ways {
        let mut less = document.clone();
        remove(&mut less, &way);
        hold(&budget, &before, less, &way.join("."));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn without_several_fields_nothing_passes_that_needs_them(picks in prop::collection::vec(any::<prop::sample::Index>(), 1..6)) {
        let (budget, run) = (whole_budget(), whole_run());
        let before = passed(&judge(&budget, &run).judgements);
        let mut document = serde_json::to_value(&run).unwrap();
        let mut ways = Vec::new();
        keys(&document, &mut Vec::new(), &mut ways);
        let mut what = String::new();
        for pick in picks {
            let way = pick.get(&ways);
            remove(&mut document, way);
            what += &way.join(".");
            what.push(' ');
        }
        hold(&budget, &before, document, &what);
    }

    #[test]
    fn whatever_is_read_is_a_budget_or_one_line(text in "\\PC{0,200}") {
        if let Err(error) = Budget::parse(&text) {
            prop_assert!(!error.to_string().contains('\n'), "{error}");
        }
        if let Err(error) = Budget::parse(&format!("{{\"a\":{text}}}")) {
            prop_assert!(!error.to_string().contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_damaged_budget_is_a_budget_or_one_line(which in 0..3_usize, at in any::<prop::sample::Index>(), with in any::<char>()) {
        let text = [include_str!("testdata/auth-service.json"), INIT_TOML, INIT_JSON][which];
        let mut letters: Vec<char> = text.chars().collect();
        let at = at.index(letters.len());
        letters[at] = with;
        let text: String = letters.into_iter().collect();
        match Budget::parse(&text) {
            Err(error) => prop_assert!(!error.to_string().contains('\n'), "{error}"),
            Ok(budget) => {
                for target in budget.targets {
                    prop_assert!(target.limit.bound().is_finite() && target.limit.bound() >= 0.0);
                    prop_assert_eq!(target.limit.direction(), target.quantity.metric.direction());
                }
            }
        }
    }
}

/// `result.json` has said `fail` from the beginning, and scripts read it.
#[test]
fn what_is_critical_is_called_fail_in_a_saved_run() {
    for (state, saved, said) in [
        (State::Pass, "\"pass\"", "pass"),
        (State::Warning, "\"warning\"", "warning"),
        (State::Critical, "\"fail\"", "critical"),
        (State::Inconclusive, "\"inconclusive\"", "inconclusive"),
    ] {
        assert_eq!(
            (serde_json::to_string(&state).unwrap().as_str(), state.to_string().as_str()),
            (saved, said)
        );
        for name in [saved, &format!("\"{said}\"")] {
            assert_eq!(serde_json::from_str::<State>(name).unwrap(), state);
        }
    }
}
