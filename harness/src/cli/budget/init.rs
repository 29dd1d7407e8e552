//! `qdiscope budget init`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::budget::{INIT_JSON, INIT_TOML};
use crate::cli::print;
use crate::exit::{Exit, Failure};

/// How a budget is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// With comments
    Toml,
    /// The same targets as JSON
    Json,
}

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Toml)]
    format: Format,
    /// Write it to a file that is not there yet, instead of to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let text = match arguments.format {
        Format::Toml => INIT_TOML,
        Format::Json => INIT_JSON,
    };
    let Some(path) = &arguments.out else { return print(text).map(|()| Exit::Pass) };
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::usage(format!(
            "--out {}: is there already; name another file, or move it away",
            path.display()
        )),
        ErrorKind::NotFound => {
            Failure::usage(format!("--out {}: {error}; name a folder that exists", path.display()))
        }
        _ => Failure::environment(format!("--out {}: {error}", path.display())),
    };
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
        // Half a budget is worse than none, and it is ours: it was not there before.
        let _ = std::fs::remove_file(path);
        return Err(failed(error));
    }
    Ok(Exit::Pass)
}
