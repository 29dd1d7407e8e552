//! `qdiscope baseline`: which runs are as it should be.

mod show;

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use nix::unistd::{Uid, User};

use super::history::StoreArgument;
use super::print;
use crate::baseline::{Baseline, Change, Kind, NoSample, Place, RENEW_AFTER, check, parse_name};
use crate::exit::{Exit, Failure};
use crate::history::{History, Purpose};

pub(super) const AFTER_HELP: &str =
    "A baseline is five runs or more of one environment and one repository that are whole, not inconclusive, and within their budget. What comes
later is held against it: `qdiscope compare baseline:NAME latest`. It renews itself with the newest runs when what is followed has been stable
for a week (--renew-after): it varies by less than 5 %, no regression is open, nothing drifts to the worse, and nothing is more than 5 %
worse than in the runs that a person named last, so that a slow drift is not followed. `show` says what holds it.

Exit codes:
    0  done
    1  internal error
    2  usage: no such baseline, run or label, or runs of several environments
    3  the history cannot be read or written
    6  of the runs too few count";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make one of runs
    #[command(after_help = AFTER_HELP)]
    Create(NameRuns),
    /// Make it of other runs
    #[command(after_help = AFTER_HELP)]
    Promote(NameRuns),
    /// Keep it from renewing itself
    #[command(after_help = AFTER_HELP)]
    Pin(Decision),
    /// Let it renew itself again
    #[command(after_help = AFTER_HELP)]
    Unpin(Decision),
    /// Show its figures, what became of it and why, and what holds its renewal
    #[command(after_help = AFTER_HELP)]
    Show(show::Arguments),
    /// List them
    #[command(after_help = AFTER_HELP)]
    List(show::ListArguments),
}

#[derive(Args)]
pub(super) struct NameRuns {
    /// Its name
    #[arg(value_parser = parse_name)]
    name: String,
    /// Runs, labels, or beginnings of commits' hashes
    #[arg(required = true)]
    run: Vec<String>,
    /// Renew it when what is measured has been stable for so long, as 7d or 36h; `never` [default: 7d, or as before]
    #[arg(long, value_name = "TIME", value_parser = parse_period)]
    renew_after: Option<Period>,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    store: StoreArgument,
}

#[derive(Args)]
pub(super) struct Decision {
    /// The baseline
    #[arg(value_parser = parse_name)]
    name: String,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    store: StoreArgument,
}

/// What is recorded with each change.
#[derive(Args)]
struct Why {
    /// Why; it is kept with the baseline
    #[arg(long, value_name = "TEXT", value_parser = parse_text)]
    reason: String,
    /// Who does it [default: the user who is logged in]
    #[arg(long, value_name = "NAME", value_parser = parse_text)]
    author: Option<String>,
}

/// How long until it renews itself; `None`: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Period(Option<SignedDuration>);

fn parse_period(text: &str) -> Result<Period, String> {
    if text == "never" {
        return Ok(Period(None));
    }
    let span: Span = text.parse().map_err(|_| "give a time, as 7d or 36h, or `never`".to_owned())?;
    let length = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "give days, hours or less: months and years have no length".to_owned())?;
    if length.as_secs() < 1 { Err("give a second or more, as 7d".into()) } else { Ok(Period(Some(length))) }
}

fn parse_text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        Err("give a line of text".into())
    } else {
        Ok(text.to_owned())
    }
}

pub(super) fn run(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Create(arguments) => arguments.store.with(Purpose::Read, async |history| {
            if let Some(there) = history.baselines(Some(&arguments.name)).await?.pop() {
                return Err(Failure::usage(format!(
                    "baseline {}: it is there since {}; `promote` makes it of other runs",
                    there.name,
                    there.changes.first().map_or_else(String::new, |first| day(first.at))
                )));
            }
            let period = arguments.renew_after.unwrap_or(Period(Some(RENEW_AFTER)));
            named(arguments, history, Kind::Create, 1, period).await
        })?,
        Command::Promote(arguments) => arguments.store.with(Purpose::Read, async |history| {
            let there = baseline(history, &arguments.name).await?;
            let period = arguments.renew_after.unwrap_or(Period(there.renew_after()));
            named(arguments, history, Kind::Promote, there.next(), period).await
        })?,
        Command::Pin(decision) => decide(decision, Kind::Pin)?,
        Command::Unpin(decision) => decide(decision, Kind::Unpin)?,
        Command::Show(arguments) => show::show(arguments)?,
        Command::List(arguments) => show::list(arguments)?,
    }
    Ok(Exit::Pass)
}

/// A change that names runs.
async fn named(
    arguments: &NameRuns,
    history: &mut History,
    kind: Kind,
    number: i64,
    period: Period,
) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for name in &arguments.run {
        rows.extend(super::history::named(history, name).await?);
    }
    let (runs, place) = check(&rows).map_err(|error| match error {
        NoSample::TooFew { .. } => Failure::inconclusive(error.to_string()),
        NoSample::Unlike(..) => Failure::usage(format!("{error}; `qdiscope history list` shows them")),
    })?;
    let change = arguments.why.change(
        number,
        kind,
        period.0.map(|period| period.as_secs()),
        runs.iter().map(|run| run.id.clone()).collect(),
    );
    add(history, &arguments.name, &place, &change).await?;
    let mut text =
        format!("baseline {}: {} runs of environment {}\n", arguments.name, runs.len(), place.environment);
    if rows.len() > runs.len() {
        let _ =
            writeln!(text, "left out: {} that do not count, or were named twice", rows.len() - runs.len());
    }
    print(&text)
}

fn decide(decision: &Decision, kind: Kind) -> Result<(), Failure> {
    decision.store.with(Purpose::Read, async |history| {
        let there = baseline(history, &decision.name).await?;
        if there.pinned == (kind == Kind::Pin) {
            let word = if there.pinned { "pinned already" } else { "not pinned" };
            return Err(Failure::usage(format!("baseline {}: it is {word}", there.name)));
        }
        let change = decision.why.change(there.next(), kind, there.renew_after_s, Vec::new());
        add(history, &there.name, &there.place, &change).await?;
        print(&format!(
            "baseline {}: {}\n",
            there.name,
            if kind == Kind::Pin { "pinned" } else { "unpinned" }
        ))
    })
}

async fn add(history: &mut History, name: &str, place: &Place, change: &Change) -> Result<(), Failure> {
    if history.change_baseline(name, place, change).await? {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "baseline {name}: somebody else has changed it just now; look at it with `qdiscope baseline show`, and try again"
    )))
}

impl Why {
    fn change(&self, number: i64, kind: Kind, renew_after_s: Option<i64>, runs: Vec<String>) -> Change {
        Change {
            number,
            at: Timestamp::now(),
            kind,
            reason: self.reason.clone(),
            author: self.author.clone().unwrap_or_else(user),
            renew_after_s,
            runs,
        }
    }
}

/// The user who started this, behind sudo as well.
fn user() -> String {
    let behind_sudo = std::env::var("SUDO_USER").ok().filter(|_| Uid::effective().is_root());
    behind_sudo
        .or_else(|| User::from_uid(Uid::current()).ok().flatten().map(|user| user.name))
        .unwrap_or_else(|| format!("user {}", Uid::current()))
}

async fn baseline(history: &mut History, name: &str) -> Result<Baseline, Failure> {
    if let Some(baseline) = history.baselines(Some(name)).await?.pop() {
        return Ok(baseline);
    }
    let known: Vec<String> = history.baselines(None).await?.into_iter().map(|other| other.name).collect();
    let advice = match (crate::budget::near(name, &known), &known[..]) {
        (Some(near), _) => format!("did you mean {near:?}?"),
        (None, []) => "`qdiscope baseline create` makes one".to_owned(),
        (None, known) => format!("there are {}", known.join(", ")),
    };
    Err(Failure::usage(format!("{name:?}: no baseline of this history; {advice}")))
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_a_length_of_time() {
        assert_eq!(parse_period("7d"), Ok(Period(Some(RENEW_AFTER))));
        assert_eq!(parse_period("36h"), Ok(Period(Some(SignedDuration::from_hours(36)))));
        assert_eq!(parse_period("2w"), Ok(Period(Some(SignedDuration::from_hours(24 * 14)))));
        assert_eq!(parse_period("never"), Ok(Period(None)));
        for nonsense in ["", "7", "0s", "-7d", "1mo", "forever", "100ms"] {
            assert!(parse_period(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_reason_is_a_line() {
        assert!(parse_text("release 1.4").is_ok());
        assert!(parse_text(" ").is_err() && parse_text("a\nb").is_err());
        assert!(!user().is_empty());
    }
}
