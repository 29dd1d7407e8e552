//! `qdiscope budget check`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::named;
use crate::budget::check;
use crate::cli::print;
use crate::exit::{Exit, Failure};
use crate::report::terminal;
use crate::store::SavedRun;

pub(in crate::cli) const AFTER_HELP: &str = "Exit codes:
    0  every target holds, or warns at most
    2  usage: no such run, or the budget cannot be read
    4  a target is violated: critical
    6  inconclusive: something that a target needs was not measured, or the run was interrupted

The saved verdict is left as it is.";

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The run: its folder, or its result.json
    run: PathBuf,
    /// The budget [default: the built-in one]
    #[arg(long, value_name = "FILE")]
    budget: Option<PathBuf>,
    /// Print a document instead of a table; `qdiscope schema budget-check` prints its schema
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (budget, name) = named(arguments.budget.as_deref())?;
    let mut run = SavedRun::read(&arguments.run)
        .map_err(|error| Failure::usage(format!("{error}; name the folder of a saved run")))?
        .result;
    let (document, judged) = check(&budget, &name, &run);
    let verdict = judged.verdict;
    let text = if arguments.json {
        serde_json::to_string_pretty(&document)
            .map_err(|error| Failure::internal(format!("encode the verdict: {error}")))?
            + "\n"
    } else {
        (run.budget, run.not_judged, run.verdict) = (judged.judgements, judged.not_judged, judged.verdict);
        let mut text = terminal::verdict(&run, false);
        for line in terminal::violations(&run) {
            let _ = writeln!(text, "{line}");
        }
        text
    };
    print(&text)?;
    Ok(Exit::of(verdict))
}
