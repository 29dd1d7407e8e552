//! Where a measurement is saved: each file whole or not at all, and `scaling.json` last.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use tempfile::NamedTempFile;

use super::model::Scaling;
use crate::exit::Failure;

/// Room for both files, taken before the minutes of work.
const RESERVE_BYTES: i64 = 2 << 20;

/// `--out`.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Has no name, so that it goes with the process.
    reserve: File,
}

impl Folder {
    /// A file is no folder, with or without root.
    pub fn check(path: &Path) -> Result<(), Failure> {
        if path.exists() && !path.is_dir() {
            return Err(Failure::usage(format!("--out {}: is a file; name a folder", path.display())));
        }
        Ok(())
    }

    /// Makes it, and sees that there is room.
    pub fn prepare(path: &Path) -> Result<Self, Failure> {
        let prepare = || {
            fs::create_dir_all(path)?;
            let reserve = tempfile::tempfile_in(path)?;
            match fallocate(&reserve, FallocateFlags::empty(), 0, RESERVE_BYTES) {
                // A file system that cannot promise room will tell when it is written to.
                Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(reserve),
                Err(errno) => Err(errno.into()),
            }
        };
        match prepare() {
            Ok(reserve) => Ok(Self { path: path.to_path_buf(), reserve }),
            Err(error) => Err(failure("prepare", path, &error)),
        }
    }

    /// Writes the picture and the figures; where they are now.
    pub fn save(self, scaling: &Scaling, svg: &str) -> Result<Vec<PathBuf>, Failure> {
        let json = serde_json::to_vec_pretty(scaling)
            .map_err(|error| Failure::internal(format!("encode the measurement: {error}")))?;
        let Self { path, reserve } = self;
        let document = path.join("scaling.json");
        // An earlier measurement's would look like this one's beside the new picture.
        match fs::remove_file(&document) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failure("remove an earlier scaling.json in", &path, &error));
            }
            _ => drop(reserve),
        }
        let mut files = Vec::new();
        for (name, bytes) in [("scaling.svg", svg.as_bytes()), ("scaling.json", &json)] {
            write(&path, name, bytes).map_err(|error| failure(&format!("write {name} in"), &path, &error))?;
            files.push(path.join(name));
        }
        Ok(files)
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(folder.join(name))?;
    Ok(())
}

fn failure(what: &str, path: &Path, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, or name another folder"
        }
        _ => "name another folder",
    };
    Failure::environment(format!("cannot {what} {}: {error}; {advice} with --out", path.display()))
}
