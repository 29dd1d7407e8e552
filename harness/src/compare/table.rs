//! A comparison as a table for people, in the manner of Go's benchstat.

use std::fmt::Write as _;

use comfy_table::{Cell, Color, Table};

use super::model::{Comparison, Row, Severity, Verdict};
use super::words;
use crate::report::terminal::{right, table};

/// Renders it. `color` is for terminals.
pub fn render(comparison: &Comparison, color: bool) -> String {
    let mut text = String::from("\n");
    round(&mut text, comparison, color);
    if let Some(fresh) = &comparison.confirmation {
        text += "\nThe same again with fresh runs\n";
        round(&mut text, fresh, color);
    }
    text + "\n" + &words::conclusion(comparison) + "\n"
}

fn round(text: &mut String, comparison: &Comparison, color: bool) {
    for line in words::heading(comparison) {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "{}", rows(comparison, color));
    for line in words::remarks(comparison) {
        let _ = writeln!(text, "{line}");
    }
}

fn rows(comparison: &Comparison, color: bool) -> Table {
    let heads = words::heads(comparison);
    let mut table = table(&heads.each_ref().map(String::as_str), 2);
    let mut place = None;
    for row in &comparison.rows {
        let mut cells = words::cells(row);
        // Once for its metrics.
        if place.replace(&row.workload) == Some(&row.workload) {
            cells[0].clear();
        }
        let [workload, metric, figures @ ..] = cells;
        let mut line = vec![Cell::new(workload), Cell::new(metric)];
        line.extend(figures.map(right));
        line.push(painted(right(words::verdict(row)), row, color));
        table.add_row(line);
    }
    table
}

fn painted(cell: Cell, row: &Row, color: bool) -> Cell {
    match row.verdict {
        _ if !color => cell,
        Verdict::Regression if row.holds_among_all && row.severity > Severity::None => cell.fg(Color::Red),
        Verdict::Improvement if row.holds_among_all => cell.fg(Color::Green),
        Verdict::NoChange => cell,
        _ => cell.fg(Color::Yellow),
    }
}
