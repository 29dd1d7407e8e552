//! `qdiscope budget`: what a budget says, and whether a saved run keeps it. Needs no root.

mod check;
mod explain;
mod init;
mod validate;

use std::path::Path;

use clap::Subcommand;

use super::read_file;
use crate::budget::{Budget, Levels, Limit};
use crate::exit::{Exit, Failure};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Print a commented budget: the built-in targets, and three alerts
    #[command(
        after_help = "Exit codes:\n    0  written\n    2  usage: the file is there already\n    3  it cannot be written"
    )]
    Init(init::Arguments),
    /// Say what a budget asks for: each target with its direction, its limit and its levels, and what of it may surprise
    #[command(after_help = "Exit codes:\n    0  it can be read\n    2  it cannot, and why")]
    Validate(validate::Arguments),
    /// Hold a saved run against a budget
    #[command(after_help = check::AFTER_HELP)]
    Check(check::Arguments),
    /// Say what a metric is, where it comes from, when it is inconclusive, and what a budget asks of it
    #[command(
        after_help = "Exit codes:\n    0  explained\n    2  usage: no such metric, or the budget cannot be read"
    )]
    Explain(explain::Arguments),
}

pub(super) fn run(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Init(arguments) => init::run(arguments),
        Command::Validate(arguments) => validate::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
    }
}

/// Reads a budget file: JSON where it is named `.json` or begins with a brace, else TOML. The error names the file.
fn read(path: &Path) -> Result<Budget, String> {
    let refused = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = read_file(path).map_err(|error| refused(&error))?;
    let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let budget = if json { Budget::parse_json(&text) } else { Budget::parse(&text) };
    budget.map_err(|error| refused(&error))
}

/// That of a file, or the built-in one.
pub(in crate::cli) fn named(path: Option<&Path>) -> Result<(Budget, String), Failure> {
    match path {
        None => Ok((Budget::built_in(), "default".into())),
        Some(path) => {
            let budget = read(path).map_err(|error| Failure::usage(format!("--budget {error}")))?;
            Ok((budget, path.display().to_string()))
        }
    }
}

/// Where the levels lie: for warning, and for critical.
fn levels(levels: Levels) -> [String; 2] {
    [levels.warning, levels.critical].map(|level| level.map_or_else(|| "–".into(), Limit::left_words))
}
