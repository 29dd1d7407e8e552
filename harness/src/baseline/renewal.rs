//! Whether a baseline renews itself. Pure.

use std::ops::RangeInclusive;

use jiff::{SignedDuration, Timestamp};

use super::Baseline;
use super::samples::{FEWEST, counts};
use crate::history::{Point, Series};
use crate::stats::order::median;
use crate::stats::robust_deviation;
use crate::trend::{is_steady, trend};

/// Runs of a renewed baseline, at most: the newest.
pub const MOST: usize = 30;
/// What is stable varies by less than this share, as a standard deviation (by the median absolute deviation) of its median.
pub const STEADINESS: f64 = 0.05;
/// By so much a figure may have become worse since a person named the baseline's runs, in all renewals together.
pub const CREEP: f64 = 0.05;

/// What becomes of a baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// It is pinned.
    Pinned,
    /// It is not to renew itself.
    Never,
    /// Not before then.
    NotBefore(Timestamp),
    /// It is time, but it stays: why.
    Held(Vec<String>),
    /// It consists of these runs from now on, the oldest first.
    Due(Vec<String>),
}

/// Decides. `histories` are the figures that are followed, each with its runs in the baseline's place since the first of the runs that a person
/// named, the oldest first; runs that do not count are passed over.
pub fn renewal(baseline: &Baseline, now: Timestamp, histories: &[(Series, Vec<Point>)]) -> Renewal {
    if baseline.pinned {
        return Renewal::Pinned;
    }
    let Some(period) = baseline.renew_after() else { return Renewal::Never };
    // What cannot be counted from then on is never due.
    let due = baseline.since.checked_add(period).unwrap_or(Timestamp::MAX);
    if now < due {
        return Renewal::NotBefore(due);
    }
    let began = now.checked_sub(period).unwrap_or(Timestamp::MIN);
    let recent = Recent::of(histories, began, now);
    let mut reasons = recent.reasons(period);
    if reasons.is_empty() {
        reasons.extend(
            histories.iter().flat_map(|(series, points)| held(baseline, series, points, began..=now)),
        );
    }
    if !reasons.is_empty() {
        return Renewal::Held(reasons);
    }
    let newest = recent.usable.len().saturating_sub(MOST);
    Renewal::Due(recent.usable.into_iter().skip(newest).map(|(_, run)| run).collect())
}

/// The runs of the period.
struct Recent {
    /// Those that count, the oldest first.
    usable: Vec<(Timestamp, String)>,
    /// Those that violated their budget.
    regressed: usize,
}

impl Recent {
    fn of(histories: &[(Series, Vec<Point>)], began: Timestamp, now: Timestamp) -> Self {
        let mut recent = Self { usable: Vec::new(), regressed: 0 };
        let mut seen = std::collections::BTreeSet::new();
        let points = histories.iter().flat_map(|(_, points)| points);
        for run in points.map(|point| &point.run).filter(|run| (began..=now).contains(&run.started_at)) {
            if !seen.insert(run.id.clone()) {
                continue;
            }
            match counts(run) {
                Ok(()) => recent.usable.push((run.started_at, run.id.clone())),
                Err(_) if run.verdict == Some(crate::report::model::State::Critical) => recent.regressed += 1,
                Err(_) => {}
            }
        }
        recent.usable.sort();
        recent
    }

    /// Why it cannot be said that what is measured was stable all that time.
    fn reasons(&self, period: SignedDuration) -> Vec<String> {
        if self.regressed > 0 {
            return vec![format!(
                "{} of the last {} violated the budget",
                runs(self.regressed),
                words(period)
            )];
        }
        if self.usable.len() < FEWEST {
            return vec![format!(
                "{} of the last {} count, and {FEWEST} are needed",
                runs(self.usable.len()),
                words(period)
            )];
        }
        let span =
            self.usable.first().zip(self.usable.last()).map(|(first, last)| last.0.duration_since(first.0));
        // Of runs of one night nobody knows whether a week was stable.
        match span {
            Some(span) if span.as_secs_f64() * 2.0 >= period.as_secs_f64() => Vec::new(),
            _ => vec![format!("all runs of the last {} lie within less than half of that", words(period))],
        }
    }
}

/// Why one figure forbids it.
fn held(
    baseline: &Baseline,
    series: &Series,
    points: &[Point],
    period: RangeInclusive<Timestamp>,
) -> Vec<String> {
    let usable: Vec<Point> = points.iter().filter(|point| counts(&point.run).is_ok()).cloned().collect();
    let name = format!("{} of {}", series.metric, series.place());
    let course = trend(series.clone(), &usable);
    let mut reasons = Vec::new();
    if let Some(step) = course.steps.iter().rev().find(|step| step.worse && !step.over) {
        reasons.push(format!("{name}: an open regression, with {}", step.first_after.name()));
    }
    if course.drift.is_some_and(|drift| drift.worse) {
        reasons.push(format!("{name}: it drifts to the worse"));
    }
    let of = |chosen: &dyn Fn(&Point) -> bool| -> Vec<f64> {
        usable.iter().filter(|point| chosen(point)).map(|point| point.value).collect()
    };
    let recent = of(&|point| period.contains(&point.run.started_at));
    if recent.len() < FEWEST {
        // What is no longer measured may have become anything.
        reasons.push(format!("{name}: {} have it lately, and {FEWEST} are needed", runs(recent.len())));
        return reasons;
    }
    if !is_steady(series) {
        return reasons;
    }
    let (Some(level), Some(deviation)) = (median(&recent), robust_deviation(&recent)) else { return reasons };
    let variation = deviation / level.abs();
    // Zeros that do not vary have no share.
    if deviation > 0.0 && variation >= STEADINESS {
        reasons.push(format!("{name}: it varies by {}", percent(variation)));
    }
    let Some(anchor) = median(&of(&|point| baseline.named_runs.contains(&point.run.id))) else {
        // Nothing to be held against: it may have become anything.
        reasons.push(format!("{name}: no run has it that a person named"));
        return reasons;
    };
    let change = level / anchor - 1.0;
    let worse = if series.better == "higher" { -change } else { change };
    // From zero to zero it is not a number, and not worse.
    if worse > CREEP {
        reasons.push(format!("{name}: {} worse than the runs that a person named", percent(worse)));
    }
    reasons
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn runs(count: usize) -> String {
    format!("{count} run{}", if count == 1 { "" } else { "s" })
}

/// `7 days`, `36 hours`, `90 seconds`
fn words(period: SignedDuration) -> String {
    let seconds = period.as_secs();
    let (count, unit) = match seconds {
        _ if seconds > 0 && seconds % 86_400 == 0 => (seconds / 86_400, "day"),
        _ if seconds > 0 && seconds % 3_600 == 0 => (seconds / 3_600, "hour"),
        _ => (seconds, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::super::change::fixtures::{baseline, change};
    use super::super::{Change, Kind};
    use super::*;
    use crate::report::model::State;
    use crate::trend::fixtures::{around, points, series};

    /// Four runs a day, from the second day of 1970 on.
    fn days(values: &[f64]) -> Vec<Point> {
        let mut points = points(values);
        for (nth, point) in points.iter_mut().enumerate() {
            point.run.started_at =
                Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 + 6 * i64::try_from(nth).unwrap());
        }
        points
    }

    /// Of the first eight runs.
    fn created() -> Vec<Change> {
        let runs: Vec<String> = (0..8).map(|nth| format!("run-{nth}")).collect();
        vec![Change { runs, ..change(1, Kind::Create, &[]) }]
    }

    fn decided(changes: Vec<Change>, values: &[f64]) -> Renewal {
        let points = days(values);
        let now = points.last().unwrap().run.started_at;
        renewal(&baseline(changes), now, &[(series("lower"), points)])
    }

    fn reasons(changes: Vec<Change>, values: &[f64]) -> String {
        match decided(changes, values) {
            Renewal::Held(reasons) => reasons.join("; "),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_has_been_stable_for_a_week_renews_it() {
        let Renewal::Due(runs) = decided(created(), &around(100.0, 40)) else { panic!("not due") };
        assert_eq!(
            (runs.len(), runs.first().unwrap().as_str(), runs.last().unwrap().as_str()),
            (29, "run-11", "run-39")
        );
        let Renewal::NotBefore(due) = decided(created(), &around(100.0, 20)) else { panic!("too early") };
        assert_eq!(due.to_string(), "1970-01-09T00:00:00Z");
        let pinned = [created(), vec![change(2, Kind::Pin, &[])]].concat();
        assert_eq!(decided(pinned, &around(100.0, 40)), Renewal::Pinned);
        let mut never = created();
        never[0].renew_after_s = None;
        assert_eq!(decided(never, &around(100.0, 40)), Renewal::Never);
    }

    #[test]
    fn what_became_better_renews_it_and_what_became_worse_does_not() {
        let better = [around(100.0, 12), around(80.0, 40)].concat();
        assert!(matches!(decided(created(), &better), Renewal::Due(_)));
        let worse = [around(100.0, 12), around(120.0, 40)].concat();
        let held = reasons(created(), &worse);
        assert!(
            held.contains("an open regression, with 000000000 \"Change 12\"")
                && held.contains("worse than the runs"),
            "{held}"
        );
        // Of throughput it is the other way round.
        let points = days(&better);
        let now = points.last().unwrap().run.started_at;
        let slower = renewal(&baseline(created()), now, &[(series("higher"), points)]);
        assert!(matches!(slower, Renewal::Held(_)), "{slower:?}");
        let mended = [worse, around(100.0, 40)].concat();
        assert!(matches!(decided(created(), &mended), Renewal::Due(_)));
    }

    /// However often it renews itself: what a person named stays what it is held against.
    #[test]
    fn a_slow_drift_is_not_followed() {
        let mut changes = created();
        // A half per cent a week is hidden in the noise of a week.
        let values: Vec<f64> = around(100.0, 1_200)
            .iter()
            .enumerate()
            .map(|(nth, value)| value * (1.0 + nth as f64 / 28.0 * 0.005))
            .collect();
        let points = days(&values);
        let mut renewed = Vec::new();
        for (nth, point) in points.iter().enumerate() {
            let now = point.run.started_at;
            // Only the newest, as if the history before had been pruned: no trend can tell it.
            let known = [&points[..8], &points[nth.saturating_sub(30).max(8).min(nth)..=nth]].concat();
            if let Renewal::Due(runs) = renewal(&baseline(changes.clone()), now, &[(series("lower"), known)])
            {
                renewed.push(values[nth] / values[0]);
                let number = i64::try_from(changes.len()).unwrap() + 1;
                changes.push(Change { at: now, runs, ..change(number, Kind::Renew, &[]) });
            }
        }
        assert!(!renewed.is_empty() && renewed.iter().all(|level| *level < 1.08), "{renewed:?}");
    }

    #[test]
    fn noise_gaps_and_single_days_do_not_count_as_a_stable_week() {
        let wild: Vec<f64> = (0..40).map(|nth| 100.0 + f64::from(nth * 17 % 40)).collect();
        assert!(reasons(created(), &wild).contains("it varies by "));
        let points = days(&around(100.0, 60));
        let now = points[59].run.started_at;
        let with = |change: &dyn Fn(usize, &mut Point)| {
            let mut points = points.clone();
            points.iter_mut().enumerate().for_each(|(nth, point)| change(nth, point));
            match renewal(&baseline(created()), now, &[(series("lower"), points)]) {
                Renewal::Held(reasons) => reasons.join("; "),
                other => panic!("{other:?}"),
            }
        };
        let inconclusive = with(&|nth, point| {
            point.run.verdict = (nth > 20 && nth < 57).then_some(State::Inconclusive);
        });
        assert!(inconclusive.contains("3 runs of the last 7 days count, and 5 are needed"), "{inconclusive}");
        let critical = with(&|nth, point| point.run.verdict = (nth == 50).then_some(State::Critical));
        assert!(critical.contains("1 run of the last 7 days violated the budget"), "{critical}");
        let night = with(&|nth, point| {
            if nth < 54 && nth > 20 {
                point.run.incomplete = Some("the run was interrupted".into());
            }
        });
        assert!(night.contains("lie within less than half"), "{night}");
        let foreign = [Change { runs: vec!["gone".into()], ..created().remove(0) }].to_vec();
        assert!(reasons(foreign, &around(100.0, 40)).contains("no run has it that a person named"));
    }

    /// Also where it is a figure that differs from run to run.
    #[test]
    fn what_is_no_longer_measured_is_not_stable() {
        let steady = days(&around(100.0, 40));
        let now = steady[39].run.started_at;
        for metric in ["latency_p50_us", "latency_p99_us"] {
            let lost = (Series { metric: metric.into(), ..series("lower") }, steady[..14].to_vec());
            let Renewal::Held(reasons) =
                renewal(&baseline(created()), now, &[(series("lower"), steady.clone()), lost])
            else {
                panic!("{metric} was not missed");
            };
            let missed = format!("{metric} of lifecycle (closed): 3 runs have it lately, and 5 are needed");
            assert_eq!(reasons, [missed]);
        }
    }

    #[test]
    fn periods_are_said_as_people_say_them() {
        for (seconds, said) in
            [(604_800, "7 days"), (86_400, "1 day"), (129_600, "36 hours"), (90, "90 seconds")]
        {
            assert_eq!(words(SignedDuration::from_secs(seconds)), said);
        }
    }
}
