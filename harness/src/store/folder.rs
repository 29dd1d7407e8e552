//! A folder of files that belong together.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::exit::Failure;

/// A file is no folder, with or without root.
pub fn check_folder(folder: &Path) -> Result<(), Failure> {
    if folder.exists() && !folder.is_dir() {
        return Err(Failure::usage(format!("--out {}: is a file; name a folder", folder.display())));
    }
    Ok(())
}

/// Writes `files`, each whole or not at all, into `folder`, which is made if need be. Those of `names` that are not among them and were
/// there before are removed: they would be taken for these ones'.
pub fn write_folder(folder: &Path, files: &[(&str, Vec<u8>)], names: &[&str]) -> Result<(), Failure> {
    let failed = |what: &str, error: &io::Error| {
        Failure::environment(format!(
            "cannot {what} {}: {error}; name another folder with --out",
            folder.display()
        ))
    };
    check_folder(folder)?;
    fs::create_dir_all(folder).map_err(|error| failed("make", &error))?;
    for (name, bytes) in files {
        write(folder, name, bytes).map_err(|error| failed(&format!("write {name} in"), &error))?;
    }
    for name in names.iter().filter(|name| files.iter().all(|(written, _)| written != *name)) {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&format!("remove an earlier {name} in"), &error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.persist(folder.join(name))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_ones_files_do_not_stay_and_others_do() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("old.svg"), "old").unwrap();
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        write_folder(folder.path(), &[("new.html", b"new".to_vec())], &["new.html", "old.svg"]).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["new.html", "notes.txt"]);
    }
}
