//! A comparison as Markdown, for a pull request or a job's summary.

use std::fmt::Write as _;

use super::model::Comparison;
use super::words;
use crate::report::markdown::escaped;

/// The text. Headings begin at the third level, as that of a run's does.
pub fn render(comparison: &Comparison) -> String {
    let mut text = format!("### qdiscope compare: {}\n", comparison.verdict);
    round(&mut text, comparison);
    if let Some(fresh) = &comparison.confirmation {
        text += "\n#### The same again with fresh runs\n";
        round(&mut text, fresh);
    }
    let _ = writeln!(text, "\n**{}**", escaped(&words::conclusion(comparison)));
    text
}

fn round(text: &mut String, comparison: &Comparison) {
    text.push('\n');
    for line in words::heading(comparison) {
        let _ = writeln!(text, "- {}", escaped(&line));
    }
    let heads = words::heads(comparison).join(" | ");
    let _ = writeln!(text, "\n| {heads} |\n|---|---|---:|---:|---:|---:|---:|---:|---|");
    for row in &comparison.rows {
        let cells = words::cells(row).map(|cell| escaped(&cell)).join(" | ");
        let verdict = words::verdict(row);
        let verdict = if row.holds_among_all { format!("**{verdict}**") } else { verdict };
        let _ = writeln!(text, "| {cells} | {verdict} |");
    }
    let remarks = words::remarks(comparison);
    if !remarks.is_empty() {
        text.push('\n');
    }
    for line in remarks {
        let _ = writeln!(text, "- {}", escaped(&line));
    }
}
