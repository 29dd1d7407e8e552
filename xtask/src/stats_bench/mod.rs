//! `cargo xtask stats-bench`: how often `qdiscope`'s statistics are wrong, and what they find.

mod goals;
mod noise;
mod protocol;

use std::{io, panic::resume_unwind, process::ExitCode, thread};

use comfy_table::{CellAlignment, LineStyle, Table, presets::UTF8_HORIZONTAL_ONLY};

use self::{
    goals::{Cases, Goal, Mode, Row, Standing, of_pairs, of_series},
    protocol::Statistics,
};
use crate::{cargo::Workspace, error::Error as TaskError};

/// Score the statistics on generated cases whose truth is known: false alarms, and changes that are found, beside their goals.
///
/// Builds qdiscope for release and asks `qdiscope stats changes` and `qdiscope stats compare`. A share that misses its goal by no more than
/// twice its standard error is marked by ~, and one that misses it by more, by !.
///
/// Exit code 1: with --check-goals, a goal is missed (!).
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Another number, other cases.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Cases of each kind. Of 300, a share of 2 % has a standard error of 0.8 %.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: u32,
    /// Fail where a goal is missed by more than chance.
    #[arg(long)]
    check_goals: bool,
}

/// Why the statistics could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Task(#[from] TaskError),
    #[error("start `qdiscope stats {words}`: {source}")]
    Start { words: String, source: io::Error },
    #[error("`qdiscope stats {words}` does not listen any more: {source}")]
    Broken { words: String, source: io::Error },
    #[error("`qdiscope stats {words}` answered: {answer}")]
    Answer { words: String, answer: String },
}

impl Error {
    fn answer(words: &str, answer: &str) -> Self {
        Self::Answer { words: words.to_owned(), answer: answer.to_owned() }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Task(error) => error.exit_code(),
            _ => 1,
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    let qdiscope = Workspace::load()?.build_qdiscope()?;
    let cases = Cases { seed: options.seed, repetitions: options.repetitions };
    let pairs = |mode: Mode| of_pairs(&cases, &mut Statistics::start(&qdiscope, mode.words())?, mode);
    let groups = thread::scope(|scope| {
        let scored = [
            (
                "Change points in a series",
                scope.spawn(|| of_series(&cases, &mut Statistics::start(&qdiscope, "changes --stdio")?)),
            ),
            ("Two sides, the order of measuring unknown", scope.spawn(|| pairs(Mode::Usual))),
            ("Two sides, measured in turns (--interleaved)", scope.spawn(|| pairs(Mode::Interleaved))),
            ("Two sides, the order unknown, --strict", scope.spawn(|| pairs(Mode::Strict))),
        ];
        scored.map(|(title, rows)| (title, rows.join().unwrap_or_else(|panic| resume_unwind(panic))))
    });
    let groups: Vec<_> =
        groups.into_iter().map(|(title, rows)| Ok((title, rows?))).collect::<Result<_, Error>>()?;
    println!("{} cases of each kind, seed {}", options.repetitions, options.seed);
    for (title, rows) in &groups {
        println!("\n{title}\n{}", table(rows));
    }
    let missed =
        groups.iter().flat_map(|(_, rows)| rows).filter(|row| row.standing() == Standing::Missed).count();
    println!("\ngoals missed by more than chance: {missed}");
    Ok(if options.check_goals && missed > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()))
        .set_header(["share of", "cases", "goal", "measured", ""]);
    for row in rows {
        let goal = match row.goal {
            Goal::AtMost(most) => format!("≤ {most}"),
            Goal::AtLeast(least) => format!("≥ {least}"),
        };
        let mark = match row.standing() {
            Standing::Reached => "",
            Standing::WithinChance => "~",
            Standing::Missed => "!",
        };
        table.add_row([
            row.what.clone(),
            row.cases.to_string(),
            goal,
            format!("{:.3}", row.share),
            mark.into(),
        ]);
    }
    for column in 1..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
