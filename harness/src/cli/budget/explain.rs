//! `qdiscope budget explain`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use comfy_table::Cell;

use super::validate::judged_in;
use super::{levels, named};
use crate::budget::{About, Budget, Metric, Place, Quantity, known_as};
use crate::cli::print;
use crate::exit::{Exit, Failure};
use crate::report::terminal::table;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The metric, as `latency_p95_us`, `rtnl_wait_p95_us`, or as JSON budgets call it, `response_time.p95` [default: list them]
    metric: Option<String>,
    /// The budget whose levels are shown [default: the built-in one]
    #[arg(long, value_name = "FILE")]
    budget: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (budget, name) = named(arguments.budget.as_deref())?;
    let text = match &arguments.metric {
        None => list(),
        Some(metric) => {
            let quantity = match known_as(metric) {
                Some(metric) => metric.into(),
                None => {
                    Quantity::try_from(metric.clone()).map_err(|error| Failure::usage(error.to_string()))?
                }
            };
            about(quantity, &budget, &name)
        }
    };
    print(&text)?;
    Ok(Exit::Pass)
}

fn list() -> String {
    let mut rows = table(&["metric", "unit", "direction", "judged in", "what"], 5);
    for &metric in Metric::all() {
        let place = match metric.place() {
            Place::Workload => "each workload",
            Place::Run => "the run",
            Place::Nowhere => "nowhere",
        };
        rows.add_row(vec![
            Cell::new(metric.name()),
            Cell::new(metric.unit()),
            Cell::new(metric.direction()),
            Cell::new(place),
            Cell::new(About::of(metric.into()).what),
        ]);
    }
    format!(
        "{rows}\nOf a phase: <phase>_<p50|p90|p95|p99|p99_9|max>_us, as rtnl_wait_p95_us. `qdiscope budget explain METRIC` tells more.\n"
    )
}

fn about(quantity: Quantity, budget: &Budget, name: &str) -> String {
    let About { what, source, open } = About::of(quantity);
    let metric = quantity.metric;
    let unit = if metric.unit().is_empty() { "a number" } else { metric.unit() };
    let mut text = format!(
        "{}: {what}\n  unit          {unit}\n  direction     {}\n  comes from    {source}\n  inconclusive  where it was not measured; {open}\n",
        quantity.name(),
        metric.direction(),
    );
    let mut asked = false;
    for target in budget.targets.iter().filter(|target| target.quantity == quantity) {
        asked = true;
        let [warning, critical] = levels(target.levels());
        let _ = write!(
            text,
            "  budget        {} {} in {}; warning: {warning}; critical: {critical}",
            target.limit.symbol(),
            target.limit.bound(),
            judged_in(target)
        );
        if let Some(share) = target.regression_threshold {
            let _ = write!(text, "; a regression: {:.0} % worse than a baseline", share * 100.0);
        }
        if let (Some(action), Some(rule)) = (target.action, &target.rule) {
            let _ = write!(text, "; alert \"{rule}\": {action}");
        }
        text.push('\n');
    }
    if !asked {
        let _ = writeln!(text, "  budget        {name} has no target for it");
    }
    text
}
