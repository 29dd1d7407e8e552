//! `qdiscope history show`

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use clap::Args;

use super::{StoreArgument, count, named};
use crate::cli::print;
use crate::exit::Failure;
use crate::history::{Commit, History, Record, export};
use crate::report::model::RunResult;
use crate::report::terminal;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// A run, the beginning of a commit's hash, a label, or `latest`; of several runs the newest
    #[arg(default_value = "latest")]
    run: String,
    /// The whole record as JSON, as `export` writes it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) store: StoreArgument,
}

pub(super) async fn run(arguments: &Arguments, history: &mut History) -> Result<(), Failure> {
    let runs = named(history, &arguments.run).await?;
    let record = history.record(&runs[0]).await?;
    if arguments.json {
        return print(
            &export::json_line(&record)
                .map_err(|error| Failure::internal(format!("encode a run: {error}")))?,
        );
    }
    let mut text = String::new();
    if runs.len() > 1 {
        let _ = writeln!(text, "{}: {}; this is the newest", arguments.run, count(runs.len(), "run"));
    }
    text += &head(&record);
    text += &body(&record);
    print(&text)
}

fn head(record: &Record) -> String {
    let mut text = format!("run {}, began {}\n", record.id, record.started_at);
    if let Some(reason) = &record.incomplete {
        let _ = writeln!(text, "not whole: {reason}");
    }
    if let Some(Commit { hash, repository, branch, author_date, subject, dirty }) = &record.commit {
        let _ = write!(text, "commit {hash}");
        for part in [
            branch.clone().map(|branch| format!(" on {branch}")),
            repository.clone().map(|of| format!(" of {of}")),
        ] {
            text += &part.unwrap_or_default();
        }
        text += match dirty {
            Some(true) => ", with changes that nobody had committed\n",
            _ => "\n",
        };
        if let Some(subject) = subject {
            let written = author_date.map(|at| format!(" ({at})")).unwrap_or_default();
            let _ = writeln!(text, "       {subject}{written}");
        }
    }
    if !record.labels.is_empty() {
        let _ = writeln!(text, "labels: {}", record.labels.iter().cloned().collect::<Vec<_>>().join(", "));
    }
    let _ = writeln!(text, "environment {}", record.environment.digest);
    let _ = writeln!(
        text,
        "kept: {}, {}",
        count(record.figures.len(), "figure"),
        count(record.histograms.len(), "histogram")
    );
    text
}

/// As `bench` has shown it; of others' runs the figures.
fn body(record: &Record) -> String {
    let result = record.result.clone().and_then(|result| serde_json::from_value::<RunResult>(result).ok());
    if let Some(result) = result {
        let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        return terminal::render(&result, color);
    }
    let mut rows = terminal::table(&["of", "metric", "value", "unit"], 4);
    for figure in &record.figures {
        rows.add_row([
            format!("{} {}", figure.workload, figure.operation).trim().to_owned(),
            figure.metric.clone(),
            figure.value.to_string(),
            figure.unit.clone(),
        ]);
    }
    format!("{rows}\n")
}
