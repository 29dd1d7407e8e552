//! A bisection as text for people: the answer first, then how it came about.

use std::fmt::Write as _;

use comfy_table::{Cell, Color, Table};

use super::model::{Bisection, Change, Commit, Outcome, Step, Verdict};
use crate::compare::percent;
use crate::report::terminal::{right, table};

/// What is not there.
const NONE: &str = "–";

/// So many candidates are named.
const NAMED: usize = 20;

/// Renders it. `color` is for terminals.
pub fn render(bisection: &Bisection, color: bool) -> String {
    let mut text = String::from("\n");
    answer(&mut text, bisection);
    if !bisection.candidates.is_empty() {
        candidates(&mut text, bisection);
    }
    let _ = writeln!(text, "\ngood: {}\nbad:  {}", line(&bisection.good), line(&bisection.bad));
    if let (Some(whole), Some(metric)) = (&bisection.whole, &bisection.metric) {
        let _ = writeln!(text, "{} of {} from good to bad: {}", metric.name, metric.workload, change(whole));
    }
    if !bisection.steps.is_empty() {
        let _ = writeln!(text, "{}", steps(bisection, color));
        for step in &bisection.steps {
            if let Some(reason) = &step.reason {
                let _ = writeln!(text, "{} {}: {reason}", step.commit.short(), step.verdict);
            }
        }
    }
    for note in &bisection.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let counted = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let _ = writeln!(
        text,
        "{} in question at first, {} tried, {} in {:.1} s, confidence {} %",
        counted(bisection.commits, "commit"),
        bisection.steps.len(),
        counted(bisection.runs as usize, "run"),
        bisection.seconds,
        bisection.confidence_percent,
    );
    let because = bisection.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    text + &format!("\nverdict: {}{because}\n", bisection.outcome)
}

fn answer(text: &mut String, bisection: &Bisection) {
    let Some(first) = &bisection.first_bad else { return };
    let named = match bisection.outcome {
        Outcome::Found => "first bad commit",
        _ => "half of the change is passed at",
    };
    let _ = writeln!(text, "{named}: {}", first.hash);
    let _ = writeln!(text, "    {}\n    {}, {}", first.subject, first.author, first.date);
    if let (Some(own), Some(before)) = (&bisection.change, &bisection.before) {
        let _ = writeln!(text, "    against its parent {}: {}", before.short(), with_share(own, bisection));
    }
}

fn with_share(own: &Change, bisection: &Bisection) -> String {
    let share = bisection
        .share_percent
        .map_or_else(String::new, |share| format!(", {share:.0} % of the whole change"));
    change(own) + &share
}

fn candidates(text: &mut String, bisection: &Bisection) {
    let _ = writeln!(text, "in question:");
    for commit in bisection.candidates.iter().take(NAMED) {
        let _ = writeln!(text, "    {}", line(commit));
    }
    if let Some(more @ 1..) = bisection.candidates.len().checked_sub(NAMED) {
        let _ = writeln!(text, "    and {more} more (--json has all)");
    }
    if let (None, Some(own), Some(before)) = (&bisection.first_bad, &bisection.change, &bisection.before) {
        let own = with_share(own, bisection);
        let _ = writeln!(text, "    all of them against {}, which is good: {own}", before.short());
    }
}

fn line(commit: &Commit) -> String {
    format!("{} {}", commit.short(), commit.subject)
}

/// "+50.1 % (+48.9 to +51.3, 10 runs a side)"
pub fn change(change: &Change) -> String {
    let interval = change
        .interval_percent
        .map_or_else(|| "no interval".to_owned(), |ends| ends.map(percent).join(" to "));
    let runs = if change.runs == 1 { "1 run" } else { &format!("{} runs", change.runs) };
    format!("{} % ({interval}, {runs} a side)", percent(change.change_percent))
}

fn steps(bisection: &Bisection, color: bool) -> Table {
    let mut table = table(&["commit", "subject", "against good", "interval", "runs", "verdict"], 2);
    for step in &bisection.steps {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
        let of = |text: fn(&Change) -> Option<String>| or_none(step.change.as_ref().and_then(text));
        table.add_row([
            Cell::new(step.commit.short()),
            Cell::new(short(&step.commit.subject)),
            right(of(|change| Some(percent(change.change_percent) + " %"))),
            right(of(|change| Some(change.interval_percent?.map(percent).join(" to ") + " %"))),
            right(of(|change| Some(change.runs.to_string()))),
            painted(right(step.verdict), step, color),
        ]);
    }
    table
}

/// A subject beside figures.
fn short(subject: &str) -> String {
    const MOST: usize = 48;
    if subject.chars().count() <= MOST {
        return subject.to_owned();
    }
    subject.chars().take(MOST - 1).collect::<String>() + "…"
}

fn painted(cell: Cell, step: &Step, color: bool) -> Cell {
    match step.verdict {
        _ if !color => cell,
        Verdict::Bad => cell.fg(Color::Red),
        Verdict::Good => cell.fg(Color::Green),
        Verdict::Undecided | Verdict::Skipped => cell.fg(Color::Yellow),
    }
}
