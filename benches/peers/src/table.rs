//! The figures as a person reads them.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, LineStyle, Table};

use crate::measure::Figures;
use crate::work::{Goal, Row, Spread, median};

pub(crate) fn render(rows: &[Row], goals: &[Goal]) -> String {
    let mut text = String::new();
    let mut works: Vec<&str> = rows.iter().map(|row| row.work).collect();
    works.dedup();
    // Counting distorts its times; what it gives is among the goals.
    works.retain(|work| *work != "allocations");
    for work in works {
        let mut table = new(&[
            "client",
            "ops/s",
            "p50 µs",
            "p95",
            "p99",
            "user µs/op",
            "sys µs/op",
            "RSS MB",
            "× tc -batch",
            "× floor(1)",
            "× floor(256)",
        ]);
        for row in rows.iter().filter(|row| row.work == work) {
            let per_operation = |pick: fn(&Figures) -> f64| {
                number(median(row, |figures| Some(pick(figures) * 1e6 / figures.operations as f64)))
            };
            table.add_row([
                row.client.clone(),
                format!("{:.0}", row.median.median),
                number(median(row, |figures| figures.p50_us)),
                number(median(row, |figures| figures.p95_us)),
                number(median(row, |figures| figures.p99_us)),
                per_operation(|figures| figures.cpu_user),
                per_operation(|figures| figures.cpu_system),
                number(median(row, |figures| figures.peak_rss_kb.map(|kilobytes| kilobytes as f64 / 1024.0))),
                ratio(row.to_tc_batch),
                ratio(row.to_floor),
                ratio(row.to_floor_batch),
            ]);
        }
        let _ =
            writeln!(text, "\n{work} (medians; in brackets the least and the most over the rounds)\n{table}");
    }
    let mut table = new(&["goal", "wanted", "reached", ""]);
    for goal in goals {
        table.add_row([
            goal.what,
            &goal.wanted,
            goal.reached.as_deref().unwrap_or("not measured"),
            match goal.holds {
                Some(true) => "holds",
                Some(false) => "missed",
                None => "?",
            },
        ]);
    }
    text + &format!("\nGoals\n{table}\n")
}

pub(crate) fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    table.set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Three digits that matter.
pub(crate) fn number(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

fn ratio(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "–".into(),
        |Spread { median, least, most }| {
            format!("{} ({}–{})", number(Some(median)), number(Some(least)), number(Some(most)))
        },
    )
}
