//! `qdiscope trend`: the history of a figure.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::history::{Newest, Runs, StoreArgument};
use super::print;
use crate::budget::near;
use crate::exit::{Exit, Failure};
use crate::history::{Filter, History, Purpose, Series};
use crate::trend::{self, Trend};

pub(super) const AFTER_HELP: &str = "Only runs of one environment (machine, settings, load) and one repository are compared: those of the newest run. A step is found
by a test that shuffles the values, so that of a hundred histories of noise two have one; a drift is told from steps by which explains
the history better. z-score and percentages are shown as what they are, and decide nothing.

Exit codes:
    0  shown
    1  internal error
    2  usage: no such metric or workload, or no history
    3  the history cannot be read, or a file not be written";

#[derive(Args)]
pub(super) struct Arguments {
    /// A metric, as in budgets: `latency_p95_us`
    metric: String,
    /// Of which workload or stage, as `lifecycle (closed)`; by default of each
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
    /// Of which operation, as `class-create`; by default of all together
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    operation: String,
    #[command(flatten)]
    runs: Runs,
    #[command(flatten)]
    newest: Newest,
    /// Draw it into a file, too; of several workloads say which
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// A line of JSON for each workload instead of words and chart
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgument,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let trends = arguments.store.with(Purpose::Read, async |history| {
        let series = chosen(arguments, &history.series().await?)?;
        read(history, series, &arguments.newest.of(arguments.runs.filter())).await
    })?;
    if let Some(path) = &arguments.svg {
        let [(trend, _)] = &trends[..] else {
            let names: Vec<_> =
                trends.iter().map(|(trend, _)| format!("{:?}", trend.series.workload)).collect();
            return Err(Failure::usage(format!(
                "--svg draws one: say which by --workload: {}",
                names.join(", ")
            )));
        };
        let svg = trend::svg(trend).map_err(|error| Failure::internal(error.to_string()))?;
        std::fs::write(path, svg)
            .map_err(|error| Failure::environment(format!("cannot write {}: {error}", path.display())))?;
    }
    for (trend, others) in &trends {
        if arguments.json {
            print(&format!("{}\n", json(trend)?))?;
            continue;
        }
        let mut text = trend::terminal(trend);
        for line in trend::lines(trend) {
            text += &line;
            text.push('\n');
        }
        if *others > 0 {
            let _ = writeln!(text, "left out: {others} of other environments or repositories, or not whole");
        }
        print(&(text + "\n"))?;
    }
    Ok(Exit::Pass)
}

pub(super) fn json(trend: &Trend) -> Result<String, Failure> {
    serde_json::to_string(trend).map_err(|error| Failure::internal(format!("encode a trend: {error}")))
}

/// Each series explained, with how many runs were left out of it; a series without a run that can be compared is left out itself.
pub(super) async fn read(
    history: &mut History,
    series: Vec<Series>,
    filter: &Filter,
) -> Result<Vec<(Trend, usize)>, Failure> {
    let mut trends = Vec::new();
    for series in series {
        let (points, others) = trend::comparable(history.points(&series, filter).await?);
        if !points.is_empty() {
            trends.push((trend::trend(series, &points), others));
        }
    }
    Ok(trends)
}

fn chosen(arguments: &Arguments, all: &[Series]) -> Result<Vec<Series>, Failure> {
    let unknown = |what: &str, name: &str, known: Vec<String>| {
        let advice = match near(name, &known) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there are {}", known.join(", ")),
        };
        Failure::usage(format!("{name:?}: no {what} of this history; {advice}"))
    };
    let names = |series: &[Series], name: fn(&Series) -> &str| {
        let mut names: Vec<String> = series.iter().map(|of| name(of).to_owned()).collect();
        names.sort();
        names.dedup();
        names
    };
    let of_metric: Vec<Series> = all.iter().filter(|of| of.metric == arguments.metric).cloned().collect();
    if of_metric.is_empty() {
        return Err(unknown("metric", &arguments.metric, names(all, |of| &of.metric)));
    }
    let of_operation: Vec<Series> =
        of_metric.iter().filter(|of| of.operation == arguments.operation).cloned().collect();
    if of_operation.is_empty() {
        return Err(unknown("operation", &arguments.operation, names(&of_metric, |of| &of.operation)));
    }
    let Some(workload) = &arguments.workload else { return Ok(of_operation) };
    let of_workload: Vec<Series> =
        of_operation.iter().filter(|of| of.workload == *workload).cloned().collect();
    if of_workload.is_empty() {
        return Err(unknown("workload", workload, names(&of_operation, |of| &of.workload)));
    }
    Ok(of_workload)
}
