//! The measurement as a person reads it.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, Table};

use super::load::Load;
use super::model::{Outcome, Overhead};
use crate::report::terminal::table;

/// Renders a measurement.
pub fn render(overhead: &Overhead) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "kernel {} on {} ({} cores); rounds: {}, windows of {} ms",
        overhead.kernel,
        overhead.cpu.as_deref().unwrap_or("an unnamed CPU"),
        overhead.cores,
        overhead.rounds,
        overhead.window_ms,
    );
    for remark in &overhead.remarks {
        let _ = writeln!(text, "{remark}");
    }
    if overhead.loads.iter().any(|load| load.title().is_some()) {
        let _ = writeln!(
            text,
            "\nTime with it / time without it (others' syscalls: ns that each takes longer); median of the rounds (least–most)\n{}",
            costs(overhead)
        );
    }
    for outcome in &overhead.contestants {
        if let Some(reason) = &outcome.absent {
            let _ = writeln!(text, "not measured: {}: {reason}", outcome.name);
        }
    }
    if !overhead.goals.is_empty() {
        let _ = writeln!(text, "\nGoals\n{}", goals(overhead));
    }
    text
}

fn costs(overhead: &Overhead) -> Table {
    let columns: Vec<(Load, &str)> =
        overhead.loads.iter().filter_map(|&load| Some((load, load.title()?))).collect();
    let header: Vec<&str> =
        ["contestant", "what it does"].into_iter().chain(columns.iter().map(|&(_, title)| title)).collect();
    let mut table = table(&header, 2);
    let measured: Vec<&Outcome> =
        overhead.contestants.iter().filter(|outcome| outcome.absent.is_none()).collect();
    for outcome in &measured {
        let mut row = vec![Cell::new(&outcome.name), Cell::new(&outcome.does)];
        row.extend(columns.iter().map(|&(load, _)| right(cost(outcome, load))));
        table.add_row(row);
    }
    if let Some(outcome) = measured.first() {
        let mut row = vec![Cell::new(""), Cell::new("one operation without")];
        row.extend(columns.iter().map(|(load, _)| {
            right(outcome.without_ns.get(load).map_or_else(|| "–".into(), |&ns| duration(ns)))
        }));
        table.add_row(row);
    }
    table
}

fn cost(outcome: &Outcome, load: Load) -> String {
    let Some(summary) = outcome.cost.get(&load) else { return "–".into() };
    let (median, least, most) = (summary.median, summary.least, summary.most);
    if load.is_difference() {
        return format!("{median:+.0} ns ({least:+.0}–{most:+.0})");
    }
    let digits = if most < 2.0 { 3 } else { 1 };
    format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
}

fn duration(ns: f64) -> String {
    if ns < 1_000.0 { format!("{ns:.0} ns") } else { format!("{:.2} µs", ns / 1_000.0) }
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn goals(overhead: &Overhead) -> Table {
    let mut table = table(&["probes", "goal", "measured", "verdict"], 3);
    for goal in &overhead.goals {
        let verdict = right(goal.verdict.to_string());
        table.add_row(vec![
            Cell::new(&goal.contestant),
            Cell::new(&goal.goal),
            Cell::new(&goal.measured),
            verdict,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overhead::model::{Goal, Summary, Verdict};

    fn outcome(name: &str, absent: Option<&str>) -> Outcome {
        let summary =
            Summary { median: 1.2345, least: 1.2, most: 1.3, interval: Some([1.2, 1.3]), rounds: 5 };
        Outcome {
            name: name.into(),
            does: "something".into(),
            absent: absent.map(str::to_owned),
            cost: if absent.is_none() { [(Load::Change, summary)].into() } else { [].into() },
            without_ns: [(Load::Change, 2_340.0)].into(),
            reader_ns_per_event: None,
            rate: Vec::new(),
            flood: Vec::new(),
        }
    }

    #[test]
    fn what_was_not_measured_is_absent_with_its_reason() {
        let overhead = Overhead {
            format: 1,
            kernel: "6.1".into(),
            cpu: None,
            cores: 2,
            remarks: vec!["an emulated CPU".into()],
            rounds: 5,
            window_ms: 300,
            loads: vec![Load::Change, Load::Add, Load::Rate],
            contestants: vec![
                outcome("tracepoint", None),
                outcome("strace", Some("strace is not installed")),
            ],
            goals: vec![Goal {
                contestant: "tracepoint".into(),
                goal: "a change takes ≤ 1.25 × as long".into(),
                measured: "1.234 (1.200–1.300)".into(),
                verdict: Verdict::Undecided,
            }],
        };
        let text = render(&overhead);
        assert!(text.contains("1.234 (1.200–1.300)") && text.contains("2.34 µs"), "{text}");
        assert!(text.contains("\nnot measured: strace: strace is not installed\n"), "{text}");
        assert!(text.contains("undecided") && text.contains("an emulated CPU"), "{text}");
        assert!(!text.contains("0.000"), "{text}");
    }
}
