//! Reading a run that was saved.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::profile::STACK_SVGS;
use crate::report::model::{RunResult, SCHEMA_VERSION, SlowRequest};
use crate::spans::Spans;

/// No run's document is nearly as large; another file may be.
const MOST_BYTES: u64 = 256 << 20;

/// A run from its folder.
#[derive(Debug)]
pub struct SavedRun {
    /// The folder.
    pub path: PathBuf,
    /// `result.json`
    pub result: RunResult,
    /// The slowest requests, by workload and mode (`htb-class-closed`); empty where probes did not watch.
    pub slowest: BTreeMap<String, Vec<SlowRequest>>,
    /// What qdiscope was at, step by step; empty in runs from before that was kept.
    pub spans: Spans,
    /// The kernel's stacks, folded.
    pub kernel_folded: Option<String>,
    /// Flamegraphs.
    pub kernel_svg: Option<String>,
    /// Of our own process.
    pub user_svg: Option<String>,
    /// Flamegraphs of where threads were, by their files' names; empty where that was not asked for.
    pub stack_svgs: BTreeMap<&'static str, String>,
    /// What it allocated, where that was asked for.
    pub heap_svg: Option<String>,
}

/// Why a run cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such folder or file, or it cannot be read.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no document of ours.
    #[error("{}: no saved run: {reason}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl SavedRun {
    /// Reads the run in a folder, or the one that a `result.json` belongs to.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where there is no `result.json` of this version, or another file of the run is there and cannot be read.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let folder = match path.parent() {
            Some(parent) if path.file_name().is_some_and(|name| name == "result.json") => parent,
            _ => path,
        };
        let document = folder.join("result.json");
        let content = |path: &Path, reason: String| ReadError::Content { path: path.to_owned(), reason };
        let text = read(&document)?;
        let version = serde_json::from_str::<serde_json::Value>(&text)
            .map_err(|error| content(&document, error.to_string()))?["schema_version"]
            .clone();
        if version != SCHEMA_VERSION {
            return Err(content(
                &document,
                format!("schema_version {version}; this qdiscope reads {SCHEMA_VERSION}"),
            ));
        }
        let result = serde_json::from_str(&text).map_err(|error| content(&document, error.to_string()))?;
        Ok(Self {
            slowest: optional_document(&folder.join("slowest.json"))?,
            spans: optional_document(&folder.join("spans.json"))?,
            kernel_folded: optional(&folder.join("kernel.folded"))?,
            kernel_svg: optional(&folder.join("kernel.svg"))?,
            stack_svgs: stack_svgs(folder)?,
            user_svg: optional(&folder.join("user.svg"))?,
            heap_svg: optional(&folder.join("heap.svg"))?,
            path: folder.to_owned(),
            result,
        })
    }
}

fn stack_svgs(folder: &Path) -> Result<BTreeMap<&'static str, String>, ReadError> {
    let mut svgs = BTreeMap::new();
    for name in STACK_SVGS {
        if let Some(svg) = optional(&folder.join(name))? {
            svgs.insert(name, svg);
        }
    }
    Ok(svgs)
}

/// A file that may be absent.
fn optional_document<T: DeserializeOwned + Default>(path: &Path) -> Result<T, ReadError> {
    let Some(text) = optional(path)? else { return Ok(T::default()) };
    serde_json::from_str(&text)
        .map_err(|error| ReadError::Content { path: path.to_owned(), reason: error.to_string() })
}

fn optional(path: &Path) -> Result<Option<String>, ReadError> {
    match read(path) {
        Err(ReadError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        outcome => outcome.map(Some),
    }
}

fn read(path: &Path) -> Result<String, ReadError> {
    let failed = |source| ReadError::File { path: path.to_owned(), source };
    let mut text = String::new();
    let read = File::open(path)
        .and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text))
        .map_err(failed)?;
    if read as u64 > MOST_BYTES {
        return Err(failed(io::Error::other("too large for a file of a run")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::report::model::fixtures;

    #[test]
    fn a_run_without_its_other_files_is_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let document = folder.path().join("result.json");
        fs::write(&document, serde_json::to_string(&fixtures::run()).unwrap()).unwrap();
        for path in [folder.path(), &document] {
            let run = SavedRun::read(path).unwrap();
            assert_eq!(
                (run.result.run_id.as_str(), run.path.as_path()),
                (fixtures::run().run_id.as_str(), folder.path())
            );
            assert!(run.kernel_svg.is_none() && run.slowest.is_empty());
        }
    }

    #[test]
    fn what_is_no_run_is_told_in_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let document = folder.path().join("result.json");
        assert!(SavedRun::read(folder.path()).unwrap_err().to_string().contains("result.json: No such file"));
        for (text, word) in [
            ("{", "EOF"),
            ("{}", "schema_version null"),
            ("{\"schema_version\": 99}", "99"),
            ("{\"schema_version\": 1}", "missing field"),
        ] {
            fs::write(&document, text).unwrap();
            let error = SavedRun::read(folder.path()).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains('\n'), "{error}");
        }
        fs::write(&document, serde_json::to_string(&fixtures::run()).unwrap()).unwrap();
        fs::write(folder.path().join("slowest.json"), "[]").unwrap();
        assert!(
            SavedRun::read(folder.path()).unwrap_err().to_string().contains("slowest.json: no saved run")
        );
    }
}
