//! What a side's name stands for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::compare::{EXECUTION_VERSION, Execution, Runs};
use crate::store::{ReadError, SavedRun};

/// The document of a saved run.
pub(super) const RESULT: &str = "result.json";

/// The document of a command that was kept.
pub(in crate::cli) const EXECUTION: &str = "execution.json";

/// Why a name stands for nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum SideError {
    /// It is nothing that is there.
    #[error(
        "{name}: no such run; name the folder of a saved run, its result.json, a folder of such folders, or a run, label or commit of the history"
    )]
    Absent { name: String },
    /// The folder has no run.
    #[error("{name}: no saved run in this folder; `qdiscope bench` saves one, each in a folder of its own")]
    Empty { name: String },
    /// It has runs of two kinds.
    #[error(
        "{name}: saved runs of qdiscope and runs of other commands in one folder; they have no metric in common"
    )]
    Mixed { name: String },
    /// A run cannot be read.
    #[error("{0}")]
    Read(#[from] ReadError),
}

/// The runs that a name stands for: those of a folder of run folders, in no order, or the one of a folder or document.
pub(super) fn read(name: &str) -> Result<Runs, SideError> {
    let path = Path::new(name);
    if path.is_file() || document(path).is_some() {
        return read_all(name, &[path.to_owned()]);
    }
    let folders = match folders(path) {
        Ok(folders) => folders,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SideError::Absent { name: name.to_owned() });
        }
        Err(source) => return Err(ReadError::File { path: path.to_owned(), source }.into()),
    };
    if folders.is_empty() {
        return Err(SideError::Empty { name: name.to_owned() });
    }
    read_all(name, &folders)
}

/// Which document makes a folder a run.
fn document(folder: &Path) -> Option<&'static str> {
    [RESULT, EXECUTION].into_iter().find(|name| folder.join(name).is_file())
}

/// The run folders in a folder. A link, as `latest` is one, is a second name of a run.
pub(in crate::cli) fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && document(&entry.path()).is_some() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}

fn read_all(name: &str, paths: &[PathBuf]) -> Result<Runs, SideError> {
    let (mut saved, mut commands) = (Vec::new(), Vec::new());
    for path in paths {
        let is_execution =
            path.file_name().is_some_and(|name| name == EXECUTION) || document(path) == Some(EXECUTION);
        if is_execution {
            commands.push(execution(path)?);
        } else {
            saved.push(SavedRun::read(path)?.result);
        }
    }
    match (saved.is_empty(), commands.is_empty()) {
        (_, true) => Ok(Runs::Saved(saved)),
        (true, false) => Ok(Runs::Commands(commands)),
        (false, false) => Err(SideError::Mixed { name: name.to_owned() }),
    }
}

fn execution(path: &Path) -> Result<Execution, ReadError> {
    let path = if path.is_dir() { path.join(EXECUTION) } else { path.to_owned() };
    let text = fs::read_to_string(&path).map_err(|source| ReadError::File { path: path.clone(), source })?;
    let content = |reason: String| ReadError::Content { path: path.clone(), reason };
    let execution: Execution = serde_json::from_str(&text).map_err(|error| content(error.to_string()))?;
    if execution.schema_version == EXECUTION_VERSION {
        Ok(execution)
    } else {
        Err(content(format!(
            "schema_version {}; this qdiscope reads {EXECUTION_VERSION}",
            execution.schema_version
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::report::model::fixtures;

    fn save(folder: &Path, name: &str) -> PathBuf {
        let folder = folder.join(name);
        fs::create_dir(&folder).unwrap();
        let mut run = fixtures::run();
        run.run_id = name.to_owned();
        fs::write(folder.join(RESULT), serde_json::to_string(&run).unwrap()).unwrap();
        folder
    }

    fn read(path: &Path) -> Result<Vec<String>, String> {
        match super::read(path.to_str().unwrap()) {
            Ok(Runs::Saved(runs)) => Ok(runs.into_iter().map(|run| run.run_id).collect()),
            Ok(Runs::Commands(runs)) => Ok(runs.into_iter().map(|run| run.command).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_run_is_a_folder_a_document_or_one_of_many() {
        let folder = tempfile::tempdir().unwrap();
        let one = save(folder.path(), "one");
        save(folder.path(), "two");
        symlink("two", folder.path().join("latest")).unwrap();
        fs::create_dir(folder.path().join("unfinished")).unwrap();
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        assert_eq!(read(folder.path()).unwrap(), ["one", "two"]);
        assert_eq!(read(&one).unwrap(), ["one"]);
        assert_eq!(read(&one.join(RESULT)).unwrap(), ["one"]);
        assert_eq!(read(&folder.path().join("latest")).unwrap(), ["two"]);
    }

    #[test]
    fn what_is_no_side_is_told_in_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let broken = save(folder.path(), "broken");
        fs::write(broken.join(RESULT), "{").unwrap();
        fs::create_dir(folder.path().join("empty")).unwrap();
        for (name, words) in [
            ("nothing", "no such run"),
            ("empty", "no saved run in this folder"),
            ("broken", "EOF"),
            ("", "EOF"),
        ] {
            let error = read(&folder.path().join(name)).unwrap_err();
            assert!(error.contains(words) && !error.contains('\n'), "{name}: {error}");
        }
    }

    #[test]
    fn runs_of_commands_are_a_kind_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("1");
        fs::create_dir(&place).unwrap();
        let write = |version| {
            let text = format!(
                r#"{{"schema_version": {version}, "id": "1", "command": "sleep 1", "started_at": "2026-11-23T12:00:00Z",
                "kernel": "6.18.0", "cpu": null, "cores": 2, "wall_time_us": 1e6, "cpu_time_us": 900, "peak_rss_bytes": 1}}"#
            );
            fs::write(place.join(EXECUTION), text).unwrap();
        };
        write(1);
        for path in [folder.path(), &place, &place.join(EXECUTION)] {
            assert_eq!(read(path).unwrap(), ["sleep 1"]);
        }
        save(folder.path(), "2");
        assert!(read(folder.path()).unwrap_err().contains("in one folder"));
        write(9);
        assert!(read(&place).unwrap_err().contains("schema_version 9"));
    }
}
