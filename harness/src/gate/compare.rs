//! A fresh run against a saved one. Pure.
//!
//! One run a side: how much runs differ by themselves is not known, only how much their seconds do. So a change counts when it is beyond
//! its threshold and the seconds of both runs are told apart by the rank-sum test (errors: by their counts); resources, of which a run has one
//! figure, are never told apart. Regressions that are smaller than the machine's own moods need more runs.

use std::fmt::Write as _;

use super::change::{SIGNIFICANT, Thresholds, decline, growth, judge};
use super::model::Check;
use super::seconds::{Seconds, quantiles};
use crate::budget::LATE_US;
use crate::fingerprint::Fingerprint;
use crate::report::model::{RunResult, WorkloadResult};
use crate::report::sheet::{Verdict, number};
use crate::stats::{rank_sum, rates};

/// A run with its seconds.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The run.
    pub run: &'a RunResult,
    /// Its latencies second by second; empty where they could not be read.
    pub seconds: &'a Seconds,
}

/// What differs between two runs that must be the same for them to be compared, or keeps them from it otherwise.
pub fn differences(before: &RunResult, after: &RunResult) -> Vec<String> {
    let mut found = Fingerprint::of(before).differences(&Fingerprint::of(after));
    let incomplete = [("the baseline", before), ("the fresh run", after)];
    found.extend(
        incomplete
            .iter()
            .filter_map(|(which, run)| Some(format!("{which} is not whole: {}", run.incomplete()?))),
    );
    found
}

/// Compares. Where the environments differ there is one check, which says so, and no verdict.
pub fn compare(before: Side<'_>, after: Side<'_>) -> Vec<Check> {
    let differences = differences(before.run, after.run);
    if !differences.is_empty() {
        let detail = format!("not compared, for they differ: {}", differences.join("; "));
        return vec![Check::new("baseline", "environment", Verdict::Inconclusive, detail)];
    }
    let pairs = before.run.workloads.iter().zip(&after.run.workloads).filter(|(_, new)| new.is_judged());
    pairs.flat_map(|(old, new)| workload(old, new, before.seconds, after.seconds)).collect()
}

fn workload(old: &WorkloadResult, new: &WorkloadResult, before: &Seconds, after: &Seconds) -> Vec<Check> {
    let (group, tag) = (new.title(), new.tag());
    let mut checks = Vec::new();
    let late = Late::of(old, new);
    let latencies = old.latency_all_us.as_ref().zip(new.latency_all_us.as_ref());
    for (name, quantile, pick) in [
        ("latency p50, against baseline", 0.50, (|p| p.p50) as fn(&crate::report::model::Percentiles) -> f64),
        ("latency p95, against baseline", 0.95, |p| p.p95),
        ("latency p99, against baseline", 0.99, |p| p.p99),
    ] {
        let seconds = |of: &Seconds| quantiles(of.get(&tag).map_or(&[], Vec::as_slice), quantile);
        let told = rank_sum::lies_above(&seconds(before), &seconds(after));
        let values = latencies.map(|(old, new)| (pick(old), pick(new)));
        checks.push(late.doubt(check(&group, name, "µs", values, growth, Thresholds::RESPONSE_TIME, told)));
    }
    // An open loop's throughput is what was offered.
    if new.rate.is_none() {
        let seconds = |of: &WorkloadResult| of.timeline_ops.iter().map(|ops| *ops as f64).collect::<Vec<_>>();
        // Fewer are worse: the old ones are to lie above.
        let told = rank_sum::lies_above(&seconds(new), &seconds(old));
        let values = old.throughput_ops_per_s.mean.zip(new.throughput_ops_per_s.mean);
        let name = "throughput, against baseline";
        let check = check(&group, name, "ops/s", values, decline, Thresholds::THROUGHPUT, told);
        checks.push(late.doubt(check));
    }
    let errors = |of: &WorkloadResult| of.errors.iter().map(|error| error.count).sum::<u64>();
    let share =
        |of: &WorkloadResult| (of.operations > 0).then(|| errors(of) as f64 / of.operations as f64 * 100.0);
    let told = rates::more_often([errors(old), errors(new)], [old.operations, new.operations]);
    let values = share(old).zip(share(new));
    // From no error at all any is infinitely more; whether it is an accident is for the counts to say.
    let grown = |before, after| growth(before, after).or((before == 0.0).then_some(f64::INFINITY));
    let name = "error rate, against baseline";
    checks.push(check(&group, name, "%", values, grown, Thresholds::ERROR_RATE, told));
    let resources = |pick: fn(&WorkloadResult) -> Option<f64>| pick(old).zip(pick(new));
    let memory = resources(|of| of.resources.peak_rss_bytes.map(|bytes| bytes as f64 / 1e6));
    let name = "peak memory, against baseline";
    checks.push(check(&group, name, "MB", memory, growth, Thresholds::RESOURCES, None));
    // A closed loop takes what it gets.
    if new.rate.is_some() {
        let cpu = resources(|of| of.resources.cpu_percent_of_one_core);
        let name = "CPU, against baseline";
        checks.push(check(&group, name, "% of a core", cpu, growth, Thresholds::RESOURCES, None));
    }
    checks
}

/// Where the harness itself was late in one of the runs, or nobody knows: its timings are the harness's, too.
struct Late(Option<String>);

impl Late {
    fn of(old: &WorkloadResult, new: &WorkloadResult) -> Self {
        let why = |workload: &WorkloadResult| match workload.schedule_lag_us {
            Some(lag) if lag.p99 > LATE_US => Some(format!(
                "the harness itself began {:.1} ms late (p99) in one of the runs",
                lag.p99 / 1e3
            )),
            None if workload.keeps_time() => {
                Some("how late the harness itself began was not measured in both runs".to_owned())
            }
            _ => None,
        };
        Self(why(old).or_else(|| why(new)))
    }

    fn doubt(&self, mut check: Check) -> Check {
        if let Some(why) = &self.0 {
            check.verdict = Verdict::Inconclusive;
            let _ = write!(check.detail, "; {why}");
        }
        check
    }
}

fn check(
    group: &str,
    name: &str,
    unit: &str,
    values: Option<(f64, f64)>,
    worse: impl Fn(f64, f64) -> Option<f64>,
    thresholds: Thresholds,
    told: Option<f64>,
) -> Check {
    let Some((old, new)) = values else {
        return Check::new(group, name, Verdict::Inconclusive, "not measured in both runs");
    };
    let Some(worse_by) = worse(old, new) else {
        let detail = format!("{} {unit} and {} {unit} cannot be compared", number(old), number(new));
        return Check::new(group, name, Verdict::Inconclusive, detail);
    };
    let verdict = judge(worse_by, thresholds, told.map(|p| p <= SIGNIFICANT));
    let mut detail = format!("{} → {} {unit}", number(old), number(new));
    if worse_by.is_finite() {
        let direction = if worse_by > 0.0 { "worse" } else { "better" };
        let _ = write!(detail, ", {:.1} % {direction}", worse_by.abs() * 100.0);
    }
    match (verdict, told) {
        (Verdict::Pass, _) => {}
        (Verdict::Inconclusive, None) => detail += "; one run a side cannot tell that from chance",
        (Verdict::Inconclusive, Some(p)) => {
            let _ = write!(detail, "; its seconds are not told apart from those before (p = {p:.2})");
        }
        (_, Some(p)) => _ = write!(detail, "; no accident (p = {p:.4})"),
        (_, None) => {}
    }
    let mut check = Check::new(group, name, verdict, detail);
    check.worse_by = Some(worse_by).filter(|worse_by| worse_by.is_finite());
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{nanoseconds, record};
    use crate::report::model::{ErrorCount, fixtures};

    /// Runs whose every second has this latency, microseconds, give or take a little.
    fn seconds(latencies: &[u64]) -> Seconds {
        let histograms = latencies.iter().map(|micros| {
            let mut histogram = nanoseconds();
            record(&mut histogram, micros * 1_000);
            histogram
        });
        Seconds::from([("htb-class-closed".to_owned(), histograms.collect())])
    }

    fn run(throughput: f64, latency: f64) -> RunResult {
        let mut run = fixtures::run();
        let workload = &mut run.workloads[0];
        workload.throughput_ops_per_s.mean = Some(throughput);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a test's figures")]
        let each = throughput as u64;
        workload.timeline_ops = (0..6).map(|second| each + second).collect();
        workload.latency_all_us = Some(fixtures::percentiles(latency, 20_000));
        run
    }

    fn verdicts(before: (&RunResult, &[u64]), after: (&RunResult, &[u64])) -> Vec<(String, Verdict)> {
        let (old, new) = (seconds(before.1), seconds(after.1));
        compare(Side { run: before.0, seconds: &old }, Side { run: after.0, seconds: &new })
            .into_iter()
            .map(|check| (check.name, check.verdict))
            .filter(|(_, verdict)| *verdict != Verdict::Pass)
            .collect()
    }

    const FAST: [u64; 6] = [100, 101, 102, 103, 104, 105];
    const SLOW: [u64; 6] = [130, 131, 132, 133, 134, 135];

    #[test]
    fn the_same_passes() {
        let run = run(8_000.0, 100.0);
        assert!(verdicts((&run, &FAST), (&run, &FAST)).is_empty());
    }

    #[test]
    fn what_is_slower_beyond_doubt_is_critical() {
        let (fast, slow) = (run(8_000.0, 100.0), run(6_000.0, 130.0));
        let found = verdicts((&fast, &FAST), (&slow, &SLOW));
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found.iter().all(|(_, verdict)| *verdict == Verdict::Critical), "{found:?}");
        assert!(verdicts((&slow, &SLOW), (&fast, &FAST)).is_empty(), "faster is no regression");
    }

    #[test]
    fn what_is_slower_by_chance_or_in_two_seconds_is_inconclusive() {
        let (fast, slow) = (run(8_000.0, 100.0), run(8_000.0, 130.0));
        for (before, after) in
            [(&[100, 140, 101, 139][..], &[141, 100, 138, 102][..]), (&FAST[..2], &SLOW[..2]), (&[], &[])]
        {
            let found = verdicts((&fast, before), (&slow, after));
            assert_eq!(found.len(), 3, "{found:?}");
            assert!(found.iter().all(|(_, verdict)| *verdict == Verdict::Inconclusive), "{found:?}");
        }
    }

    #[test]
    fn errors_count() {
        let before = run(8_000.0, 100.0);
        let failed = |count| {
            let mut after = before.clone();
            after.workloads[0].errors =
                vec![ErrorCount { errno: Some(17), text: "File exists".into(), count }];
            let found = verdicts((&before, &FAST), (&after, &FAST));
            assert_eq!((found.len(), &*found[0].0), (1, "error rate, against baseline"));
            found[0].1
        };
        assert_eq!((failed(1), failed(50)), (Verdict::Inconclusive, Verdict::Critical));
    }

    #[test]
    fn what_was_not_measured_or_measured_once_does_not_pass() {
        let (before, mut after) = (run(8_000.0, 100.0), run(8_000.0, 100.0));
        after.workloads[0].resources.peak_rss_bytes = Some(40_000_000);
        let memory = [("peak memory, against baseline".to_owned(), Verdict::Inconclusive)];
        assert_eq!(verdicts((&before, &FAST), (&after, &FAST)), memory);
        after.workloads[0].resources.peak_rss_bytes = None;
        assert_eq!(verdicts((&before, &FAST), (&after, &FAST)), memory);
    }

    #[test]
    fn where_the_harness_was_late_no_timing_is_compared() {
        let (before, mut after) = (run(8_000.0, 100.0), run(8_000.0, 100.0));
        after.workloads[0].schedule_lag_us = Some(fixtures::percentiles(LATE_US + 1.0, 20_000));
        let found = verdicts((&before, &FAST), (&after, &FAST));
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found.iter().all(|(_, verdict)| *verdict == Verdict::Inconclusive), "{found:?}");
    }

    type Change = fn(&mut RunResult);

    #[test]
    fn other_environments_are_not_compared() {
        let before = run(8_000.0, 100.0);
        let changes: [(&str, Change); 8] = [
            ("kernel", |run| run.environment.kernel = "6.1.0".into()),
            ("cores", |run| run.environment.cores = 4),
            ("probes", |run| run.environment.probes.kind = "off".into()),
            ("stacks", |run| run.settings.stacks = true),
            ("workers of htb-class (closed): 8 and 9", |run| run.workloads[0].workers = 9),
            ("rate of htb-class (closed): none and 50", |run| run.workloads[0].rate = Some(50.0)),
            ("workloads", |run| run.workloads.clear()),
            ("interrupted", |run| run.interrupted = true),
        ];
        for (word, change) in changes {
            let mut after = before.clone();
            change(&mut after);
            let seconds = Seconds::new();
            let checks =
                compare(Side { run: &before, seconds: &seconds }, Side { run: &after, seconds: &seconds });
            assert_eq!((checks.len(), checks[0].verdict), (1, Verdict::Inconclusive));
            assert!(checks[0].detail.contains(word), "{word}: {}", checks[0].detail);
        }
        let mut after = before.clone();
        after.settings.budget = "strict.toml".into();
        after.qdiscope_version = "9".into();
        assert!(differences(&before, &after).is_empty());
    }
}
