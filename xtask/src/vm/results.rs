//! What a guest sent: its tar stream, laid out as files.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    path::{Component, Path},
};

use super::{
    error::{Error, file},
    job::{END, ENDING, End, Ending},
};

/// The files of a guest's tasks are in a folder each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Results {
    /// The tasks that ended.
    pub(super) endings: BTreeMap<String, Ending>,
    /// The last entry: where it is there, all was sent.
    pub(super) end: Option<End>,
}

/// Unpacks a stream, which may break off anywhere, into a folder.
pub(super) fn unpack(stream: &Path, into: &Path) -> Result<Results, Error> {
    let mut results = Results::default();
    let mut archive = tar::Archive::new(File::open(stream).map_err(file(stream))?);
    archive.set_preserve_permissions(false);
    let entries = archive.entries().map_err(file(stream))?;
    // Past the first entry that is not whole there is nothing to be had.
    for mut entry in entries.map_while(Result::ok) {
        let Ok(path) = entry.path().map(std::borrow::Cow::into_owned) else { break };
        if path.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            continue;
        }
        if path == Path::new(END) {
            results.end = serde_json::from_reader(&mut entry).ok();
        } else if path.ends_with(ENDING) && path.components().count() == 2 {
            let mut text = String::new();
            let Ok(ending) = entry.read_to_string(&mut text).map(|_| serde_json::from_str(&text)) else {
                break;
            };
            let task = path.parent().map(|task| task.display().to_string()).unwrap_or_default();
            results.endings.extend(ending.ok().map(|ending| (task, ending)));
        } else {
            let to = into.join(&path);
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).map_err(file(folder))?;
            }
            let kind = entry.header().entry_type();
            // Links could lead out of the folder, and nothing that a guest keeps is one.
            if (kind.is_file() || kind.is_dir()) && entry.unpack(&to).is_err() {
                break;
            }
        }
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::{super::job::How, *};

    fn stream() -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |path: &str, content: &str| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, content.as_bytes()).unwrap();
        };
        add("probes/stdout", "test result: ok");
        add("probes/files/run/result.json", "{}");
        add("probes/ending.json", r#"{"how":{"exit":0},"milliseconds":5}"#);
        add("golden/stdout", &"x".repeat(3000));
        add("golden/ending.json", r#"{"how":{"timed_out":9},"milliseconds":9000}"#);
        add("end.json", r#"{"kernel":"6.1"}"#);
        archive.into_inner().unwrap()
    }

    fn read(bytes: &[u8]) -> (tempfile::TempDir, Results) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.tar");
        fs::write(&path, bytes).unwrap();
        let results = unpack(&path, dir.path()).unwrap();
        (dir, results)
    }

    #[test]
    fn a_whole_stream() {
        let (dir, results) = read(&stream());
        assert_eq!(results.end.as_ref().unwrap().kernel, "6.1");
        assert_eq!(results.endings["probes"].how, How::Exit(0));
        assert_eq!(results.endings["golden"].how, How::TimedOut(9));
        assert_eq!(fs::read_to_string(dir.path().join("probes/stdout")).unwrap(), "test result: ok");
        assert!(dir.path().join("probes/files/run/result.json").is_file());
    }

    #[test]
    fn what_arrived_before_a_break_counts() {
        let whole = stream();
        for length in [0, 100, 512, 2570, 3072, 4096, 5000] {
            let (_dir, results) = read(&whole[..length]);
            assert!(results.end.is_none() && !results.endings.contains_key("golden"), "{length}");
            assert_eq!(results.endings.contains_key("probes"), length >= 3072, "{length}");
        }
    }
}
