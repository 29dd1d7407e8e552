//! `qdiscope baseline show|list`

use std::fmt::Write as _;

use clap::Args;
use comfy_table::Cell;
use jiff::Timestamp;
use serde::Serialize;

use super::{StoreArgument, day};
use crate::baseline::{Baseline, Renewal, parse_name};
use crate::cli::print;
use crate::exit::Failure;
use crate::history::{Filter, History, Purpose, Series};
use crate::report::sheet::number;
use crate::report::terminal::table;
use crate::stats::order::median;
use crate::stats::robust_deviation;
use crate::trend::is_followed;

/// The version of the layout of `--json`.
const SCHEMA_VERSION: u32 = 1;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The baseline
    #[arg(value_parser = parse_name)]
    name: String,
    /// A line of JSON instead of words
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgument,
}

#[derive(Args)]
pub(in crate::cli) struct ListArguments {
    /// A line of JSON for each baseline instead of the table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgument,
}

/// All that there is to be said of a baseline.
#[derive(Serialize)]
struct Shown {
    schema_version: u32,
    #[serde(flatten)]
    baseline: Baseline,
    figures: Vec<FigureOf>,
    renewal: RenewalOf,
}

/// A figure of its runs.
#[derive(Serialize)]
struct FigureOf {
    #[serde(flatten)]
    series: Series,
    /// How many of its runs have it.
    runs: usize,
    median: f64,
    /// Standard deviation, by the median absolute deviation, as a share of the median; null of a single run and of zero.
    variation: Option<f64>,
}

/// What would become of it now.
#[derive(Serialize)]
struct RenewalOf {
    /// `pinned`, `never`, `not-before`, `held`, `due`
    state: &'static str,
    /// Not before then.
    not_before: Option<Timestamp>,
    /// What holds it.
    reasons: Vec<String>,
}

impl From<Renewal> for RenewalOf {
    fn from(renewal: Renewal) -> Self {
        let (state, not_before, reasons) = match renewal {
            Renewal::Pinned => ("pinned", None, Vec::new()),
            Renewal::Never => ("never", None, Vec::new()),
            Renewal::NotBefore(then) => ("not-before", Some(then), Vec::new()),
            Renewal::Held(reasons) => ("held", None, reasons),
            Renewal::Due(_) => ("due", None, Vec::new()),
        };
        Self { state, not_before, reasons }
    }
}

impl RenewalOf {
    fn words(&self) -> String {
        match (self.state, self.not_before) {
            ("pinned", _) => "it is pinned".to_owned(),
            ("never", _) => "it does not renew itself".to_owned(),
            (_, Some(then)) => format!("not before {}", then.strftime("%Y-%m-%d %H:%M:%SZ")),
            ("held", _) => format!("held: {}", self.reasons.join("; ")),
            _ => "with the next run".to_owned(),
        }
    }
}

pub(super) fn show(arguments: &Arguments) -> Result<(), Failure> {
    let shown = arguments.store.with(Purpose::Read, async |history| {
        let baseline = super::baseline(history, &arguments.name).await?;
        all_of(history, baseline).await
    })?;
    print(&if arguments.json { json(&shown)? } else { render(&shown) })
}

pub(super) fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let all = arguments.store.with(Purpose::Read, async |history| {
        let mut all = Vec::new();
        for baseline in history.baselines(None).await? {
            all.push(all_of(history, baseline).await?);
        }
        Ok(all)
    })?;
    if arguments.json {
        return print(&all.iter().map(json).collect::<Result<String, _>>()?);
    }
    if all.is_empty() {
        return print("no baselines\n");
    }
    let mut rows = table(&["baseline", "since", "runs", "environment", "repository", "renewal"], 2);
    for shown in &all {
        let baseline = &shown.baseline;
        rows.add_row(vec![
            Cell::new(&baseline.name),
            Cell::new(day(baseline.since)),
            Cell::new(baseline.runs.len()),
            Cell::new(&baseline.place.environment),
            Cell::new(baseline.place.repository.as_deref().unwrap_or("–")),
            Cell::new(shown.renewal.words()),
        ]);
    }
    print(&format!("{rows}\n"))
}

fn json(shown: &Shown) -> Result<String, Failure> {
    let line = serde_json::to_string(shown)
        .map_err(|error| Failure::internal(format!("encode a baseline: {error}")))?;
    Ok(line + "\n")
}

async fn all_of(history: &mut History, baseline: Baseline) -> Result<Shown, Failure> {
    let filter = Filter { ids: baseline.runs.clone(), ..Filter::default() };
    let mut figures = Vec::new();
    for series in history.series().await?.into_iter().filter(is_followed) {
        let values: Vec<f64> =
            history.points(&series, &filter).await?.into_iter().map(|point| point.value).collect();
        let Some(middle) = median(&values) else { continue };
        let variation =
            robust_deviation(&values).filter(|_| middle != 0.0).map(|deviation| deviation / middle.abs());
        figures.push(FigureOf { series, runs: values.len(), median: middle, variation });
    }
    let renewal = history.renewal(&baseline, Timestamp::now()).await?.into();
    Ok(Shown { schema_version: SCHEMA_VERSION, baseline, figures, renewal })
}

fn render(shown: &Shown) -> String {
    let baseline = &shown.baseline;
    let mut text = format!(
        "baseline {}: {} runs since {}, environment {}",
        baseline.name,
        baseline.runs.len(),
        day(baseline.since),
        baseline.place.environment
    );
    if let Some(repository) = &baseline.place.repository {
        let _ = write!(text, ", {repository}");
    }
    let mut rows = table(&["of", "metric", "median", "varies by", "runs"], 2);
    for figure in &shown.figures {
        let series = &figure.series;
        let variation =
            figure.variation.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0));
        rows.add_row(vec![
            Cell::new(series.place()),
            Cell::new(&series.metric),
            Cell::new(format!("{} {}", number(figure.median), series.unit).trim_end()),
            Cell::new(variation),
            Cell::new(figure.runs),
        ]);
    }
    let _ = writeln!(text, "\n{rows}\nrenewal: {}", shown.renewal.words());
    for change in &baseline.changes {
        let runs =
            if change.kind.names_runs() { format!(", {} runs", change.runs.len()) } else { String::new() };
        let _ = writeln!(
            text,
            "{}  {} by {}{runs}: {}",
            change.at.strftime("%Y-%m-%d %H:%M:%SZ"),
            change.kind.name(),
            change.author,
            change.reason
        );
    }
    text
}
