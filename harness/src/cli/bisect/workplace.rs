//! A folder of our own among temporary files, which goes with us; and what others left that were killed.
//!
//! A lock (flock(2)) on a file inside says that somebody works there: it ends with its owner, however that ends.

use std::fs::{self, DirEntry, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use tempfile::TempDir;

/// How such folders are named.
const PREFIX: &str = "qdiscope-bisect-";

/// The file that is locked.
const LOCK: &str = "lock";

/// So often a folder is made anew that another takes for abandoned, before it is locked.
const TRIES: u8 = 10;

/// The folder.
pub(super) struct Workplace {
    folder: TempDir,
    /// Held as long as this lives.
    _lock: File,
}

impl Workplace {
    /// Makes one in a folder for temporary files, and removes those there whose owners have gone.
    pub(super) fn new_in(temporary: &Path) -> io::Result<Self> {
        remove_abandoned(temporary);
        for _ in 0..TRIES {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(temporary)?;
            let lock = File::create(folder.path().join(LOCK))?;
            match lock.try_lock() {
                // Another may have locked it, removed it and gone before us.
                Ok(()) if lock.metadata()?.nlink() > 0 => return Ok(Self { folder, _lock: lock }),
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other("others remove it at once"))
    }

    /// A place in it.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// What cannot be removed stays: it is in nobody's way.
fn remove_abandoned(temporary: &Path) {
    let Ok(entries) = fs::read_dir(temporary) else { return };
    for entry in entries.flatten().filter(is_ours) {
        let folder = entry.path();
        // Without the file its owner has only begun.
        let Ok(lock) = File::open(folder.join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// A folder, and no link, of the user that we run as.
fn is_ours(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())
        && entry.metadata().is_ok_and(|of| of.is_dir() && of.uid() == geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_is_removed_and_what_somebody_holds_is_not() {
        let temporary = tempfile::tempdir().unwrap();
        let at_work = Workplace::new_in(temporary.path()).unwrap();
        fs::write(at_work.place("kept"), "").unwrap();
        let abandoned = temporary.path().join("qdiscope-bisect-dead");
        fs::create_dir_all(abandoned.join("reference/target")).unwrap();
        fs::write(abandoned.join(LOCK), "").unwrap();
        let foreign = temporary.path().join("other");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join(LOCK), "").unwrap();
        std::os::unix::fs::symlink(&foreign, temporary.path().join("qdiscope-bisect-link")).unwrap();
        let second = Workplace::new_in(temporary.path()).unwrap();
        assert!(at_work.place("kept").is_file() && foreign.join(LOCK).is_file() && !abandoned.exists());
        let place = second.place("");
        drop(second);
        assert!(!place.exists() && at_work.place("kept").is_file());
    }

    #[test]
    fn many_at_once_all_get_one() {
        let temporary = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let mine = Workplace::new_in(temporary.path()).unwrap();
                        fs::write(mine.place("kept"), "").unwrap();
                        std::thread::yield_now();
                        assert!(mine.place("kept").is_file());
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
}
