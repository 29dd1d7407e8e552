//! The verdict. What was not measured is inconclusive, never a pass.

use super::limit::too_few;
use super::measure::never_asked;
use super::metric::Place;
use super::{Budget, Crossed, Limit, Metric, Reading, Target};
use crate::report::model::{Judgement, NotJudged, RunResult, State, WorkloadResult};
use crate::report::words;
use crate::stats::enough::trials_need;
use crate::traffic::TrafficReport;

/// Steal above this makes a *violated* timing target inconclusive: the hypervisor took the time.
/// A target that holds under steal holds.
pub const NOISY_STEAL_PERCENT: f64 = 10.0;

/// A harness that is itself later than this, µs at the 99th percentile, measured itself as well, and offered less than it was to.
pub const LATE_US: f64 = 1_000.0;

/// Of a larger share of lost events the percentiles that targets speak of may be among what was lost.
pub const MOST_LOST: f64 = 0.001;

/// A budget's targets against a run.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Each target that applies.
    pub judgements: Vec<Judgement>,
    /// Built-in targets that speak of workloads nobody asked for, and targets that speak of longer ones.
    pub not_judged: Vec<NotJudged>,
    /// Over all.
    pub verdict: State,
}

/// Judges `run` against `budget`.
pub fn judge(budget: &Budget, run: &RunResult) -> Judged {
    let mut judged = Judged { judgements: Vec::new(), not_judged: Vec::new(), verdict: State::Inconclusive };
    for target in &budget.targets {
        if target.quantity.metric.place() == Place::Workload {
            judge_in_workloads(budget, target, run, &mut judged);
        } else {
            judge_in_run(budget, target, run, &mut judged);
        }
    }
    judged.verdict = verdict(&judged.judgements, run.incomplete().is_some());
    judged
}

fn judge_in_run(budget: &Budget, target: &Target, run: &RunResult, judged: &mut Judged) {
    let measured = run.workloads.iter().map(|workload| workload.measured_seconds).sum();
    if let Some(reason) = target.scope.too_short(measured) {
        judged.not_judged.push(left_out(target, reason));
        return;
    }
    let case = Case { budget, target, run, workload: None };
    judged.judgements.push(case.judgement("run", target.quantity.metric.of_run(run)));
}

fn judge_in_workloads(budget: &Budget, target: &Target, run: &RunResult, judged: &mut Judged) {
    let scope = &target.scope;
    let mut applies = false;
    for workload in run.workloads.iter().filter(|workload| scope.admits(workload)) {
        if scope.operation.is_some_and(|operation| never_asked(operation, workload)) {
            continue;
        }
        applies = true;
        let place = workload.title();
        if let Some(reason) = scope.too_short(workload.measured_seconds) {
            judged.not_judged.push(left_out(target, format!("{place}: {reason}")));
            continue;
        }
        let reading = target.quantity.reading(scope.operation, workload);
        let case = Case { budget, target, run, workload: Some(workload) };
        judged.judgements.push(case.judgement(&place, reading));
    }
    if !applies {
        let reason = nowhere(target);
        if budget.built_in && !run.interrupted {
            judged.not_judged.push(left_out(target, reason));
        } else {
            judged.judgements.push(judgement(target, "none", None, (State::Inconclusive, Some(reason))));
        }
    }
}

fn left_out(target: &Target, reason: String) -> NotJudged {
    NotJudged { metric: target.quantity.name(), reason }
}

/// One violation fails the run; otherwise one gap leaves it open.
fn verdict(judgements: &[Judgement], interrupted: bool) -> State {
    let any = |state| judgements.iter().any(|judgement| judgement.state == state);
    if any(State::Critical) {
        State::Critical
    } else if interrupted || judgements.is_empty() || any(State::Inconclusive) {
        State::Inconclusive
    } else if any(State::Warning) {
        State::Warning
    } else {
        State::Pass
    }
}

fn nowhere(target: &Target) -> String {
    let scope = &target.scope;
    let operation =
        scope.operation.map_or_else(String::new, |operation| format!("{} in a ", operation.name()));
    let mode = scope.mode.map_or_else(String::new, |mode| format!("{mode}-loop "));
    let name = scope.workload.as_ref().map_or_else(String::new, |name| format!(" `{name}`"));
    let stage = scope.stage.as_ref().map_or_else(String::new, |name| format!(" in a stage `{name}`"));
    format!("no {operation}{mode}workload{name}{stage} in this run")
}

/// A target in one place.
struct Case<'a> {
    budget: &'a Budget,
    target: &'a Target,
    run: &'a RunResult,
    /// `None`: the whole run.
    workload: Option<&'a WorkloadResult>,
}

/// A state, and why, where that does not speak for itself.
type Said = (State, Option<String>);

fn open(reason: impl Into<String>) -> Said {
    (State::Inconclusive, Some(reason.into()))
}

impl Case<'_> {
    fn judgement(&self, place: &str, reading: Option<Reading>) -> Judgement {
        let said = match reading {
            Some(reading) => self.state(reading),
            None => open(self.why_absent()),
        };
        judgement(self.target, place, reading.map(|reading| reading.value), said)
    }

    fn state(&self, reading: Reading) -> Said {
        let metric = self.target.quantity.metric;
        let levels = self.target.levels();
        if !reading.value.is_finite() || (reading.value < 0.0 && !metric.is_growth()) {
            return open("no such value can have been measured");
        }
        if let (Some(share), Some(count)) = (metric.share(), reading.count)
            && let Some(reason) = too_few(share, count)
        {
            return open(reason);
        }
        let crossed = if metric.is_growth() {
            // An estimate without an interval may be anything.
            let interval = reading.interval.unwrap_or([f64::NAN; 2]);
            match levels.crossed_by_growth(reading.value, interval) {
                Ok(crossed) => crossed,
                Err(reason) => return open(reason),
            }
        } else {
            levels.crossed(reading.value)
        };
        if crossed != Crossed::Nothing
            && let Some(reason) = self.offered_less(reading.value)
        {
            return open(reason);
        }
        match crossed {
            Crossed::Critical => self.violated(),
            Crossed::Warning => self.doubts(reading).map_or((State::Warning, self.blame()), open),
            Crossed::Nothing => self.doubts(reading).map_or((State::Pass, None), open),
        }
    }

    /// Why a value that is not critical may be so after all.
    fn doubts(&self, reading: Reading) -> Option<String> {
        let metric = self.target.quantity.metric;
        if metric.is_of_traffic() {
            let less = self.run.traffic.as_ref().and_then(TrafficReport::sent_less);
            return less.or_else(|| self.too_few_trials(reading, "packets"));
        }
        let workload = self.workload?;
        if workload.unsent > 0 && metric.is_latency() {
            let unsent = workload.unsent;
            return Some(format!("{unsent} scheduled requests were never sent; their latency is unknown"));
        }
        if workload.interrupted {
            return Some("interrupted before its end".into());
        }
        if let Some(reason) = self.suspended().or_else(|| self.harness_late()).or_else(|| self.events_lost())
        {
            return Some(reason);
        }
        self.too_few_trials(reading, "operations")
    }

    /// A share of failures within its limit of so few trials that no failure at all would prove little.
    fn too_few_trials(&self, reading: Reading, what: &str) -> Option<String> {
        if !matches!(self.target.quantity.metric, Metric::ErrorRatePercent | Metric::PacketLossPercent) {
            return None;
        }
        let strictest = self.target.levels().warning.or(self.target.levels().critical)?;
        let needed = trials_need(strictest.bound() / 100.0)?;
        let sent = reading.count.unwrap_or(0);
        (sent < needed).then(|| {
            format!("{sent} {what} are too few to tell it from {} %: it needs {needed}", strictest.bound())
        })
    }

    /// The machine slept: requests that were on their way took longer than is known, and who had waited came all at once.
    fn suspended(&self) -> Option<String> {
        let slept = self.run.environment.suspended_seconds.filter(|slept| *slept > 0.0)?;
        self.target.quantity.metric.suffers_from_noise().then(|| {
            format!("the machine slept for {slept:.1} s in the middle of the run: repeat it with the machine kept awake")
        })
    }

    /// The harness itself was late: what it measured is not what was asked for.
    fn harness_late(&self) -> Option<String> {
        if !self.target.quantity.metric.suffers_from_noise() {
            return None;
        }
        let workload = self.workload?;
        match workload.schedule_lag_us {
            Some(lag) if lag.p99 > LATE_US => Some(format!(
                "the harness itself began {:.1} ms late (p99) where it was to be on time within 1 ms: this machine cannot offer this load",
                lag.p99 / 1e3
            )),
            None if workload.keeps_time() => {
                Some("how late the harness itself began was not measured".into())
            }
            _ => None,
        }
    }

    /// Kernel events that were lost are requests of which nothing is known there: as a rule the busiest moments'.
    fn events_lost(&self) -> Option<String> {
        let workload = self.workload.filter(|_| self.target.quantity.phase.is_some())?;
        match workload.lost_events {
            None => Some("how many of the kernel's events were lost is not known".into()),
            Some(lost) if lost as f64 > workload.operations as f64 * MOST_LOST => Some(format!(
                "{lost} of the kernel's events were lost, of {} operations",
                workload.operations
            )),
            Some(_) => None,
        }
    }

    /// An open loop completes no more than it is offered.
    fn offered_less(&self, value: f64) -> Option<String> {
        let workload = self.workload.filter(|_| self.target.quantity.metric.is_throughput())?;
        let rate = workload.rate?;
        let levels = self.target.levels();
        let left =
            [levels.critical, levels.warning].into_iter().flatten().find(|level| !level.holds(value))?;
        // Which part of the rate fell to one operation is not kept; where nothing was left unsent, all of it was completed.
        let of_operation = self.target.scope.operation.is_some() && workload.unsent == 0;
        (rate <= left.bound() || of_operation).then(|| {
            format!(
                "an open loop at {rate}/s cannot show more than it is offered: judge capacity in a closed one"
            )
        })
    }

    fn violated(&self) -> Said {
        let timing = self.target.quantity.metric.suffers_from_noise();
        let steal = self.run.environment.steal_percent.unwrap_or(0.0);
        if steal > NOISY_STEAL_PERCENT && timing {
            return open(format!(
                "the hypervisor took {steal:.0} % of the CPU time: run it on a quiet machine"
            ));
        }
        if let Some(reason) = self.suspended().or_else(|| self.harness_late()) {
            return open([self.blame(), Some(reason)].into_iter().flatten().collect::<Vec<_>>().join("; "));
        }
        let foreign_rtnl_percent = self.budget.foreign_rtnl_percent;
        let foreign = self
            .workload
            .and_then(|workload| workload.rtnl_waits.as_ref())
            .filter(|waits| timing && waits.foreign_percent_of_requests > foreign_rtnl_percent);
        let Some(waits) = foreign else { return (State::Critical, self.blame()) };
        let interference = format!(
            "requests spent {:.0} % of their time in the kernel waiting for RTNL that other processes held, more than {foreign_rtnl_percent} %",
            waits.foreign_percent_of_requests
        );
        open([self.blame(), Some(interference)].into_iter().flatten().collect::<Vec<_>>().join("; "))
    }

    /// The guilty phase. Of one operation it is not kept.
    fn blame(&self) -> Option<String> {
        let workload = self.workload.filter(|_| self.target.scope.operation.is_none())?;
        words::blame(self.target.quantity.time_at(workload)?, workload)
    }

    fn why_absent(&self) -> String {
        let metric = self.target.quantity.metric;
        match self.workload {
            _ if metric.place() == Place::Nowhere => {
                "traffic control has nothing like it, and it is not measured here".into()
            }
            Some(workload)
                if metric == Metric::ThroughputWorstSecondOpsPerS && workload.measured_seconds < 1.0 =>
            {
                format!(
                    "measured for {:.2} s, which holds no whole second: use more operations or a longer --duration",
                    workload.measured_seconds
                )
            }
            Some(workload) => match self.target.scope.operation {
                Some(operation) if !workload.latency_us.contains_key(operation.name()) => {
                    format!("no {} has succeeded", operation.name())
                }
                _ => "not measured".into(),
            },
            None if metric.is_growth() => "not measured: no growth was estimated in this run".into(),
            None if metric.is_of_traffic() => match &self.run.traffic {
                None => "no traffic flowed in this run: [traffic] of a load profile asks for it".into(),
                Some(traffic) => traffic
                    .inconclusive_because
                    .clone()
                    .or_else(|| traffic.reordering().err())
                    .unwrap_or_else(|| "not measured".into()),
            },
            None => "not measured".into(),
        }
    }
}

fn judgement(target: &Target, place: &str, value: Option<f64>, (state, reason): Said) -> Judgement {
    let levels = target.levels();
    // Without factors the limit says it all.
    let stated = target.factors != super::Factors::LIMIT;
    let level = |level: Option<Limit>| level.filter(|_| stated).map(Limit::bound);
    Judgement {
        metric: target.quantity.name(),
        workload: place.into(),
        operation: target.scope.operation.map(|operation| operation.name().to_owned()),
        comparison: target.limit.symbol().into(),
        limit: target.limit.bound(),
        warning_at: level(levels.warning),
        critical_at: level(levels.critical),
        value,
        state,
        rule: target.rule.clone(),
        action: target.action,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::attribution::Phase;
    use crate::budget::{Factors, Limit, Metric, Quantity, Scope};
    use crate::disturb::{Disturbance, Outcome};
    use crate::duration::Span;
    use crate::report::model::{Mode, ProfileRun, RtnlHolder, RtnlWaits, TimeAt, fixtures};

    fn budget(metric: Metric, limit: Limit, mode: Option<Mode>) -> Budget {
        let target = Target {
            quantity: metric.into(),
            scope: Scope { mode, ..Scope::default() },
            limit,
            factors: Factors::LIMIT,
            regression_threshold: None,
            action: None,
            rule: None,
        };
        Budget { targets: vec![target], built_in: false, foreign_rtnl_percent: 10.0 }
    }

    #[test]
    fn a_value_within_its_limit_passes_and_one_beyond_fails() {
        let run = fixtures::run();
        let p95 = run.workloads[0].latency_all_us.unwrap().p95;
        let judged = judge(&budget(Metric::LatencyP95Us, Limit::Below(p95 + 1.0), None), &run);
        assert_eq!(judged.verdict, State::Pass);
        let judged = judge(&budget(Metric::LatencyP95Us, Limit::Below(p95), None), &run);
        assert_eq!(judged.verdict, State::Critical);
        assert_eq!(judged.judgements[0].value, Some(p95));
    }

    #[test]
    fn what_was_not_measured_is_inconclusive() {
        let mut run = fixtures::run();
        run.workloads[0].resources.peak_rss_bytes = None;
        let judged = judge(&budget(Metric::PeakRssBytes, Limit::Below(1e12), None), &run);
        assert_eq!((judged.verdict, judged.judgements[0].value), (State::Inconclusive, None));
    }

    #[test]
    fn no_whole_second_is_inconclusive_and_says_so() {
        let mut run = fixtures::run();
        run.workloads[0].measured_seconds = 0.4;
        run.workloads[0].throughput_ops_per_s.worst_second = None;
        let judged = judge(&budget(Metric::ThroughputWorstSecondOpsPerS, Limit::Above(1.0), None), &run);
        assert_eq!(judged.verdict, State::Inconclusive);
        assert!(judged.judgements[0].reason.as_ref().unwrap().contains("whole second"));
    }

    #[test]
    fn a_budget_that_somebody_names_must_be_measured_whole() {
        let run = fixtures::run();
        let named = budget(Metric::PeakRssBytes, Limit::Below(1e12), Some(Mode::Open));
        assert_eq!(judge(&named, &run).verdict, State::Inconclusive);
        let built_in = Budget { built_in: true, ..named };
        let judged = judge(&built_in, &run);
        assert_eq!(judged.not_judged.len(), 1);
        assert_eq!(judged.verdict, State::Inconclusive, "nothing judged is no pass");
    }

    #[test]
    fn unsent_requests_leave_a_passing_latency_open_but_a_failing_one_failed() {
        let mut run = fixtures::run();
        run.workloads[0].unsent = 5;
        let p95 = run.workloads[0].latency_all_us.unwrap().p95;
        let pass = judge(&budget(Metric::LatencyP95Us, Limit::Below(p95 + 1.0), None), &run);
        assert_eq!(pass.verdict, State::Inconclusive);
        let fail = judge(&budget(Metric::LatencyP95Us, Limit::Below(1.0), None), &run);
        assert_eq!(fail.verdict, State::Critical);
    }

    #[test]
    fn a_stolen_cpu_excuses_time_but_not_leaks() {
        let mut run = fixtures::run();
        run.environment.steal_percent = Some(30.0);
        run.resources.fds_before = Some(3);
        run.resources.fds_after = Some(4);
        let late = judge(&budget(Metric::LatencyP95Us, Limit::Below(1.0), None), &run);
        assert_eq!(late.verdict, State::Inconclusive);
        let leak = judge(&budget(Metric::LeakedFds, Limit::AtMost(0.0), None), &run);
        assert_eq!(leak.verdict, State::Critical);
    }

    #[test]
    fn whoever_keeps_time_must_have_kept_it() {
        let mut run = fixtures::run();
        let p95 = run.workloads[0].latency_all_us.unwrap().p95;
        let verdict = |run: &RunResult, limit| {
            judge(&budget(Metric::LatencyP95Us, Limit::Below(limit), None), run).verdict
        };
        assert_eq!(verdict(&run, p95 + 1.0), State::Pass, "a closed loop without think times has no moments");
        run.workloads[0].rate = Some(1_000.0);
        run.workloads[0].schedule_lag_us = Some(fixtures::percentiles(100.0, 20_000));
        assert_eq!(verdict(&run, p95 + 1.0), State::Pass);
        run.workloads[0].schedule_lag_us = Some(fixtures::percentiles(LATE_US + 1.0, 20_000));
        assert_eq!(
            (verdict(&run, p95 + 1.0), verdict(&run, 1.0)),
            (State::Inconclusive, State::Inconclusive)
        );
        run.workloads[0].schedule_lag_us = None;
        assert_eq!(
            (verdict(&run, p95 + 1.0), verdict(&run, 1.0)),
            (State::Inconclusive, State::Inconclusive)
        );
    }

    #[test]
    fn lost_events_leave_the_kernels_phases_open() {
        let mut run = fixtures::run();
        let quantity = Quantity::try_from("rtnl_wait_p95_us".to_owned()).unwrap();
        let target =
            Target { quantity, ..budget(Metric::LatencyP95Us, Limit::Below(1e9), None).targets.remove(0) };
        let budget = Budget { targets: vec![target], built_in: false, foreign_rtnl_percent: 10.0 };
        run.workloads[0].operations = 20_000;
        run.workloads[0].phases_all_us = Some(super::super::tests::phases(10.0));
        for (lost, state) in [
            (Some(0), State::Pass),
            (Some(20), State::Pass),
            (Some(21), State::Inconclusive),
            (None, State::Inconclusive),
        ] {
            run.workloads[0].lost_events = lost;
            let judged = judge(&budget, &run);
            assert_eq!(judged.verdict, state, "{lost:?}: {:?}", judged.judgements);
        }
    }

    #[test]
    fn a_value_that_cannot_be_is_none() {
        let mut run = fixtures::run();
        for value in [-1.0, f64::NAN, f64::INFINITY] {
            run.workloads[0].throughput_ops_per_s.mean = Some(value);
            let judged = judge(&budget(Metric::ThroughputMeanOpsPerS, Limit::Below(1e9), None), &run);
            assert_eq!(judged.verdict, State::Inconclusive, "{value}");
        }
    }

    #[test]
    fn a_part_of_a_profile_passes_nothing() {
        let whole = ProfileRun {
            name: "smoke".into(),
            file: "built in".into(),
            tree: None,
            time_scale: 1.0,
            shortened: false,
            stages_planned: fixtures::run().workloads.len(),
            aborted: None,
            disturbances: vec![Outcome {
                disturbance: Disturbance::DeviceGone { device: 0, at: Span::default() },
                began_seconds: Some(0.0),
                ended_seconds: Some(0.0),
                effect: None,
                error: None,
            }],
        };
        let verdict = |change: fn(&mut ProfileRun)| {
            let mut profile = whole.clone();
            change(&mut profile);
            let run = RunResult { profile: Some(profile), ..fixtures::run() };
            let judged = judge(&budget(Metric::LatencyP95Us, Limit::Below(1e9), None), &run);
            (judged.verdict, run.incomplete())
        };
        assert_eq!(verdict(|_| {}), (State::Pass, None));
        for (change, word) in [
            ((|profile| profile.stages_planned += 1) as fn(&mut ProfileRun), "stages were run"),
            (|profile| profile.aborted = Some("p95".into()), "given up: p95"),
            (|profile| profile.disturbances[0].began_seconds = None, "device-gone did not come"),
            (|profile| profile.disturbances[0].error = Some("no device".into()), "no device"),
        ] {
            let (state, why) = verdict(change);
            assert!(state == State::Inconclusive && why.as_ref().unwrap().contains(word), "{why:?}");
        }
    }

    #[test]
    fn a_machine_that_slept_excuses_time_but_not_leaks() {
        let mut run = fixtures::run();
        run.environment.suspended_seconds = Some(12.0);
        run.resources.fds_before = Some(3);
        run.resources.fds_after = Some(4);
        for limit in [1.0, 1e9] {
            let timing = judge(&budget(Metric::LatencyP95Us, Limit::Below(limit), None), &run);
            assert_eq!(timing.verdict, State::Inconclusive);
            assert!(timing.judgements[0].reason.as_ref().unwrap().contains("slept for 12.0 s"));
        }
        let leak = judge(&budget(Metric::LeakedFds, Limit::AtMost(0.0), None), &run);
        assert_eq!(leak.verdict, State::Critical);
    }

    /// A tenth of a request is its own, the rest it waits behind `tc`.
    fn contended(foreign_percent: f64) -> RunResult {
        let mut run = fixtures::run();
        let workload = &mut run.workloads[0];
        workload.time_at = Some(BTreeMap::from([(
            "p95".to_owned(),
            TimeAt {
                latency_us: 14_200.0,
                requests: 30,
                operation: "class-create".into(),
                phases_us: BTreeMap::from([(Phase::RtnlWait, 11_900.0), (Phase::OnCpu, 2_300.0)]),
                unattributed_us: 0.0,
            },
        )]));
        workload.rtnl_waits = Some(RtnlWaits {
            wait_us: 412_000.0,
            percent_of_requests: 84.0,
            foreign_percent_of_requests: foreign_percent,
            holders: vec![RtnlHolder {
                comm: "tc".into(),
                pid: 4242,
                own: false,
                doing: None,
                waits: 30,
                wait_us: 341_960.0,
                percent_of_waiting: 83.0,
            }],
            further_holders: 0,
            further_wait_us: 0.0,
            unknown_wait_us: 0.0,
        });
        run
    }

    #[test]
    fn a_violation_names_the_guilty_phase_and_whom_was_waited_for() {
        let judged = judge(&budget(Metric::LatencyP95Us, Limit::Below(10.0), None), &contended(5.0));
        assert_eq!(judged.verdict, State::Critical);
        let reason = judged.judgements[0].reason.as_deref().unwrap();
        assert_eq!(
            reason,
            "p95 class-create 14.2 ms: 11.9 ms RTNL wait, 83 % of all such waiting behind `tc` (pid 4242)"
        );
    }

    #[test]
    fn interference_leaves_time_open_but_not_leaks() {
        let mut run = contended(40.0);
        let late = judge(&budget(Metric::LatencyP95Us, Limit::Below(10.0), None), &run);
        assert_eq!(late.verdict, State::Inconclusive);
        assert!(late.judgements[0].reason.as_ref().unwrap().contains("`tc` (pid 4242); requests spent 40 %"));
        run.resources.fds_before = Some(3);
        run.resources.fds_after = Some(4);
        let leak = judge(&budget(Metric::LeakedFds, Limit::AtMost(0.0), None), &run);
        assert_eq!(leak.verdict, State::Critical);
        let held = judge(&budget(Metric::LatencyP95Us, Limit::Below(1e9), None), &run);
        assert_eq!(held.verdict, State::Pass, "what holds in spite of it holds");
    }

    #[test]
    fn a_profile_that_was_not_run_whole_never_passes() {
        let mut run = fixtures::run();
        let held = budget(Metric::LatencyP95Us, Limit::Below(1e9), None);
        let disturbance = Disturbance::ReceiveBuffer { bytes: 4_096 };
        let came =
            Outcome { disturbance, began_seconds: Some(1.0), ended_seconds: None, effect: None, error: None };
        let verdict = |run: &RunResult| judge(&held, run).verdict;
        let mut profile = ProfileRun {
            name: "x".into(),
            file: "built in".into(),
            tree: None,
            time_scale: 1.0,
            shortened: false,
            stages_planned: 1,
            aborted: None,
            disturbances: vec![came.clone()],
        };
        run.profile = Some(profile.clone());
        assert_eq!(verdict(&run), State::Pass);
        for outcome in [
            Outcome { error: Some("no userfaultfd".into()), ..came.clone() },
            Outcome { began_seconds: None, ..came },
        ] {
            run.profile = Some(ProfileRun { disturbances: vec![outcome], ..profile.clone() });
            assert_eq!(verdict(&run), State::Inconclusive);
        }
        profile.aborted = Some("too slow".into());
        run.profile = Some(profile);
        assert_eq!(verdict(&run), State::Inconclusive);
    }

    #[test]
    fn an_interrupted_run_never_passes() {
        let mut run = fixtures::run();
        run.interrupted = true;
        let judged = judge(&budget(Metric::LatencyP95Us, Limit::Below(1e9), None), &run);
        assert_eq!(judged.verdict, State::Inconclusive);
    }
}
