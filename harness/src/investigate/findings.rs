//! What to look at first, from the verdict to the phase to whoever is guilty of it.

use super::place;
use crate::attribution::Phase;
use crate::report::model::{Judgement, RunResult, State, TimeAt, WorkloadResult};
use crate::report::{terminal, words};

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// In a few words.
    pub(super) title: String,
    /// In a sentence.
    pub(super) text: String,
    /// Where on the page.
    pub(super) see: &'static str,
    /// How it is marked: `culprit`, `fail`, `open` or `note`.
    pub(super) mark: &'static str,
}

/// Waiting for RTNL below this share of the requests' time in the kernel is nobody's fault; percent.
const NOTABLE: f64 = 5.0;

/// Findings, the most telling first: who stood in the way, then what did not hold, then what else is worth a word.
pub(super) fn findings(run: &RunResult) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut contended: Vec<&WorkloadResult> = run
        .workloads
        .iter()
        .filter(|workload| {
            workload.rtnl_waits.as_ref().is_some_and(|waits| waits.percent_of_requests >= NOTABLE)
        })
        .collect();
    contended.sort_by(|one, other| share(other).total_cmp(&share(one)));
    findings.extend(contended.into_iter().filter_map(culprit));
    // Of one workload's failures the first percentile tells what the others tell, too.
    findings.extend(
        run.budget
            .iter()
            .filter(|judged| judged.state == State::Critical)
            .map(|judged| of(judged, run, "fail")),
    );
    findings.extend(
        run.budget
            .iter()
            .filter(|judged| matches!(judged.state, State::Inconclusive | State::Warning))
            .map(|judged| of(judged, run, "open")),
    );
    findings.extend(run.workloads.iter().filter_map(long_tail));
    // Behind whom was waited has been said.
    let said = |text: &&String| {
        run.workloads.iter().all(|workload| words::contended(workload).as_ref() != Some(*text))
    };
    findings.extend(run.explanations.iter().filter(said).map(|text| Finding {
        title: "Worth knowing".into(),
        text: text.clone(),
        see: "#phases",
        mark: "note",
    }));
    findings
}

/// A percentile this many times the median is worth a word, whatever the budget says.
const LONG_TAIL: f64 = 10.0;

/// Slow requests that are slow for another reason than the usual ones.
fn long_tail(workload: &WorkloadResult) -> Option<Finding> {
    let times = workload.time_at.as_ref()?;
    let median = times.get("p50")?.latency_us;
    let (words, time) = [("twenty", "p95"), ("a hundred", "p99")]
        .into_iter()
        .filter_map(|(words, name)| Some((words, times.get(name)?)))
        .find(|(_, time)| time.latency_us >= LONG_TAIL * median)?;
    let (phase, spent) = time.guilty()?;
    Some(Finding {
        title: format!(
            "{}: one request in {words} takes {} or more, {:.0} times the median",
            place(workload),
            words::duration(time.latency_us),
            time.latency_us / median
        ),
        text: format!("{} of it: {}.", words::duration(spent), phase.words()),
        see: match phase {
            Phase::RtnlWait => "#holders",
            Phase::OnCpu => "#kernel",
            _ => "#slowest",
        },
        mark: "note",
    })
}

fn share(workload: &WorkloadResult) -> f64 {
    workload.rtnl_waits.as_ref().map_or(0.0, |waits| waits.percent_of_requests)
}

fn culprit(workload: &WorkloadResult) -> Option<Finding> {
    let waits = workload.rtnl_waits.as_ref()?;
    let first = waits.holders.first()?;
    let title = if first.own {
        format!("{}: its own requests stood in each other's way", place(workload))
    } else {
        format!("{} (pid {}) held RTNL while {} waited", first.comm, first.pid, place(workload))
    };
    let mut text = words::waiting(waits, words::Senders::Ourselves)?;
    text.push('.');
    Some(Finding { title, text: capitalised(&text), see: "#holders", mark: "culprit" })
}

fn of(judged: &Judgement, run: &RunResult, mark: &'static str) -> Finding {
    let value =
        judged.value.map_or_else(|| "not measured".to_owned(), |value| with_unit(&judged.metric, value));
    let title = format!("{} in {}: {value}", judged.metric, terminal::place(judged));
    let mut text = format!("Must be {} {}.", judged.comparison, with_unit(&judged.metric, judged.limit));
    if let Some(reason) = &judged.reason {
        text.push(' ');
        text.push_str(&capitalised(reason));
        text.push('.');
    }
    Finding { title, text, see: see(judged, run), mark }
}

/// Where the guilty phase is looked into.
fn see(judged: &Judgement, run: &RunResult) -> &'static str {
    let workload = run.workloads.iter().find(|workload| place(workload) == judged.workload);
    let percentile = judged.metric.strip_prefix("latency_").and_then(|name| name.strip_suffix("_us"));
    let time = workload.and_then(|workload| workload.time_at.as_ref()?.get(percentile?));
    match time.and_then(TimeAt::guilty).map(|(phase, _)| phase) {
        Some(Phase::RtnlWait) => "#holders",
        Some(Phase::OnCpu) => "#kernel",
        _ => "#phases",
    }
}

/// A metric's value with the unit in which its name ends.
pub(super) fn with_unit(metric: &str, value: f64) -> String {
    if metric.ends_with("_us") {
        words::duration(value)
    } else if metric.ends_with("_bytes") {
        format!("{:.1} MB", value / 1e6)
    } else if metric.contains("_percent") {
        format!("{value:.1} %")
    } else if metric.ends_with("_ops_per_s") {
        format!("{value:.0}/s")
    } else {
        format!("{value}")
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::model::{RtnlHolder, RtnlWaits, fixtures};

    fn contended(percent: f64) -> RunResult {
        let mut run = fixtures::run();
        let workload = &mut run.workloads[0];
        let holder = |comm: &str, pid, wait_us| RtnlHolder {
            comm: comm.into(),
            pid,
            own: false,
            doing: None,
            waits: 7,
            wait_us,
            percent_of_waiting: wait_us / 1_000.0,
        };
        workload.rtnl_waits = Some(RtnlWaits {
            wait_us: 100_000.0,
            percent_of_requests: percent,
            foreign_percent_of_requests: percent,
            holders: vec![holder("tc", 4242, 83_000.0), holder("ip", 77, 17_000.0)],
            further_holders: 0,
            further_wait_us: 0.0,
            unknown_wait_us: 0.0,
        });
        workload.time_at = Some(BTreeMap::from([(
            "p95".to_owned(),
            TimeAt {
                latency_us: 14_200.0,
                requests: 9,
                operation: "class-create".into(),
                phases_us: BTreeMap::from([(Phase::RtnlWait, 11_900.0), (Phase::OnCpu, 2_300.0)]),
                unattributed_us: 0.0,
            },
        )]));
        run.budget = vec![Judgement {
            limit: 10_000.0,
            reason: Some("p95 class-create 14.2 ms: 11.9 ms RTNL wait".into()),
            ..fixtures::judgement("latency_p95_us", "htb-class (closed)", Some(14_200.0), State::Critical)
        }];
        run
    }

    #[test]
    fn who_stood_in_the_way_comes_first() {
        let found = findings(&contended(84.0));
        assert_eq!(found[0].title, "tc (pid 4242) held RTNL while htb-class (closed) waited");
        assert!(
            found[0].text.contains("83 % of it behind `tc` (pid 4242), 17 % behind `ip` (pid 77)"),
            "{found:?}"
        );
        assert_eq!((found[1].mark, found[1].see), ("fail", "#holders"));
        assert!(found[1].title.ends_with("latency_p95_us in htb-class (closed): 14.2 ms"), "{found:?}");
        assert!(found[1].text.starts_with("Must be < 10.0 ms. P95 class-create"), "{found:?}");
        let mut run = contended(84.0);
        run.explanations = vec![words::contended(&run.workloads[0]).unwrap(), "Something else.".into()];
        let notes: Vec<_> = findings(&run).into_iter().filter(|finding| finding.mark == "note").collect();
        assert_eq!(
            notes.iter().map(|note| note.text.as_str()).collect::<Vec<_>>(),
            ["Something else."],
            "once"
        );
    }

    #[test]
    fn a_long_tail_is_told_with_its_phase() {
        let mut run = contended(0.0);
        let mut times = run.workloads[0].time_at.take().unwrap();
        times.insert("p50".into(), TimeAt { latency_us: 71.0, ..times["p95"].clone() });
        run.workloads[0].time_at = Some(times);
        let found = findings(&run);
        assert_eq!(
            found[1].title,
            "htb-class (closed): one request in twenty takes 14.2 ms or more, 200 times the median"
        );
        assert_eq!((found[1].text.as_str(), found[1].see), ("11.9 ms of it: RTNL wait.", "#holders"));
    }

    #[test]
    fn who_was_hardly_waited_for_is_no_culprit() {
        assert_eq!(findings(&contended(0.4))[0].mark, "fail");
        assert_eq!(findings(&fixtures::run()), Vec::new());
    }
}
