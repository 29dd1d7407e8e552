//! `qdiscope report`.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;

use super::outputs::Outputs;
use super::print;
use crate::exit::{Exit, Failure};
use crate::report::sheet::Sheet;
use crate::report::terminal;
use crate::store::SavedRun;

/// Shows a saved run again, as `bench` has shown it, and writes it for CI. Nothing is measured; needs no root.
#[derive(Args)]
pub(super) struct Arguments {
    /// The run: its folder, or its result.json
    run: PathBuf,
    /// Print nothing but what `--github` prints
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    outputs: Outputs,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let run = SavedRun::read(&arguments.run)
        .map_err(|error| Failure::usage(format!("{error}; name the folder of a saved run")))?
        .result;
    if !arguments.quiet {
        let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let mut text = terminal::render(&run, color);
        for line in terminal::violations(&run) {
            text.push_str(&line);
            text.push('\n');
        }
        print(&text)?;
    }
    arguments.outputs.write(&Sheet::of_run(&run))?;
    Ok(Exit::Pass)
}
