//! `qdiscope regressions`: what became worse, and with which commit.

use clap::Args;
use comfy_table::Cell;

use super::history::{Newest, Runs, StoreArgument};
use super::print;
use super::trend::{json, read};
use crate::exit::{Exit, Failure};
use crate::history::{Commit, Purpose, Series};
use crate::report::sheet::number;
use crate::report::terminal::table;
use crate::trend::{Step, Trend, is_followed};

pub(super) const AFTER_HELP: &str = "Looked at are latencies (p50, p95, p99), throughput, error rate and peak memory of each workload, in the environment and the repository of
the newest run. `qdiscope trend` shows the history of one of them. A commit is one between the last run before and the first run after:
measure more of them, and fewer come into question.

Exit codes:
    0  looked; with --fail-on-regression: nothing is worse that has not been taken back
    1  internal error
    2  usage, or no history
    3  the history cannot be read
    5  --fail-on-regression, and something is worse";

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    runs: Runs,
    #[command(flatten)]
    newest: Newest,
    /// Look at this metric instead (may be repeated), of all together and of each operation
    #[arg(long, value_name = "NAME")]
    metric: Vec<String>,
    /// Show what became better, too
    #[arg(long)]
    all: bool,
    /// Exit with 5 where something is worse, and no later step has taken that back
    #[arg(long)]
    fail_on_regression: bool,
    /// A line of JSON for each history in which there is something, as `trend --json` has it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgument,
}

impl Arguments {
    fn follows(&self, series: &Series) -> bool {
        if self.metric.is_empty() { is_followed(series) } else { self.metric.contains(&series.metric) }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (trends, known) = arguments.store.with(Purpose::Read, async |history| {
        let all = history.series().await?;
        if let Some(unknown) = arguments.metric.iter().find(|name| !all.iter().any(|of| of.metric == **name))
        {
            return Err(Failure::usage(format!(
                "--metric {unknown}: no metric of this history; `qdiscope trend` names them"
            )));
        }
        let known = all.len();
        let series = all.into_iter().filter(|series| arguments.follows(series)).collect();
        Ok((read(history, series, &arguments.newest.of(arguments.runs.filter())).await?, known))
    })?;
    let found: Vec<&Trend> =
        trends.iter().map(|(trend, _)| trend).filter(|trend| arguments.has_something(trend)).collect();
    if arguments.json {
        for trend in &found {
            print(&format!("{}\n", json(trend)?))?;
        }
    } else {
        print(&render(arguments, &found, trends.len(), known))?;
    }
    let open = found.iter().any(|trend| {
        trend.steps.iter().any(|step| step.worse && !step.over)
            || trend.drift.as_ref().is_some_and(|drift| drift.worse)
    });
    Ok(if arguments.fail_on_regression && open { Exit::Regression } else { Exit::Pass })
}

impl Arguments {
    fn shows(&self, step: &Step) -> bool {
        step.worse || self.all
    }

    fn has_something(&self, trend: &Trend) -> bool {
        trend.steps.iter().any(|step| self.shows(step))
            || trend.drift.as_ref().is_some_and(|drift| drift.worse || self.all)
    }
}

fn render(arguments: &Arguments, found: &[&Trend], looked_at: usize, known: usize) -> String {
    let chance = "of a hundred histories of noise, two have a step";
    if found.is_empty() {
        return match looked_at {
            0 => format!("nothing to look at: {known} series in this history\n"),
            _ => format!("no regression in {looked_at} histories ({chance})\n"),
        };
    }
    let mut rows = table(&["commit", "of", "metric", "change", "from → to", "p", "now"], 3);
    let mut notes = Vec::new();
    for trend in found {
        let series = &trend.series;
        let place = series.place();
        for step in trend.steps.iter().filter(|step| arguments.shows(step)) {
            let by = step.change.map_or_else(|| "–".to_owned(), |change| format!("{:+.1} %", change * 100.0));
            rows.add_row(vec![
                Cell::new(step.first_after.name()),
                Cell::new(&place),
                Cell::new(&series.metric),
                Cell::new(by),
                Cell::new(format!("{} → {} {}", number(step.from), number(step.to), series.unit).trim_end()),
                Cell::new(format!("{:.3}", step.p)),
                Cell::new(match (step.worse, step.over) {
                    (true, false) => "open",
                    (true, true) => "over",
                    (false, _) => "better",
                }),
            ]);
            notes.extend(note(step));
        }
        if let Some(drift) = trend.drift.as_ref().filter(|drift| drift.worse || arguments.all) {
            let by =
                if drift.relative { format!("{:+.1} %", drift.change * 100.0) } else { number(drift.change) };
            rows.add_row(vec![
                Cell::new("no one commit"),
                Cell::new(&place),
                Cell::new(&series.metric),
                Cell::new(by),
                Cell::new(format!("drifts over {} runs", trend.values.len())),
                Cell::new(""),
                Cell::new(if drift.worse { "open" } else { "better" }),
            ]);
        }
    }
    notes.sort();
    notes.dedup();
    let notes: String = notes.into_iter().map(|note| note + "\n").collect();
    format!("{rows}\n{notes}{looked_at} histories were looked at ({chance})\n")
}

/// What else could be it.
fn note(step: &Step) -> Option<String> {
    let (before, after) = (&step.last_before, &step.first_after);
    let hash = after.commit.as_ref()?;
    if before.commit == after.commit {
        return Some(format!(
            "{}: measured before and after: what changed is not in the commit",
            after.name()
        ));
    }
    let here = std::env::current_dir().ok()?;
    // Only a repository that has one of them is the one in question.
    let there = |hash: &String| Commit::named(&here, hash).is_some();
    if !there(hash) && before.commit.as_ref().is_some_and(there) {
        return Some(format!(
            "{}: no longer in this repository, as after a rebase; its subject may still be",
            after.name()
        ));
    }
    let others = Commit::distance(&here, before.commit.as_ref()?, hash)?.checked_sub(1)?;
    (others > 0).then(|| format!("{}: or one of {others} between it and {}", after.name(), before.name()))
}
