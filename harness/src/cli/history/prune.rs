//! `qdiscope history prune`

use clap::Args;
use jiff::Timestamp;

use super::{StoreArgument, count, named, parse_moment};
use crate::cli::print;
use crate::exit::Failure;
use crate::history::{Filter, History};

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// Runs, labels, or beginnings of commits' hashes
    #[arg(required_unless_present = "before", conflicts_with = "before")]
    run: Vec<String>,
    /// All that began before a day (2026-11-29), a moment (RFC 3339), or longer than a time ago (90d)
    #[arg(long, value_name = "WHEN", value_parser = parse_moment)]
    before: Option<Timestamp>,
    /// Keep those that have a label
    #[arg(long)]
    keep_labelled: bool,
    /// Say what would be taken out, and leave it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) store: StoreArgument,
}

pub(super) async fn run(arguments: &Arguments, history: &mut History) -> Result<(), Failure> {
    let mut runs = Vec::new();
    if let Some(before) = arguments.before {
        runs = history.list(&Filter { before: Some(before), ..Filter::default() }).await?;
    }
    for name in &arguments.run {
        runs.extend(named(history, name).await?);
    }
    runs.retain(|run| !arguments.keep_labelled || run.labels.is_empty());
    let mut ids: Vec<String> = runs.into_iter().map(|run| run.id).collect();
    ids.sort();
    ids.dedup();
    let of_baselines = history.runs_of_baselines().await?;
    let all = ids.len();
    ids.retain(|id| !of_baselines.contains(id));
    let stay = match all - ids.len() {
        0 => String::new(),
        stay => format!("; {} of baselines stay", count(stay, "run")),
    };
    if arguments.dry_run {
        let would = format!("would be taken out: {}{stay}\n", count(ids.len(), "run"));
        ids.push(would);
        return print(&ids.join("\n"));
    }
    history.remove(&ids).await?;
    print(&format!("taken out: {}{stay}\n", count(ids.len(), "run")))
}
