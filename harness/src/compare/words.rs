//! A comparison's figures and findings, as people read them: what its table and its Markdown have in common.

use std::fmt::Write as _;

use super::model::{Comparison, Middle, Row, Severity, Side, Verdict};
use super::verdict::is_alarm;
use crate::report::sheet::number;
use crate::report::words::duration;

/// The columns. The first two are text.
pub(super) fn heads(comparison: &Comparison) -> [String; 9] {
    let interval = format!("{:.0} % interval", comparison.confidence_percent);
    ["workload", "metric", "A", "B", "change", &interval, "p", "effect", "verdict"].map(str::to_owned)
}

/// What is not there.
const NONE: &str = "–";

/// How many rows a sentence names.
const NAMED: usize = 3;

/// A row's cells, but for the verdict.
pub(super) fn cells(row: &Row) -> [String; 8] {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    let change = match (row.change_percent, row.change) {
        (Some(percent), _) => Some(format!("{} %", tenths(percent))),
        (None, Some(change)) => Some(signed(change, absolute(&row.unit))),
        (None, None) => None,
    };
    let interval = match (row.interval_percent, row.interval) {
        (Some(ends), _) => Some(ends.map(tenths).join(" to ") + " %"),
        (None, Some(interval)) => Some(between(interval, absolute(&row.unit))),
        (None, None) => None,
    };
    [
        row.workload.clone(),
        row.metric.clone(),
        or_none(row.baseline.map(|middle| middle_in(middle, &row.unit))),
        or_none(row.candidate.map(|middle| middle_in(middle, &row.unit))),
        or_none(change),
        or_none(interval),
        or_none(row.p.map(|p| format!("{p:.4}"))),
        or_none(row.effect.map(|effect| format!("{:+.2}", effect + 0.0))),
    ]
}

/// A row's verdict, with how much it matters. What the other rows do not let stand has a question mark.
pub(super) fn verdict(row: &Row) -> String {
    match row.verdict {
        Verdict::Regression | Verdict::Improvement if !row.holds_among_all => format!("{}?", row.verdict),
        Verdict::Regression if row.severity > Severity::None => format!("{}, {}", row.verdict, row.severity),
        verdict => verdict.to_string(),
    }
}

/// The last line: the verdict, and of which rows it is.
pub(super) fn conclusion(comparison: &Comparison) -> String {
    let mut text = format!("verdict: {}", comparison.verdict);
    let that = |row: &&Row| row.verdict == comparison.verdict && row.holds_among_all;
    let mut rows: Vec<&Row> = comparison.rows.iter().filter(that).collect();
    match comparison.verdict {
        Verdict::Regression if comparison.alarm => {
            let _ = write!(text, " ({})", comparison.severity);
            rows.retain(|row| is_alarm(row));
        }
        Verdict::Regression => text += " (below the thresholds)",
        Verdict::Improvement => {}
        Verdict::NoChange | Verdict::Inconclusive => return text,
    }
    // A verdict of the fresh runs is not that of these rows.
    if comparison.confirmation.is_none() || comparison.alarm {
        let _ = write!(text, ": {}", list(&rows));
    }
    text
}

/// Who is compared, a line a side, and what is to be known of how that was measured.
pub(super) fn heading(comparison: &Comparison) -> Vec<String> {
    let side = |letter: &str, side: &Side| {
        let runs = side.runs.len();
        let versions = match &side.versions[..] {
            [] => String::new(),
            versions => format!(", qdiscope {}", versions.join(" and ")),
        };
        format!("{letter}: {} ({runs} {}{versions})", side.name, if runs == 1 { "run" } else { "runs" })
    };
    let mut lines = vec![side("A", &comparison.baseline), side("B", &comparison.candidate)];
    lines.push(match comparison.interleaved {
        Some(turns) => {
            let warm_up = match turns.warm_up_blocks {
                0 => String::new(),
                1 => ", after one that does not count".to_owned(),
                blocks => format!(", after {blocks} that do not count"),
            };
            let blocks = match (turns.blocks, turns.blocks_asked) {
                (blocks, asked) if blocks < asked => format!("{blocks} of {asked} blocks"),
                (blocks, _) => format!("{blocks} blocks"),
            };
            format!("measured in turns, {blocks} in random order (seed {}){warm_up}", turns.seed)
        }
        None if comparison.in_turns => "measured in turns".to_owned(),
        None => {
            "not measured in turns: what changed between the sides besides looks like a change".to_owned()
        }
    });
    if !comparison.differences.is_empty() {
        lines.push("UNEQUAL ENVIRONMENTS, compared by force: no verdict".to_owned());
    }
    lines
}

/// What the rows do not say.
pub(super) fn remarks(comparison: &Comparison) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut reasons: Vec<(&str, Vec<&Row>)> = Vec::new();
    for row in &comparison.rows {
        let Some(reason) = &row.reason else { continue };
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, rows)) => rows.push(row),
            None => reasons.push((reason, vec![row])),
        }
    }
    lines
        .extend(reasons.into_iter().map(|(reason, rows)| format!("inconclusive: {}: {reason}", list(&rows))));
    let told = |doubt: &&String| !doubt.starts_with(UNTOLD);
    lines.extend(comparison.doubts.iter().filter(told).map(|doubt| format!("doubt: {doubt}")));
    lines.extend(comparison.notes.iter().map(|note| format!("note: {note}")));
    if comparison.interrupted {
        lines.push("note: interrupted: these are the runs until then".to_owned());
    }
    lines
}

/// How the doubt begins that says of which rows it cannot be told, which these say themselves.
pub(super) const UNTOLD: &str = "it cannot be told of";

/// What is to be known about two sides' runs.
pub(super) fn notes(baseline: &Side, candidate: &Side) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for (letter, side) in [("A", baseline), ("B", candidate)] {
        notes.extend(side.left_out.iter().map(|left| format!("left out of {letter}: {left}")));
    }
    let common = baseline.runs.iter().filter(|run| candidate.runs.contains(run)).count();
    if baseline.runs == candidate.runs {
        notes.push("both sides are the same runs".to_owned());
    } else if common > 0 {
        notes.push(format!("{common} of the runs are on both sides, which hides differences"));
    }
    notes
}

/// `latency_p95_us of lifecycle (closed), and 3 more`
pub(super) fn list(rows: &[&Row]) -> String {
    let name = |row: &&Row| format!("{} of {}", row.metric, row.workload);
    let mut text = rows.iter().take(NAMED).map(name).collect::<Vec<_>>().join(", ");
    if rows.len() > NAMED {
        let _ = write!(text, ", and {} more", rows.len() - NAMED);
    }
    text
}

/// A share of a share would be taken for a percentage.
fn absolute(unit: &str) -> &str {
    if unit == "%" { "points" } else { unit }
}

/// With its sign; never `-0.0`.
fn signed(value: f64, unit: &str) -> String {
    format!("{} {unit}", plain(value)).trim_end().to_owned()
}

fn between([least, most]: [f64; 2], unit: &str) -> String {
    format!("{} to {} {unit}", plain(least), plain(most)).trim_end().to_owned()
}

/// A percentage of a change: its tenths are the most that means anything.
pub(crate) fn tenths(percent: f64) -> String {
    let text = if percent.abs() < 100.0 { format!("{percent:+.1}") } else { format!("{percent:+.0}") };
    unsigned_zero(text)
}

fn plain(value: f64) -> String {
    let text = match value.abs() {
        size if size >= 100.0 => format!("{value:+.0}"),
        size if size >= 0.05 || size == 0.0 => format!("{value:+.1}"),
        _ => format!("{value:+.4}"),
    };
    unsigned_zero(text)
}

fn unsigned_zero(text: String) -> String {
    if text.chars().any(|digit| ('1'..='9').contains(&digit)) { text } else { "0".to_owned() }
}

/// `640 µs ± 2 %`, the greater distance of its interval's ends, as benchstat has it.
fn middle_in(middle: Middle, unit: &str) -> String {
    let shown = match unit {
        "µs" => duration(middle.median),
        "bytes" => format!("{:.1} MB", middle.median / 1e6),
        unit => format!("{} {unit}", number(middle.median)).trim_end().to_owned(),
    };
    match middle.interval.map(|ends| ends.map(|end| (end - middle.median).abs())) {
        Some([below, above]) if middle.median.abs() > 0.0 => {
            format!("{shown} ± {:.0} %", below.max(above) / middle.median.abs() * 100.0)
        }
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_a_sign_and_few_digits() {
        assert_eq!(
            [12.345, -3.0, 250.4, 0.0, -0.0, 0.0123, -0.000_001].map(|value| signed(value, "points")),
            ["+12.3", "-3.0", "+250", "0", "0", "+0.0123", "0"].map(|text| format!("{text} points"))
        );
        assert_eq!([12.345, -0.04, 0.05, 1e3].map(tenths), ["+12.3", "0", "+0.1", "+1000"]);
        assert_eq!(between([-1.0, 2.0], ""), "-1.0 to +2.0");
    }

    #[test]
    fn a_middle_has_its_unit_and_spread() {
        let of = |median, interval, unit| middle_in(Middle { median, interval }, unit);
        assert_eq!(of(640.0, Some([630.0, 672.0]), "µs"), "640 µs ± 5 %");
        assert_eq!(of(20e6, None, "bytes"), "20.0 MB");
        assert_eq!(of(0.0, Some([0.0, 0.0]), "%"), "0 %");
        assert_eq!(of(3.0, None, ""), "3");
    }
}
