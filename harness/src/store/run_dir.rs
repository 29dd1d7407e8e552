//! A run's folder. `result.json` appears last and whole, or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, Flock, FlockArg, fallocate};
use tempfile::NamedTempFile;

use crate::exit::Failure;
use crate::profile::STACK_FILES;

/// The document that makes a folder a run.
const RESULT: &str = "result.json";

/// Room for a run's files, taken before the run: a full disk is reported before the minute of work, not after.
const RESERVE_BYTES: i64 = 8 << 20;

/// Everything that a run may leave in its folder, but for [`STACK_FILES`]. An earlier run's files are removed before the first of this one's is written, so
/// that none of them is taken for this one's; until then the earlier run is whole.
const FILES: [&str; 13] = [
    RESULT,
    "latency.hdr",
    "slowest.json",
    "spans.json",
    "timeline.json",
    "timeline.svg",
    "cpu.pb.gz",
    "user.svg",
    "heap.pb.gz",
    "heap.svg",
    "kernel.svg",
    "kernel.folded",
    "result.json.tmp",
];

fn files() -> impl Iterator<Item = &'static str> {
    FILES.into_iter().chain(STACK_FILES)
}

/// Where a run is saved.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    run_id: String,
    /// The folder in which `latest` points here; only for runs in the default place.
    parent: Option<PathBuf>,
    /// The user behind sudo, to whom the files are given.
    owner: Option<(u32, u32)>,
    /// A file without a name that holds [`RESERVE_BYTES`] until the first real one is written, or the process dies.
    reserve: Option<File>,
    /// An earlier run's files are gone.
    cleared: bool,
    /// Two runs in one folder would mix their files.
    lock: Option<Flock<File>>,
}

impl RunDir {
    /// Prepares `out`, or a folder named `run_id` among those of earlier runs.
    pub fn create(out: Option<&Path>, run_id: String) -> Result<Self, Failure> {
        let (path, parent) = if let Some(out) = out {
            (out.to_path_buf(), None)
        } else {
            let target = std::env::var_os("QDISCOPE_TARGET_DIR").unwrap_or_else(|| "target".into());
            let parent = Path::new(&target).join("qdiscope");
            (parent.join(&run_id), Some(parent))
        };
        if path.exists() && !path.is_dir() {
            return Err(Failure::usage(format!("--out {}: is a file; name a folder", path.display())));
        }
        let mut dir =
            Self { path, run_id, parent, owner: sudo_user(), reserve: None, cleared: false, lock: None };
        match dir.prepare() {
            Ok(()) => Ok(dir),
            Err(error) => Err(dir.failure("prepare", &error)),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run's name.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    fn prepare(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        // On the folder itself: there is no file that could be left behind.
        self.lock = Some(Flock::lock(File::open(&self.path)?, FlockArg::LockExclusiveNonblock).map_err(
            |(_, errno)| match errno {
                Errno::EWOULDBLOCK => io::Error::other("another run is being saved there"),
                errno => errno.into(),
            },
        )?);
        let reserve = tempfile::tempfile_in(&self.path)?;
        match fallocate(&reserve, FallocateFlags::empty(), 0, RESERVE_BYTES) {
            // A file system that cannot promise room will tell when it is written to.
            Ok(()) | Err(Errno::EOPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.reserve = Some(reserve);
        Ok(())
    }

    /// Removes an earlier run's files, `result.json` first: without it the rest is no run. Once: what this run has written stays.
    pub fn clear(&mut self) -> Result<(), Failure> {
        if std::mem::replace(&mut self.cleared, true) {
            return Ok(());
        }
        for name in files() {
            match fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.failure(&format!("remove an earlier {name} in"), &error));
                }
                _ => {}
            }
        }
        self.reserve = None;
        Ok(())
    }

    /// Writes `bytes` under `name`: whole, or not at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.write_atomically(name, bytes).map_err(|error| self.failure(&format!("write {name} in"), &error))
    }

    fn write_atomically(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.path)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(permissions)?;
        file.persist(self.path.join(name))?;
        Ok(())
    }

    /// After the last file: the `latest` link, and ownership. The run is saved already, whatever becomes of these.
    pub fn finish(&self) {
        if let Err(error) = self.link_latest() {
            tracing::warn!("cannot link `latest` to {}: {error}", self.path.display());
        }
        if let Some((user, group)) = self.owner {
            let mut mine = vec![self.path.clone()];
            mine.extend(files().map(|name| self.path.join(name)).filter(|file| file.exists()));
            mine.extend(self.parent.clone());
            for path in mine {
                // The run is saved; who owns it is a courtesy.
                let _ = chown(path, Some(user), Some(group));
            }
        }
    }

    fn link_latest(&self) -> io::Result<()> {
        let Some(parent) = &self.parent else { return Ok(()) };
        // A link cannot be replaced, but it can be renamed over.
        let fresh = parent.join(format!(".latest-{}", self.run_id));
        symlink(&self.run_id, &fresh)?;
        fs::rename(&fresh, parent.join("latest")).inspect_err(|_| {
            let _ = fs::remove_file(&fresh);
        })
    }

    fn failure(&self, what: &str, error: &io::Error) -> Failure {
        let advice = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "free some space, or name another folder"
            }
            _ => "name another folder",
        };
        Failure::environment(format!("cannot {what} {}: {error}; {advice} with --out", self.path.display()))
    }
}

fn sudo_user() -> Option<(u32, u32)> {
    let id = |name: &str| std::env::var(name).ok()?.parse().ok();
    nix::unistd::geteuid().is_root().then_some(())?;
    Some((id("SUDO_UID")?, id("SUDO_GID")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn files_appear_whole_and_room_for_them_is_held_without_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let mut dir = RunDir::create(Some(&out), "id".into()).unwrap();
        let reserved = dir.reserve.as_ref().unwrap().metadata().unwrap().len();
        assert_eq!(reserved, RESERVE_BYTES.cast_unsigned());
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
        dir.clear().unwrap();
        dir.write(RESULT, b"{}").unwrap();
        dir.finish();
        let names: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [RESULT]);
    }

    #[test]
    fn an_earlier_runs_files_are_not_mistaken_for_this_ones() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("kernel.svg"), "old").unwrap();
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        let mut dir = RunDir::create(Some(folder.path()), "id".into()).unwrap();
        assert!(folder.path().join("kernel.svg").exists(), "until there is something to put in its place");
        dir.clear().unwrap();
        assert!(!folder.path().join("kernel.svg").exists());
        assert!(folder.path().join("notes.txt").exists());
    }

    #[test]
    fn two_runs_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = RunDir::create(Some(folder.path()), "1".into()).unwrap();
        let failure = RunDir::create(Some(folder.path()), "2".into()).unwrap_err();
        assert!(failure.to_string().contains("another run"), "{failure}");
        drop(first);
        RunDir::create(Some(folder.path()), "3".into()).unwrap();
    }

    #[test]
    fn a_file_is_no_folder() {
        let file = NamedTempFile::new().unwrap();
        let failure = RunDir::create(Some(file.path()), "id".into()).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
    }
}
