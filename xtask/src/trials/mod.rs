//! `cargo xtask trials`: whether `qdiscope`'s verdicts hold on real runs, where `stats-bench` has generated values.

mod alike;
mod binomial;
mod calibration;
mod comparison;
mod error;
mod history;
mod instrument;
mod slower;
mod standing;

use std::process::ExitCode;

pub(crate) use error::Error;

/// Try the verdicts on real runs of this machine: the same against itself, a slowdown that is known, a history with a bad commit.
///
/// Builds qdiscope for release with the feature fault-injection, in a target folder of its own (target/trials), and runs it as root.
/// The machine should have nothing else to do meanwhile.
///
/// Exit codes: 0 every goal is reached; 1 one is missed or cannot be told, or something failed; 3 root is needed and could not be had; 130 interrupted,
/// with what was found until then.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    trial: Trial,
}

#[derive(clap::Subcommand)]
enum Trial {
    Alike(alike::Options),
    Slower(slower::Options),
    History(history::Options),
}

/// Of what a signal ended early.
const INTERRUPTED: u8 = 130;

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    match &options.trial {
        Trial::Alike(options) => alike::run(options),
        Trial::Slower(options) => slower::run(options),
        Trial::History(options) => history::run(options),
    }
}
