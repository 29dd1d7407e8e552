//! One row: what the statistics say of a metric, and whether it matters. Pure.

use super::model::{Better, Middle, Row, Severity, Verdict};
use super::series::Series;
use crate::gate::change::{Thresholds, judge};
use crate::report::sheet;
use crate::stats::order::{ascending, median, median_interval};
use crate::stats::two_samples::{self, Certainty, Doubt, FEWEST, Order, least_p};

/// That of the medians, as the field has it, whatever the certainty of the test.
const MIDDLE_CONFIDENCE: f64 = 0.95;

/// How rows are judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) certainty: Certainty,
    pub(super) order: Order,
    /// From how much worse on is a warning, for all metrics; a share.
    pub(super) threshold: Option<f64>,
    /// Both sides are the same runs.
    pub(super) same: bool,
    /// How many rows are asked together.
    pub(super) rows: usize,
}

/// Compares a series. What the other rows make of it is settled later.
pub(super) fn row(series: &Series, setting: &Setting) -> Row {
    let Series { place, measure, baseline, candidate, .. } = series;
    let number = |values: &[Option<f64>]| -> Vec<f64> {
        values.iter().map(|value| value.unwrap_or(f64::NAN)).collect()
    };
    let (before, after) = (number(baseline), number(candidate));
    // It does not matter here which way is worse: the test has two sides, and of what is better when it is higher the verdict is turned.
    let found = two_samples::compare(&before, &after, setting.certainty, setting.order);
    let (verdict, reason) = judged(series, &found, setting);
    let middles = [&before, &after].map(|values| middle(values));
    let thresholds = thresholds(measure.thresholds, setting.threshold);
    let severity = match verdict {
        Verdict::Regression => {
            let share = share(&found, middles[0].map_or(f64::NAN, |middle| middle.median));
            severity(if measure.better == Better::Lower { share } else { -share }, thresholds)
        }
        _ => Severity::None,
    };
    let finite = |value: f64| value.is_finite().then_some(value);
    let both = |[least, most]: [f64; 2]| Some([finite(least)?, finite(most)?]);
    let (change, interval) = (finite(found.change), found.interval.and_then(both));
    let percent = |share: f64| share * 100.0;
    Row {
        workload: place.clone(),
        metric: measure.name.clone(),
        unit: measure.unit.to_owned(),
        better: measure.better,
        baseline: middles[0],
        candidate: middles[1],
        change_percent: change.filter(|_| found.relative).map(percent),
        interval_percent: interval.filter(|_| found.relative).map(|interval| interval.map(percent)),
        change: change.filter(|_| !found.relative),
        interval: interval.filter(|_| !found.relative),
        p: finite(found.p),
        p_adjusted: None,
        effect: finite(found.effect),
        verdict,
        holds_among_all: false,
        severity,
        warning_percent: percent(thresholds.warning),
        critical_percent: percent(thresholds.critical),
        reason,
        baseline_values: baseline.iter().map(|value| value.and_then(finite)).collect(),
        candidate_values: candidate.iter().map(|value| value.and_then(finite)).collect(),
    }
}

fn judged(series: &Series, found: &two_samples::Comparison, setting: &Setting) -> (Verdict, Option<String>) {
    let open = |reason: String| (Verdict::Inconclusive, Some(reason));
    if let Some(reason) = not_measured(series) {
        return open(reason);
    }
    let worse = if series.measure.better == Better::Lower {
        two_samples::Verdict::Regression
    } else {
        two_samples::Verdict::Improvement
    };
    let verdict = match found.verdict {
        two_samples::Verdict::Inconclusive(Doubt::TooFew) if setting.same => Verdict::NoChange,
        two_samples::Verdict::Inconclusive(doubt) => return open(told(doubt, series, setting)),
        two_samples::Verdict::NoChange => Verdict::NoChange,
        verdict if verdict == worse => Verdict::Regression,
        _ => Verdict::Improvement,
    };
    if let Some(doubt) = &series.doubts.always {
        return open(doubt.clone());
    }
    let differs = verdict != Verdict::NoChange && setting.order == Order::Unknown;
    match series.doubts.of_difference.as_ref().filter(|_| differs) {
        Some(doubt) => open(format!("{doubt}: measure both sides in turns")),
        None => (verdict, None),
    }
}

/// In which runs a value is missing.
fn not_measured(series: &Series) -> Option<String> {
    let missing = |side: &str, values: &[Option<f64>]| {
        let count = values.iter().filter(|value| value.is_none()).count();
        (count > 0).then(|| format!("{count} of {side}'s {}", runs(values.len())))
    };
    let sides = [missing("A", &series.baseline), missing("B", &series.candidate)];
    let told: Vec<String> = sides.into_iter().flatten().collect();
    (!told.is_empty()).then(|| format!("not measured in {}", told.join(" and ")))
}

fn runs(count: usize) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}

fn told(doubt: Doubt, series: &Series, setting: &Setting) -> String {
    match doubt {
        Doubt::NotFinite => "a value is no number, or too great".to_owned(),
        Doubt::Drift => "values drift on both sides: measure them in turns".to_owned(),
        Doubt::TooFew => {
            let counts = [series.baseline.len(), series.candidate.len()];
            let level = setting.certainty.level();
            let enough = [setting.rows, 1].into_iter().find_map(|rows| runs_needed(rows, level));
            let enough = enough.unwrap_or(FEWEST);
            if counts == [1, 1] {
                format!(
                    "one run a side says nothing of how much runs differ by themselves: measure {enough} a side or more"
                )
            } else {
                format!(
                    "{} and {} are too few: measure {enough} a side or more",
                    runs(counts[0]),
                    runs(counts[1])
                )
            }
        }
    }
}

/// How many runs a side it takes for any of so many rows to be sure at a level. `None`: no number of runs is enough for so many rows.
pub(super) fn runs_needed(rows: usize, level: f64) -> Option<usize> {
    /// From here on deals are drawn and not counted, so that no p is smaller.
    const MOST: usize = 16;
    (FEWEST..=MOST).find(|&count| least_p(count, count) * (rows as f64) < level)
}

/// The median of values that were all measured.
fn middle(values: &[f64]) -> Option<Middle> {
    let all = values.iter().all(|value| value.is_finite());
    let median = median(values).filter(|_| all)?;
    Some(Middle { median, interval: median_interval(&ascending(values), MIDDLE_CONFIDENCE) })
}

/// By what share of the baseline values are greater. From nothing anything is infinitely more, as in [`crate::gate::compare`].
fn share(found: &two_samples::Comparison, baseline: f64) -> f64 {
    match baseline.abs() {
        _ if found.relative => found.change,
        size if size > 0.0 => found.change / size,
        _ => found.change * f64::INFINITY,
    }
}

/// A threshold for all metrics raises the critical one where that would be below it.
fn thresholds(usual: Thresholds, warning: Option<f64>) -> Thresholds {
    warning.map_or(usual, |warning| Thresholds { warning, critical: usual.critical.max(warning) })
}

/// How much a regression matters that is one.
fn severity(worse_by: f64, thresholds: Thresholds) -> Severity {
    match judge(worse_by, thresholds, Some(true)) {
        sheet::Verdict::Critical => Severity::Critical,
        sheet::Verdict::Warning => Severity::Warning,
        // What is no number is no regression.
        sheet::Verdict::Pass | sheet::Verdict::Inconclusive => Severity::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Quantity;
    use crate::compare::doubt::Doubts;

    const LEVEL: [f64; 10] = [100.0, 103.0, 98.0, 101.0, 99.0, 104.0, 97.0, 102.0, 100.5, 101.5];

    fn times(factor: f64) -> Vec<f64> {
        LEVEL.iter().map(|value| value * factor).collect()
    }

    fn series(name: &str, baseline: &[f64], candidate: &[f64]) -> Series {
        Series {
            place: "lifecycle (closed)".into(),
            measure: Quantity::try_from(name.to_owned()).unwrap().into(),
            baseline: baseline.iter().copied().map(Some).collect(),
            candidate: candidate.iter().copied().map(Some).collect(),
            doubts: Doubts::default(),
        }
    }

    const SETTING: Setting =
        Setting { certainty: Certainty::Usual, order: Order::Unknown, threshold: None, same: false, rows: 1 };

    fn compared(name: &str, baseline: &[f64], candidate: &[f64]) -> Row {
        row(&series(name, baseline, candidate), &SETTING)
    }

    #[test]
    fn worse_has_the_metrics_direction_and_a_change_its_natural_sign() {
        for (name, factor, verdict, severity) in [
            ("latency_p95_us", 1.3, Verdict::Regression, Severity::Critical),
            ("latency_p95_us", 1.2, Verdict::Regression, Severity::Warning),
            ("latency_p95_us", 1.1, Verdict::Regression, Severity::None),
            ("latency_p95_us", 0.8, Verdict::Improvement, Severity::None),
            ("latency_p95_us", 1.0, Verdict::NoChange, Severity::None),
            ("throughput_mean_ops_per_s", 1.3, Verdict::Improvement, Severity::None),
            ("throughput_mean_ops_per_s", 0.85, Verdict::Regression, Severity::Warning),
            ("throughput_mean_ops_per_s", 0.75, Verdict::Regression, Severity::Critical),
            ("peak_rss_bytes", 1.15, Verdict::Regression, Severity::Warning),
        ] {
            let row = compared(name, &LEVEL, &times(factor));
            assert_eq!((row.verdict, row.severity), (verdict, severity), "{name} × {factor}: {row:?}");
            let (change, [least, most]) = (row.change_percent.unwrap(), row.interval_percent.unwrap());
            assert!((change - (factor - 1.0) * 100.0).abs() < 1.0 && least <= change && change <= most);
            assert!(row.effect.unwrap() * (factor - 1.0) >= 0.0, "{row:?}");
        }
    }

    #[test]
    fn severity_begins_at_the_threshold() {
        let of = |worse_by| severity(worse_by, Thresholds::RESPONSE_TIME);
        assert_eq!(
            [0.149, 0.15, 0.249, 0.25, f64::INFINITY, f64::NAN, -0.5].map(of),
            [
                Severity::None,
                Severity::Warning,
                Severity::Warning,
                Severity::Critical,
                Severity::Critical,
                Severity::None,
                Severity::None
            ]
        );
    }

    #[test]
    fn one_threshold_for_all_metrics() {
        let with = |threshold| {
            let setting = Setting { threshold: Some(threshold), ..SETTING };
            row(&series("latency_p95_us", &LEVEL, &times(1.05)), &setting)
        };
        assert_eq!((with(0.03).severity, with(0.03).critical_percent), (Severity::Warning, 25.0));
        assert_eq!(with(0.08).severity, Severity::None);
        assert_eq!((with(0.4).warning_percent, with(0.4).critical_percent), (40.0, 40.0));
    }

    #[test]
    fn what_was_not_measured_is_named() {
        let mut gap = series("latency_p95_us", &LEVEL, &times(1.5));
        gap.candidate[3] = None;
        let row = row(&gap, &SETTING);
        assert_eq!(row.verdict, Verdict::Inconclusive);
        assert_eq!(row.reason.as_deref(), Some("not measured in 1 of B's 10 runs"));
        assert!(row.candidate.is_none() && row.baseline.is_some() && row.p.is_none(), "{row:?}");
        assert!(row.candidate_values[3].is_none() && row.change_percent.is_none());
    }

    #[test]
    fn few_values_and_no_numbers_are_inconclusive_and_the_change_is_shown() {
        let one = compared("latency_p95_us", &[100.0], &[120.0]);
        assert_eq!(one.verdict, Verdict::Inconclusive);
        assert!(one.reason.unwrap().starts_with("one run a side"));
        assert!((one.change_percent.unwrap() - 20.0).abs() < 1e-9 && one.p.is_none());
        let three = compared("latency_p95_us", &LEVEL[..3], &times(2.0)[..3]);
        assert_eq!(three.reason.as_deref(), Some("3 runs and 3 runs are too few: measure 4 a side or more"));
        let among = Setting { rows: 6, ..SETTING };
        let three = row(&series("latency_p95_us", &LEVEL[..3], &LEVEL[..3]), &among);
        assert!(three.reason.unwrap().ends_with("measure 5 a side or more"));
        let nan = compared("latency_p95_us", &LEVEL, &[f64::NAN; 10]);
        assert_eq!(nan.reason.as_deref(), Some("a value is no number, or too great"));
        assert_eq!(nan.candidate_values, [None; 10]);
    }

    #[test]
    fn the_same_runs_are_no_change_however_few() {
        let setting = Setting { same: true, ..SETTING };
        let row = row(&series("latency_p95_us", &[100.0], &[100.0]), &setting);
        assert_eq!((row.verdict, row.reason, row.change_percent), (Verdict::NoChange, None, Some(0.0)));
    }

    #[test]
    fn constant_series_and_zeros_are_compared() {
        let alike = compared("latency_p95_us", &[5.0; 8], &[5.0; 8]);
        assert_eq!((alike.verdict, alike.p, alike.change_percent), (Verdict::NoChange, Some(1.0), Some(0.0)));
        let apart = compared("latency_p95_us", &[5.0; 8], &[7.0; 8]);
        assert_eq!((apart.verdict, apart.severity), (Verdict::Regression, Severity::Critical));
        // No errors on either side; some on one; more than some.
        let none = compared("error_rate_percent", &[0.0; 8], &[0.0; 8]);
        assert_eq!((none.verdict, none.change, none.change_percent), (Verdict::NoChange, Some(0.0), None));
        let failing = compared("error_rate_percent", &[0.0; 8], &[0.5; 8]);
        assert_eq!((failing.verdict, failing.severity), (Verdict::Regression, Severity::Critical));
        assert_eq!((failing.change, failing.change_percent), (Some(0.5), None));
        let mut before = [1.0; 8];
        before[0] = 0.0;
        let more = compared("error_rate_percent", &before, &[1.07; 8]);
        assert_eq!((more.verdict, more.severity), (Verdict::Regression, Severity::Warning), "{more:?}");
    }

    #[test]
    fn a_drift_is_inconclusive_in_both_directions() {
        let rising: Vec<f64> =
            LEVEL.iter().zip(0..).map(|(value, at)| value / 10.0 + f64::from(at)).collect();
        let later: Vec<f64> = rising.iter().map(|value| value + 10.0).collect();
        for name in ["latency_p95_us", "throughput_mean_ops_per_s"] {
            let row = compared(name, &rising, &later);
            assert!(row.reason.is_some_and(|reason| reason.contains("drift")), "{name}");
            let setting = Setting { order: Order::Interleaved, ..SETTING };
            let in_turns = super::row(&series(name, &rising, &later), &setting);
            assert_ne!(in_turns.verdict, Verdict::Inconclusive, "{name}");
        }
    }

    #[test]
    fn doubts_make_a_row_inconclusive() {
        let doubted = |always: Option<&str>, of_difference: Option<&str>, factor, order| {
            let doubts =
                Doubts { always: always.map(str::to_owned), of_difference: of_difference.map(str::to_owned) };
            let series = Series { doubts, ..series("latency_p95_us", &LEVEL, &times(factor)) };
            row(&series, &Setting { order, ..SETTING }).verdict
        };
        assert_eq!(doubted(Some("late"), None, 1.0, Order::Interleaved), Verdict::Inconclusive);
        assert_eq!(doubted(None, Some("steal"), 1.3, Order::Unknown), Verdict::Inconclusive);
        assert_eq!(doubted(None, Some("steal"), 1.3, Order::Interleaved), Verdict::Regression);
        assert_eq!(doubted(None, Some("steal"), 1.0, Order::Unknown), Verdict::NoChange);
    }

    #[test]
    fn a_middle_has_an_interval_from_six_values_on() {
        assert_eq!(middle(&LEVEL[..5]).unwrap().interval, None);
        assert_eq!(middle(&LEVEL[..6]).unwrap(), Middle { median: 100.5, interval: Some([98.0, 104.0]) });
        assert_eq!(middle(&[]), None);
    }

    /// Of 5 and 5 values there are 252 deals, of 4 and 4 there are 70.
    #[test]
    fn many_rows_need_more_runs() {
        assert_eq!([1, 2, 6, 7, 20].map(|rows| runs_needed(rows, 0.05)), [4, 5, 5, 6, 6].map(Some));
        assert_eq!((runs_needed(99, 0.05), runs_needed(101, 0.05)), (Some(8), None));
        assert_eq!(runs_needed(1, 0.01), Some(5));
    }
}
