//! What all rows say together. Pure.

use super::model::{Comparison, Row, Severity, Verdict};
use super::row::runs_needed;
use super::words;
use crate::exit::Exit;
use crate::stats::holm;
use crate::stats::two_samples::least_p;

/// Over all rows.
pub(super) struct Settled {
    pub(super) verdict: Verdict,
    pub(super) severity: Severity,
    pub(super) doubts: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// Settles which rows hold with all of them counted, and what that makes of the whole.
///
/// A regression that holds is the verdict, whatever else cannot be told. Otherwise a row that cannot be told may hide one: then it is
/// inconclusive, even beside improvements.
pub(super) fn settle(rows: &mut [Row], counts: [usize; 2], level: f64, differences: &[String]) -> Settled {
    let family = adjust(rows, level);
    let (mut doubts, mut notes) = (Vec::new(), Vec::new());
    if !differences.is_empty() {
        doubts.push(format!("compared by force: {}", differences.join("; ")));
    }
    if rows.is_empty() {
        doubts.push("both sides have no metric in common".to_owned());
    }
    let open: Vec<&Row> = rows.iter().filter(|row| row.verdict == Verdict::Inconclusive).collect();
    if !open.is_empty() {
        doubts.push(format!("{} {}", words::UNTOLD, words::list(&open)));
    }
    alone(rows, family, counts, level, &mut doubts, &mut notes);
    let holds = |verdict| rows.iter().filter(move |row| row.verdict == verdict && row.holds_among_all);
    let verdict = if differences.is_empty() && holds(Verdict::Regression).next().is_some() {
        Verdict::Regression
    } else if !doubts.is_empty() {
        Verdict::Inconclusive
    } else if holds(Verdict::Improvement).next().is_some() {
        Verdict::Improvement
    } else {
        Verdict::NoChange
    };
    let severity = match verdict {
        Verdict::Regression => holds(verdict).map(|row| row.severity).max().unwrap_or(Severity::None),
        _ => Severity::None,
    };
    Settled { verdict, severity, doubts, notes }
}

/// Adjusts the rows' probabilities for each other, and says how many counted.
///
/// A row whose values are all the same cannot alarm, whichever side they are dealt to, and so takes no part of the level (Tarone, A
/// Modified Bonferroni Method for Discrete Data, 1990).
fn adjust(rows: &mut [Row], level: f64) -> usize {
    let varies = |row: &Row| {
        let mut values = row.baseline_values.iter().chain(&row.candidate_values);
        let first = values.next();
        values.any(|value| Some(value) != first)
    };
    let family: Vec<usize> =
        (0..rows.len()).filter(|&place| rows[place].p.is_some() && varies(&rows[place])).collect();
    let p: Vec<f64> = family.iter().filter_map(|&place| rows[place].p).collect();
    for row in rows.iter_mut() {
        row.p_adjusted = row.p;
    }
    for (&place, adjusted) in family.iter().zip(holm::adjusted(&p)) {
        rows[place].p_adjusted = Some(adjusted);
    }
    for row in rows {
        let differs = matches!(row.verdict, Verdict::Regression | Verdict::Improvement);
        row.holds_among_all = differs && row.p_adjusted.is_some_and(|p| p < level);
    }
    family.len()
}

/// Says what differs by itself and not with all rows counted. That is chance as a rule, and a note; it is a doubt where it would matter, and
/// where so few runs could not have shown more.
fn alone(
    rows: &[Row],
    family: usize,
    counts: [usize; 2],
    level: f64,
    doubts: &mut Vec<String>,
    notes: &mut Vec<String>,
) {
    let differs = |row: &&Row| matches!(row.verdict, Verdict::Regression | Verdict::Improvement);
    let alone: Vec<&Row> = rows.iter().filter(differs).filter(|row| !row.holds_among_all).collect();
    if alone.is_empty() {
        return;
    }
    let too_few = least_p(counts[0], counts[1]) * family as f64 >= level;
    let advice = match runs_needed(family, level) {
        Some(enough) if too_few => format!("measure {enough} a side or more, or compare fewer metrics"),
        None => "compare fewer metrics, with --metric".to_owned(),
        Some(_) => "more runs may tell".to_owned(),
    };
    let text = format!(
        "taken by itself {} differs, and not once it is counted that {family} rows were asked: {advice}",
        words::list(&alone)
    );
    if too_few || alone.iter().any(|row| row.severity > Severity::None) {
        doubts.push(text);
    } else {
        notes.push(text);
    }
}

/// A comparison after fresh runs have been asked the same. The alarm stands only where a row that alarmed does so again in the fresh runs
/// alone; else what these say counts, for they were not looked at because they alarmed.
pub fn confirmed(first: Comparison, fresh: Comparison) -> Comparison {
    let alarms = |comparison: &Comparison| -> Vec<(String, String)> {
        let alarms = comparison.rows.iter().filter(|row| is_alarm(row));
        alarms.map(|row| (row.workload.clone(), row.metric.clone())).collect()
    };
    let again = alarms(&fresh);
    let stands = first.alarm && fresh.alarm && alarms(&first).iter().any(|row| again.contains(row));
    let mut all = Comparison { alarm: stands, interrupted: first.interrupted || fresh.interrupted, ..first };
    if stands {
        all.severity = all.severity.min(fresh.severity);
        all.notes.push("fresh runs alone alarm as well".to_owned());
    } else {
        all.severity = Severity::None;
        all.doubts.clone_from(&fresh.doubts);
        all.verdict = fresh.verdict;
        if fresh.verdict == Verdict::Regression && fresh.alarm {
            all.verdict = Verdict::Inconclusive;
            all.doubts.push("fresh runs alarm as well, and about other rows than the first".to_owned());
        } else {
            all.notes.push(
                "the first runs alarmed, and fresh runs alone do not: the verdict is theirs".to_owned(),
            );
        }
    }
    all.confirmation = Some(Box::new(fresh));
    all
}

/// A comparison whose alarm could not be asked again: nothing fresh stands behind it, and nothing against it.
pub fn unconfirmed(first: Comparison) -> Comparison {
    let mut doubts = first.doubts;
    doubts.push("interrupted before fresh runs could confirm the alarm".to_owned());
    Comparison {
        verdict: Verdict::Inconclusive,
        severity: Severity::None,
        alarm: false,
        interrupted: true,
        doubts,
        ..first
    }
}

/// Whether a row makes an alarm.
pub(super) fn is_alarm(row: &Row) -> bool {
    row.verdict == Verdict::Regression && row.holds_among_all && row.severity > Severity::None
}

/// How the process ends. A regression is no failure unless that is asked for.
pub fn exit(comparison: &Comparison, fail_on_regression: bool) -> Exit {
    match comparison {
        comparison if comparison.interrupted => Exit::Interrupted,
        _ if !fail_on_regression => Exit::Pass,
        comparison if comparison.alarm => Exit::Regression,
        comparison if !comparison.doubts.is_empty() => Exit::Inconclusive,
        _ => Exit::Pass,
    }
}
