//! `qdiscope budget validate`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use comfy_table::Cell;

use super::{levels, read};
use crate::budget::{Budget, Place, Target, notes};
use crate::cli::print;
use crate::exit::{Exit, Failure};
use crate::report::terminal::{right, table};

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The budget
    file: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let budget = read(&arguments.file).map_err(Failure::usage)?;
    print(&text(&budget))?;
    Ok(Exit::Pass)
}

fn text(budget: &Budget) -> String {
    let mut rows = table(
        &[
            "metric",
            "judged in",
            "direction",
            "limit",
            "warning at",
            "critical at",
            "unit",
            "regression",
            "from",
        ],
        3,
    );
    for target in &budget.targets {
        rows.add_row(row(target));
    }
    let mut text = format!("{rows}\n");
    let notes = notes(budget);
    if !notes.is_empty() {
        text.push_str("\nWorth knowing\n");
        for note in notes {
            let _ = writeln!(text, "  {note}");
        }
    }
    text
}

pub(super) fn judged_in(target: &Target) -> String {
    match target.quantity.metric.place() {
        Place::Workload => target.scope.words(),
        place => {
            let least =
                target.scope.min_duration.map_or_else(String::new, |least| format!(", from {least} on"));
            let place = if place == Place::Run { "the run" } else { "nowhere" };
            format!("{place}{least}")
        }
    }
}

fn row(target: &Target) -> Vec<Cell> {
    let metric = target.quantity.metric;
    let [warning, critical] = levels(target.levels());
    let regression = target.regression_threshold.map(|share| format!("{:.0} % worse", share * 100.0));
    let rule = target.rule.clone().unwrap_or_default();
    let from = target.action.map_or_else(|| rule.clone(), |action| format!("alert \"{rule}\": {action}"));
    vec![
        Cell::new(target.quantity.name()),
        Cell::new(judged_in(target)),
        Cell::new(metric.direction()),
        right(format!("{} {}", target.limit.symbol(), target.limit.bound())),
        right(warning),
        right(critical),
        right(metric.unit()),
        right(regression.unwrap_or_default()),
        right(from),
    ]
}
