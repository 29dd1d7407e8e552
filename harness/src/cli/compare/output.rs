//! Where a comparison is written: a table, Markdown, JSON.

use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::print;
use crate::compare::model::Comparison;
use crate::compare::{markdown, table};
use crate::exit::Failure;

#[derive(Args)]
pub(super) struct Outputs {
    /// Write the comparison as JSON (`qdiscope schema compare`); `-`: to standard output, instead of the table
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
    /// Write it as Markdown, for a pull request; `-`: to standard output, instead of the table
    #[arg(long, value_name = "FILE|-")]
    markdown: Option<PathBuf>,
}

fn is_output(file: &Path) -> bool {
    file.as_os_str() == "-"
}

impl Outputs {
    /// Whether everything can be written as far as names tell, which is told before anything is measured.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let files = || [&self.json, &self.markdown].into_iter().flatten();
        if files().filter(|file| is_output(file)).count() > 1 {
            return Err(Failure::usage("--json - and --markdown -: only one of them can be standard output"));
        }
        for file in files().filter(|file| !is_output(file)) {
            let parent = file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
            if file.is_dir() || !parent.is_dir() {
                return Err(Failure::environment(format!(
                    "cannot write {}: {}; name a file in a folder that is there",
                    file.display(),
                    if file.is_dir() { "it is a folder" } else { "there is no such folder" }
                )));
            }
        }
        Ok(())
    }

    /// Writes all that was asked for, and the table.
    pub(super) fn show(&self, comparison: &Comparison) -> Result<(), Failure> {
        let json = || {
            serde_json::to_string_pretty(comparison)
                .map(|json| json + "\n")
                .map_err(|error| Failure::internal(format!("encode the comparison: {error}")))
        };
        let mut shown = false;
        if let Some(file) = &self.json {
            shown |= write(file, &json()?)?;
        }
        if let Some(file) = &self.markdown {
            shown |= write(file, &markdown::render(comparison))?;
        }
        if shown {
            return Ok(());
        }
        let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        print(&table::render(comparison, color))
    }
}

/// Says whether it was to standard output.
fn write(file: &Path, text: &str) -> Result<bool, Failure> {
    if is_output(file) {
        return print(text).map(|()| true);
    }
    fs::write(file, text).map(|()| false).map_err(|error| {
        Failure::environment(format!("cannot write {}: {error}; name another file", file.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn checked(json: &str, markdown: &str) -> Option<Exit> {
        let outputs = Outputs { json: Some(json.into()), markdown: Some(markdown.into()) };
        outputs.check().err().map(|failure| failure.exit)
    }

    #[test]
    fn what_cannot_be_written_is_told_first() {
        assert_eq!(checked("-", "-"), Some(Exit::Usage));
        assert_eq!(checked("-", "/nowhere/x.md"), Some(Exit::Environment));
        assert_eq!(checked("/", "-"), Some(Exit::Environment));
        assert_eq!(checked("-", "x.md"), None);
    }
}
