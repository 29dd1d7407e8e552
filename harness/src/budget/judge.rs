//! The verdict. What was not measured is inconclusive, never a pass.

use super::{Budget, Limit, Target};
use crate::report::model::{Judgement, Mode, NotJudged, RunResult, State, WorkloadResult};

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
        if target.metric.is_of_the_run() {
            judgements.push(judge_value(target, "run", target.metric.of_run(run), run, None));
            continue;
        }
        let mut applies = false;
        for workload in run.workloads.iter().filter(|w| target.mode.is_none_or(|mode| mode == w.mode)) {
            applies = true;
            let name = format!("{} ({})", workload.name, workload.mode);
            let value = target.metric.of_workload(workload);
            judgements.push(judge_value(target, &name, value, run, Some(workload)));
        }
        if !applies {
            let reason = no_workload(target.mode);
            if budget.built_in && !run.interrupted {
                not_judged.push(NotJudged { metric: target.metric.name(), reason });
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
        if unsent > 0 && target.metric.is_latency() {
            let reason = format!("{unsent} scheduled requests were never sent; their latency is unknown");
            (State::Inconclusive, Some(reason))
        } else if workload.is_some_and(|workload| workload.interrupted) {
            (State::Inconclusive, Some("interrupted before its end".into()))
        } else {
            (State::Pass, None)
        }
    } else if steal > NOISY_STEAL_PERCENT && target.metric.suffers_from_noise() {
        let reason = format!("the hypervisor took {steal:.0} % of the CPU time: run it on a quiet machine");
        (State::Inconclusive, Some(reason))
    } else {
        (State::Fail, None)
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
        metric: target.metric.name(),
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
    use super::*;
    use crate::budget::Metric;
    use crate::report::model::fixtures;

    fn budget(metric: Metric, limit: Limit, mode: Option<Mode>) -> Budget {
        Budget { targets: vec![Target { metric, mode, limit }], built_in: false }
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

    #[test]
    fn an_interrupted_run_never_passes() {
        let mut run = fixtures::run();
        run.interrupted = true;
        let judged = judge(&budget(Metric::LatencyP95Us, Limit::Below(1e9), None), &run);
        assert_eq!(judged.verdict, State::Inconclusive);
    }
}
