//! What is written for CI beside a report: JUnit, Markdown, GitHub's annotations, and figures for github-action-benchmark.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::print;
use crate::exit::Failure;
use crate::report::sheet::{Better, Sheet};
use crate::report::{action_benchmark, annotations, junit, markdown};

/// Options of every command that has a verdict.
#[derive(Args, Default)]
#[command(next_help_heading = "For CI")]
pub(super) struct Outputs {
    /// Write JUnit XML: a case a target; inconclusive ones are errors
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write Markdown, for a pull request
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Print GitHub's annotations (`::error …`), and append the Markdown to `$GITHUB_STEP_SUMMARY` where that is set
    #[arg(long)]
    github: bool,
    /// Write the figures as benchmark-action/github-action-benchmark reads them: FILE for its tool customSmallerIsBetter, and
    /// beside it FILE with `.bigger` before its extension for customBiggerIsBetter
    #[arg(long, value_name = "FILE")]
    benchmark_json: Option<PathBuf>,
}

/// The variable that names the file of a job's summary in GitHub Actions.
const SUMMARY: &str = "GITHUB_STEP_SUMMARY";

impl Outputs {
    /// Whether a folder or a missing one is named, which is told before anything is measured.
    pub(super) fn check(&self) -> Result<(), Failure> {
        for file in [&self.junit, &self.markdown, &self.benchmark_json].into_iter().flatten() {
            let parent = file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
            if file.is_dir() || !parent.is_dir() {
                return Err(Failure::environment(format!(
                    "cannot write {}: {}; name a file in a folder that is there",
                    file.display(),
                    if file.is_dir() { "it is a folder" } else { "there is no such folder" }
                )));
            }
        }
        if let Some(file) = self.benchmark_json.as_ref().filter(|file| file.exists() && !file.is_file()) {
            return Err(Failure::usage(format!(
                "--benchmark-json {}: it is no regular file, and two files are written: name one in a folder",
                file.display()
            )));
        }
        Ok(())
    }

    /// Refuses what a gate, which has verdicts and no figures, cannot write.
    pub(super) fn without_figures(&self) -> Result<(), Failure> {
        match &self.benchmark_json {
            Some(_) => Err(Failure::usage(
                "--benchmark-json: a gate has no figures to follow; give it to `qdiscope report RUN`, also of the run that `gate post` saves"
                    .to_owned(),
            )),
            None => Ok(()),
        }
    }

    /// Writes all that was asked for.
    pub(super) fn write(&self, sheet: &Sheet) -> Result<(), Failure> {
        let encode = |error: &dyn std::fmt::Display| Failure::internal(format!("encode the report: {error}"));
        if let Some(file) = &self.junit {
            write(file, &junit::render(sheet).map_err(|error| encode(&error))?)?;
        }
        if let Some(file) = &self.markdown {
            write(file, &markdown::render(sheet))?;
        }
        if let Some(file) = &self.benchmark_json {
            for (file, better) in [(file.clone(), Better::Smaller), (bigger(file), Better::Bigger)] {
                write(&file, &action_benchmark::render(sheet, better).map_err(|error| encode(&error))?)?;
            }
        }
        if self.github {
            print(&annotations::render(sheet))?;
            if let Some(file) = std::env::var_os(SUMMARY).filter(|file| !file.is_empty()) {
                append(Path::new(&file), &markdown::render(sheet))?;
            }
        }
        Ok(())
    }
}

/// `figures.json` → `figures.bigger.json`
fn bigger(file: &Path) -> PathBuf {
    match file.extension() {
        Some(extension) => {
            let mut last = std::ffi::OsString::from("bigger.");
            last.push(extension);
            file.with_extension(last)
        }
        None => file.with_extension("bigger"),
    }
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    fs::write(file, text).map_err(|error| failed("write", file, &error))
}

fn append(file: &Path, text: &str) -> Result<(), Failure> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| failed("append to", file, &error))
}

fn failed(what: &str, file: &Path, error: &std::io::Error) -> Failure {
    Failure::environment(format!("cannot {what} {}: {error}; name another file", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::report::sheet::fixtures;

    #[test]
    fn each_direction_has_a_file_of_its_own() {
        assert_eq!(bigger(Path::new("a/figures.json")), Path::new("a/figures.bigger.json"));
        assert_eq!(bigger(Path::new("figures")), Path::new("figures.bigger"));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        for file in [folder.path().to_owned(), folder.path().join("none/x.xml")] {
            let outputs = Outputs { junit: Some(file), ..Outputs::default() };
            for failure in [outputs.check().unwrap_err(), outputs.write(&fixtures::sheet()).unwrap_err()] {
                assert_eq!(failure.exit, Exit::Environment);
                assert!(!failure.to_string().contains('\n'), "{failure}");
            }
        }
        let full = Outputs { markdown: Some("/dev/full".into()), ..Outputs::default() };
        full.check().unwrap();
        assert_eq!(full.write(&fixtures::sheet()).unwrap_err().exit, Exit::Environment);
    }
}
