//! A trend in words.

use std::fmt::Write as _;

use super::{Step, Trend};
use crate::report::sheet::number;

/// What is to be said of it, a line each.
pub fn lines(trend: &Trend) -> Vec<String> {
    let series = &trend.series;
    let place = series.place();
    let place = if place.is_empty() { "the run" } else { &place };
    let unit = if series.unit.is_empty() { String::new() } else { format!(", {}", series.unit) };
    let ends = trend.values.first().zip(trend.values.last());
    let span =
        ends.map(|(first, last)| format!(", {} to {}", day(&first.of.started_at), day(&last.of.started_at)));
    let mut lines = vec![format!(
        "{} of {place}{unit} ({} is better): {} runs{}",
        series.metric,
        series.better,
        trend.values.len(),
        span.unwrap_or_default()
    )];
    lines.extend(trend.steps.iter().map(|step| self::step(step, &series.unit)));
    if let Some(drift) = &trend.drift {
        let by = if drift.relative {
            format!("{:+.1} %", drift.change * 100.0)
        } else {
            format!("{:+} {}", number_signed(drift.change), series.unit)
        };
        let steps = if trend.steps.is_empty() { "" } else { " beside its steps" };
        lines.push(format!(
            "{}: it drifts{steps}, by {} from the first run to the last",
            badge(drift.worse),
            by.trim_end()
        ));
    }
    if trend.steps.is_empty() && trend.drift.is_none() {
        lines.push(match trend.values.len() {
            0..crate::stats::change_points::FEWEST => format!(
                "inconclusive: of fewer than {} runs nobody can tell a step from chance",
                crate::stats::change_points::FEWEST
            ),
            _ => "level: no step and no drift that chance does not explain".to_owned(),
        });
    }
    if let Some(newest) = &trend.newest {
        let percent = |share: Option<f64>| {
            share.map_or_else(|| "not to be told".to_owned(), |of| format!("{:+.1} %", of * 100.0))
        };
        let z = newest.z_score.map_or_else(|| "not to be told".to_owned(), |z| format!("{z:+.1}"));
        lines.push(format!(
            "newest: {}; level {}, {} above it, z-score {z}; {} above the run before (no verdicts: noise alone does as much)",
            number(newest.value),
            number(newest.level),
            percent(newest.change),
            percent(newest.against_run_before)
        ));
    }
    lines
}

fn day(moment: &str) -> &str {
    moment.split('T').next().unwrap_or(moment)
}

fn number_signed(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn badge(worse: bool) -> &'static str {
    if worse { "worse" } else { "better" }
}

/// `worse: +20.0 % (100 → 120 µs) from run 16 on, p 0.002; between A and B`
pub(super) fn step(step: &Step, unit: &str) -> String {
    let by = step.change.map_or_else(|| "a step".to_owned(), |change| format!("{:+.1} %", change * 100.0));
    let mut line = format!("{}: {by} ({} → {}", badge(step.worse), number(step.from), number(step.to));
    if !unit.is_empty() {
        let _ = write!(line, " {unit}");
    }
    let _ = write!(line, ") from run {} on, p {:.3}", step.at + 1, step.p);
    let (before, after) = (&step.last_before, &step.first_after);
    if before.commit.is_some() && before.commit == after.commit {
        let _ = write!(line, "; both sides are of {}: what changed is not in the commit", after.name());
    } else {
        let _ = write!(line, "; came with {}, or after {}", after.name(), before.name());
    }
    if step.over {
        line += "; over since";
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{around, points, series};
    use super::super::trend;
    use super::*;

    #[test]
    fn what_happened_is_said_with_its_commits() {
        let text = |values: &[f64]| lines(&trend(series("lower"), &points(values))).join("\n");
        let slower = text(&[around(100.0, 15), around(120.0, 15)].concat());
        assert!(slower.starts_with("latency_p95_us of lifecycle (closed), µs (lower is better): 30 runs, 1970-01-01 to 1970-01-01\n"), "{slower}");
        assert!(slower.contains("worse: +20.0 % (101 → 121 µs) from run 16 on, p 0.002; came with 000000000 \"Change 15\", or after 000000000 \"Change 14\""), "{slower}");
        assert!(text(&around(100.0, 15)).contains("level: "));
        assert!(text(&around(100.0, 5)).contains("inconclusive: of fewer than 8 runs"));
        let mut same = points(&[around(100.0, 15), around(120.0, 15)].concat());
        for point in &mut same {
            point.run.commit.as_mut().unwrap().hash = "f".repeat(40);
        }
        let same = lines(&trend(series("lower"), &same)).join("\n");
        assert!(same.contains("what changed is not in the commit"), "{same}");
    }
}
