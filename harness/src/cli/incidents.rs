//! `qdiscope incidents`: what became worse, how soon that was known, and how soon mended.

use std::fmt::Write as _;

use clap::Args;
use comfy_table::Cell;
use serde::Serialize;

use super::history::{Newest, Runs, StoreArgument};
use super::print;
use super::trend::read;
use crate::exit::{Exit, Failure};
use crate::history::Purpose;
use crate::incident::{Incident, Process, Quarter, SCHEMA_VERSION, incidents, process};
use crate::report::sheet::number;
use crate::report::terminal::table;
use crate::trend::{Trend, is_followed};

pub(super) const AFTER_HELP: &str =
    "An incident opens with the first run of a worse level (`qdiscope regressions`), is told with the first run after which the test finds it, and closes
with the run that confirms that it was taken back. Detection counts from when the commit was written, where that is known. The history is
that of the environment and the repository of the newest run.

Exit codes:
    0  shown
    1  internal error
    2  usage, or no history
    3  the history cannot be read";

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    runs: Runs,
    #[command(flatten)]
    newest: Newest,
    /// One JSON document instead of words
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgument,
}

#[derive(Serialize)]
struct Document {
    schema_version: u32,
    /// The name of the machine, settings and load; null of no run.
    environment: Option<String>,
    incidents: Vec<Incident>,
    process: Process,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let trends = arguments.store.with(Purpose::Read, async |history| {
        let series = history.series().await?.into_iter().filter(is_followed).collect();
        read(history, series, &arguments.newest.of(arguments.runs.filter())).await
    })?;
    let trends: Vec<Trend> = trends.into_iter().map(|(trend, _)| trend).collect();
    // A series that the newest run has not may be of another environment.
    let newest =
        trends.iter().max_by_key(|trend| trend.values.last().map(|value| value.of.started_at.clone()));
    let environment = newest.and_then(|trend| trend.environment.clone());
    let trends: Vec<Trend> = trends.into_iter().filter(|trend| trend.environment == environment).collect();
    let found = incidents(&trends);
    let process = process(&trends, &found);
    if arguments.json {
        let document = Document { schema_version: SCHEMA_VERSION, environment, incidents: found, process };
        let json = serde_json::to_string(&document)
            .map_err(|error| Failure::internal(format!("encode incidents: {error}")))?;
        print(&(json + "\n"))?;
    } else if trends.is_empty() {
        print("nothing to look at: no run has a figure that is followed\n")?;
    } else {
        print(&render(&found, &process))?;
    }
    Ok(Exit::Pass)
}

fn render(incidents: &[Incident], process: &Process) -> String {
    let mut text = String::new();
    if !incidents.is_empty() {
        let mut rows = table(&["commit", "since", "worse", "told after", "now", "over after"], 5);
        for incident in incidents {
            let figures: Vec<String> = incident.figures.iter().map(figure).collect();
            let now = match (incident.over, &incident.confirmed) {
                (false, _) => "open",
                (true, None) => "over, not confirmed",
                (true, Some(_)) => "over",
            };
            let time = |seconds: Option<i64>| {
                seconds.map_or_else(|| "–".to_owned(), |seconds| length(seconds as f64))
            };
            rows.add_row(vec![
                Cell::new(incident.opened.name()),
                Cell::new(incident.opened.started_at.get(..10).unwrap_or_default()),
                Cell::new(figures.join("\n")),
                Cell::new(time(incident.detected_after_s)),
                Cell::new(now),
                Cell::new(time(incident.resolved_after_s)),
            ]);
        }
        let _ = writeln!(text, "{rows}");
    }
    let time = |seconds: Option<f64>| seconds.map_or_else(|| "not known".to_owned(), length);
    let _ = writeln!(text, "incidents:        {}, {} open", process.incidents, process.open);
    let rate = process.regression_rate.map_or_else(
        || "not known".to_owned(),
        |rate| format!("{:.1} % ({} of {} changes)", rate * 100.0, process.incidents, process.changes),
    );
    let _ = writeln!(text, "regression rate:  {rate}");
    let _ = writeln!(text, "detection time:   {}", time(process.detection_time_s));
    let _ = writeln!(text, "resolution time:  {}", time(process.resolution_time_s));
    for quarter in process.quarters.iter().filter(|quarter| quarter.improvement.is_some()) {
        let _ = writeln!(text, "{}", quarterly(quarter));
    }
    text
}

/// `latency_p95_us of lifecycle (closed) +20.0 %`
fn figure(worse: &crate::incident::Worse) -> String {
    let by = match worse.change {
        Some(change) => format!("{:+.1} %", change * 100.0),
        None => format!("{} → {}", number(worse.from), number(worse.to)),
    };
    format!("{} of {} {by}", worse.series.metric, worse.series.place())
}

fn quarterly(quarter: &Quarter) -> String {
    let series = &quarter.series;
    let improvement = quarter.improvement.unwrap_or_default() * 100.0;
    let word = if improvement >= 0.0 { "better" } else { "worse" };
    format!(
        "{}: {} of {} {} {}, {:.1} % {word} than the quarter before",
        quarter.quarter,
        series.metric,
        series.place(),
        number(quarter.median),
        series.unit,
        improvement.abs()
    )
}

/// `3.2 days`, `5.0 hours`, `42 minutes`, `8 s`
fn length(seconds: f64) -> String {
    match seconds {
        _ if seconds >= 86_400.0 => format!("{:.1} days", seconds / 86_400.0),
        _ if seconds >= 3_600.0 => format!("{:.1} hours", seconds / 3_600.0),
        _ if seconds >= 60.0 => format!("{:.0} minutes", seconds / 60.0),
        _ => format!("{seconds:.0} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trend::fixtures::{around, points, series};
    use crate::trend::trend;

    #[test]
    fn a_table_and_the_figures_of_the_process() {
        let values = [around(100.0, 15), around(120.0, 15), around(100.0, 15)].concat();
        let trends = [trend(series("lower"), &points(&values))];
        let found = incidents(&trends);
        let text = render(&found, &process(&trends, &found));
        for part in [
            "000000000 \"Change 15\"",
            "latency_p95_us of lifecycle (closed) +20.0 %",
            "minutes",
            "incidents:        1, 0 open",
            "regression rate:  2.3 % (1 of 44 changes)",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let none = render(&[], &process(&[], &[]));
        assert!(
            none.contains("regression rate:  not known") && none.contains("detection time:   not known"),
            "{none}"
        );
    }

    #[test]
    fn lengths_have_the_unit_that_suits_them() {
        for (seconds, said) in
            [(8.0, "8 s"), (150.0, "2 minutes"), (7_200.0, "2.0 hours"), (276_480.0, "3.2 days")]
        {
            assert_eq!(length(seconds), said);
        }
    }
}
