//! `qdiscope history`: what was measured before.

mod export;
mod import;
mod list;
mod prune;
mod show;
mod store;

use clap::{Args, Subcommand};
use jiff::{Span, Timestamp, ZonedDateTime};

use super::print;
use crate::exit::{Exit, Failure};
use crate::history::{Filter, History, HistoryError, Purpose, Row, Unsent};

pub(in crate::cli) use store::{Labels, StoreArgument};

pub(super) const AFTER_HELP: &str = "A history is one SQLite file, by default of the user who started qdiscope, or a PostgreSQL database that a team shares. `bench` puts its runs there.

Exit codes:
    0  done
    1  internal error
    2  usage: no such run, or a file that is none of a history
    3  the history cannot be read or written";

#[derive(Subcommand)]
pub(super) enum Command {
    /// List runs, the newest first
    #[command(after_help = AFTER_HELP)]
    List(list::Arguments),
    /// Show all that is kept of a run
    #[command(after_help = AFTER_HELP)]
    Show(show::Arguments),
    /// Give runs a name, by which they are found and compared
    #[command(after_help = AFTER_HELP)]
    Label(LabelArguments),
    /// Take runs out for good; those that a baseline consists of stay
    #[command(after_help = AFTER_HELP)]
    Prune(prune::Arguments),
    /// Write runs for other programs: JSON lines, CSV, or the text format of Prometheus
    #[command(after_help = AFTER_HELP)]
    Export(export::Arguments),
    /// Read runs: saved ones, lines of an export, criterion's target/criterion, or the data of github-action-benchmark
    #[command(after_help = AFTER_HELP)]
    Import(import::Arguments),
    /// Send the runs that wait because the history could not be reached; `bench` does so, too
    #[command(after_help = AFTER_HELP)]
    Send(SendArguments),
    /// Say whether the file is whole
    #[command(after_help = AFTER_HELP)]
    Check(SendArguments),
}

#[derive(Args)]
pub(super) struct LabelArguments {
    /// A run, the beginning of a commit's hash, a label, or `latest`
    run: String,
    /// The name; may be repeated
    #[arg(required = true, value_parser = store::parse_label)]
    label: Vec<String>,
    #[command(flatten)]
    store: StoreArgument,
}

#[derive(Args)]
pub(super) struct SendArguments {
    #[command(flatten)]
    store: StoreArgument,
}

/// Which runs.
#[derive(Args, Default)]
pub(in crate::cli) struct Runs {
    /// Only those of a commit, by the beginning of its hash
    #[arg(long, value_name = "HASH", value_parser = parse_commit)]
    commit: Option<String>,
    /// Only those of a branch
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// Only those with a label
    #[arg(long = "label", value_name = "NAME")]
    label: Option<String>,
    /// Only those of an environment (machine, settings and load), by the name that `list` shows
    #[arg(long, value_name = "DIGEST")]
    environment: Option<String>,
    /// Only those since a day (2026-11-29), a moment (RFC 3339), or a time ago (30d)
    #[arg(long, value_name = "WHEN", value_parser = parse_moment)]
    since: Option<Timestamp>,
}

impl Runs {
    pub(in crate::cli) fn filter(&self) -> Filter {
        Filter {
            commit: self.commit.clone(),
            branch: self.branch.clone(),
            label: self.label.clone(),
            environment: self.environment.clone(),
            since: self.since,
            ..Filter::default()
        }
    }
}

/// How much of a history is looked at. What is older than a thousand runs says little about the newest.
#[derive(Args)]
pub(in crate::cli) struct Newest {
    /// Only the newest so many runs; 0 for all
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 1_000)]
    newest: u32,
}

impl Newest {
    pub(in crate::cli) fn of(&self, filter: Filter) -> Filter {
        Filter { newest: Some(self.newest).filter(|newest| *newest > 0), ..filter }
    }
}

fn parse_commit(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.len() <= 64 && text.chars().all(|digit| digit.is_ascii_hexdigit()) {
        Ok(text.to_owned())
    } else {
        Err("give the hexadecimal digits with which a commit's hash begins".into())
    }
}

/// A day begins at midnight here.
fn parse_moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    if let Ok(day) = text.parse::<jiff::civil::Date>() {
        return day
            .to_zoned_datetime(jiff::tz::TimeZone::system())
            .map(|midnight| midnight.timestamp())
            .map_err(|error| error.to_string());
    }
    let span: Span = text.parse().map_err(|_| {
        "give a day (2026-11-29), a moment (2026-11-29T12:00:00Z) or a time ago (30d)".to_owned()
    })?;
    ZonedDateTime::now().checked_sub(span).map(|then| then.timestamp()).map_err(|error| error.to_string())
}

pub(super) fn run(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::List(arguments) => {
            arguments.store.with(Purpose::Read, async |history| list::run(arguments, history).await)?;
        }
        Command::Show(arguments) => {
            arguments.store.with(Purpose::Read, async |history| show::run(arguments, history).await)?;
        }
        Command::Label(arguments) => {
            arguments.store.with(Purpose::Read, async |history| label(arguments, history).await)?;
        }
        Command::Prune(arguments) => {
            arguments.store.with(Purpose::Read, async |history| prune::run(arguments, history).await)?;
        }
        Command::Export(arguments) => {
            arguments.store.with(Purpose::Read, async |history| export::run(arguments, history).await)?;
        }
        Command::Import(arguments) => import::run(arguments)?,
        Command::Send(arguments) => {
            arguments.store.with(Purpose::Write, async |history| send(arguments, history).await)?;
        }
        Command::Check(arguments) => arguments.store.with(Purpose::Read, async |history| {
            history.check().await?;
            print(&format!("whole: {} runs\n", history.count().await?))
        })?,
    }
    Ok(Exit::Pass)
}

async fn label(arguments: &LabelArguments, history: &mut History) -> Result<(), Failure> {
    let runs = named(history, &arguments.run).await?;
    let ids: Vec<String> = runs.into_iter().map(|run| run.id).collect();
    history.label(&ids, &arguments.label.iter().cloned().collect()).await?;
    print(&format!("labelled: {}\n", count(ids.len(), "run")))
}

async fn send(arguments: &SendArguments, history: &mut History) -> Result<(), Failure> {
    let unsent =
        Unsent::of(&arguments.store.location()?).map_err(|error| Failure::environment(error.to_string()))?;
    let sent = unsent.send(history).await?;
    for damaged in &sent.damaged {
        tracing::warn!("{damaged}");
    }
    print(&format!("sent: {}\n", count(sent.runs, "run")))
}

/// The runs that a name stands for; at least one.
pub(in crate::cli) async fn named(history: &mut History, name: &str) -> Result<Vec<Row>, Failure> {
    let found = history.find(name).await?.map(|find| find.runs).unwrap_or_default();
    if found.is_empty() {
        return Err(Failure::usage(format!(
            "{name}: no run, label or commit of this history; `qdiscope history list` shows them"
        )));
    }
    Ok(found)
}

/// `1 run`, `2 runs`
fn count(number: usize, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        let words = error.to_string();
        match error {
            HistoryError::Missing { .. } | HistoryError::Unreadable { .. } => Self::usage(words),
            HistoryError::Newer { .. }
            | HistoryError::Damaged { .. }
            | HistoryError::ReadOnly { .. }
            | HistoryError::Full { .. }
            | HistoryError::Busy { .. }
            | HistoryError::Silent { .. }
            | HistoryError::Database { .. }
            | HistoryError::File { .. } => Self::environment(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        assert_eq!(parse_moment("2026-11-29T12:00:00Z").unwrap().to_string(), "2026-11-29T12:00:00Z");
        assert!(parse_moment("2026-11-29").is_ok());
        let ago = Timestamp::now().duration_since(parse_moment("2h").unwrap());
        assert!((ago.as_secs() - 7_200).abs() < 60, "{ago}");
        assert!(parse_moment("30d").is_ok() && parse_moment("yesterday").is_err());
        assert!(parse_commit("0aF").is_ok() && parse_commit("main").is_err() && parse_commit("").is_err());
    }
}
