//! The verdict. What was not measured is inconclusive, never a pass.

use super::{Budget, Limit, Target};
use crate::report::model::{Judgement, Mode, NotJudged, RunResult, State, WorkloadResult};
use crate::report::words;

/// Steal above this makes a *violated* timing target inconclusive: the hypervisor took the time.
/// A target that holds under steal holds.
const NOISY_STEAL_PERCENT: f64 = 10.0;

/// A budget's targets against a run.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Each target that applies.
    pub judgements: Vec<Judgement>,
    /// Built-in targets that speak of workloads nobody asked for.
    pub not_judged: Vec<NotJudged>,
    /// Over all.
    pub verdict: State,
}

/// Judges `run` against `budget`.
pub fn judge(budget: &Budget, run: &RunResult) -> Judged {
    let mut judgements = Vec::new();
    let mut not_judged = Vec::new();
    for target in &budget.targets {
        if target.quantity.metric.is_of_the_run() {
            let value = target.quantity.metric.of_run(run);
            judgements.push(judge_value(budget, target, "run", value, run, None));
            continue;
        }
        let mut applies = false;
        for workload in
            run.workloads.iter().filter(|w| w.is_judged() && target.mode.is_none_or(|mode| mode == w.mode))
        {
            applies = true;
            let name = workload.title();
            let value = target.quantity.of_workload(workload);
            judgements.push(judge_value(budget, target, &name, value, run, Some(workload)));
        }
        if !applies {
            let reason = no_workload(target.mode);
            if budget.built_in && !run.interrupted {
                not_judged.push(NotJudged { metric: target.quantity.name(), reason });
            } else {
                judgements.push(judgement(target, "none", None, State::Inconclusive, Some(reason)));
            }
        }
    }
    let verdict = verdict(&judgements, run.interrupted);
    Judged { judgements, not_judged, verdict }
}

/// One violation fails the run; otherwise one gap leaves it open.
fn verdict(judgements: &[Judgement], interrupted: bool) -> State {
    if judgements.iter().any(|judgement| judgement.state == State::Fail) {
        State::Fail
    } else if interrupted
        || judgements.is_empty()
        || judgements.iter().any(|judgement| judgement.state == State::Inconclusive)
    {
        State::Inconclusive
    } else {
        State::Pass
    }
}

fn no_workload(mode: Option<Mode>) -> String {
    match mode {
        Some(mode) => format!("no {mode}-loop workload in this run"),
        None => "no workload in this run".into(),
    }
}

fn judge_value(
    budget: &Budget,
    target: &Target,
    place: &str,
    value: Option<f64>,
    run: &RunResult,
    workload: Option<&WorkloadResult>,
) -> Judgement {
    let Some(value) = value else {
        return judgement(target, place, None, State::Inconclusive, Some(why_absent(target, workload)));
    };
    let unsent = workload.map_or(0, |workload| workload.unsent);
    let steal = run.environment.steal_percent.unwrap_or(0.0);
    let (state, reason) = if target.limit.holds(value) {
        if unsent > 0 && target.quantity.metric.is_latency() {
            let reason = format!("{unsent} scheduled requests were never sent; their latency is unknown");
            (State::Inconclusive, Some(reason))
        } else if workload.is_some_and(|workload| workload.interrupted) {
            (State::Inconclusive, Some("interrupted before its end".into()))
        } else {
            (State::Pass, None)
        }
    } else {
        let timing = target.quantity.metric.suffers_from_noise();
        let foreign = workload
            .and_then(|workload| workload.rtnl_waits.as_ref())
            .filter(|waits| timing && waits.foreign_percent_of_requests > budget.foreign_rtnl_percent);
        let blame = workload.and_then(|workload| words::blame(target.quantity.time_at(workload)?, workload));
        if steal > NOISY_STEAL_PERCENT && timing {
            let reason =
                format!("the hypervisor took {steal:.0} % of the CPU time: run it on a quiet machine");
            (State::Inconclusive, Some(reason))
        } else if let Some(waits) = foreign {
            let interference = format!(
                "requests spent {:.0} % of their time in the kernel waiting for RTNL that other processes held, more than {} %",
                waits.foreign_percent_of_requests, budget.foreign_rtnl_percent
            );
            (
                State::Inconclusive,
                Some([blame, Some(interference)].into_iter().flatten().collect::<Vec<_>>().join("; ")),
            )
        } else {
            (State::Fail, blame)
        }
    };
    judgement(target, place, Some(value), state, reason)
}

fn why_absent(target: &Target, workload: Option<&WorkloadResult>) -> String {
    match (target.limit, workload) {
        (Limit::Above(_), Some(workload)) if workload.measured_seconds < 1.0 => format!(
            "measured for {:.2} s, which holds no whole second: use more operations or a longer --duration",
            workload.measured_seconds
        ),
        _ => "not measured".into(),
    }
}

fn judgement(
    target: &Target,
    place: &str,
    value: Option<f64>,
    state: State,
    reason: Option<String>,
) -> Judgement {
    Judgement {
        metric: target.quantity.name(),
        workload: place.into(),
        comparison: target.limit.symbol().into(),
        limit: target.limit.bound(),
        value,
        state,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::attribution::Phase;
    use crate::budget::Metric;
    use crate::report::model::{RtnlHolder, RtnlWaits, TimeAt, fixtures};

    fn budget(metric: Metric, limit: Limit, mode: Option<Mode>) -> Budget {
        Budget {
            targets: vec![Target { quantity: metric.into(), mode, limit }],
            built_in: false,
            foreign_rtnl_percent: 10.0,
        }
    }

    #[test]
    fn a_value_within_its_limit_passes_and_one_beyond_fails() {
        let run = fixtures::run();
        let p95 = run.workloads[0].latency_all_us.unwrap().p95;
        let judged = judge(&budget(Metric::LatencyP95Us, Limit::Below(p95 + 1.0), None), &run);
        assert_eq!(judged.verdict, State::Pass);
        let judged = judge(&budget(Metric::LatencyP95Us, Limit::Below(p95), None), &run);
        assert_eq!(judged.verdict, State::Fail);
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
        assert_eq!(fail.verdict, State::Fail);
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
        assert_eq!(leak.verdict, State::Fail);
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
        assert_eq!(judged.verdict, State::Fail);
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
        assert_eq!(leak.verdict, State::Fail);
        let held = judge(&budget(Metric::LatencyP95Us, Limit::Below(1e9), None), &run);
        assert_eq!(held.verdict, State::Pass, "what holds in spite of it holds");
    }

    #[test]
    fn an_interrupted_run_never_passes() {
        let mut run = fixtures::run();
        run.interrupted = true;
        let judged = judge(&budget(Metric::LatencyP95Us, Limit::Below(1e9), None), &run);
        assert_eq!(judged.verdict, State::Inconclusive);
    }
}
