//! Little memory: a cgroup of the run's own, with a limit, for a time.
//!
//! Allocating does not fail then: the kernel kills who wants more (`proc_pid_oom_score(5)`), which is what a container's limit does, and
//! the run ends by signal 9. Memory of before stays charged where it was charged, and does not count.
//!
//! A cgroup outlives its processes. So it is made and removed by a child (`qdiscope cgroup-keeper`, hidden), which ends after us, also
//! where we are killed.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{process, thread};

use procfs::process::{MountInfo, Process};
use procfs::{ProcError, ProcessCGroup};

use super::DisturbError;
use super::child::Helper;
use super::description::bytes_of;

const HINT: &str = "a limit of memory needs root, and a writable cgroup hierarchy with the memory controller";

/// A process that has been killed leaves its cgroup when its memory has been freed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A place where a cgroup with a limit can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// The folder in which it is made.
    parent: PathBuf,
    /// The folder of the cgroup that we are in.
    ours: PathBuf,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    fn limit(self) -> &'static str {
        match self {
            Self::One => "memory.limit_in_bytes",
            Self::Two => "memory.max",
        }
    }
}

/// A cgroup that is ready, and that we are not in yet.
pub struct MemoryLimit {
    _keeper: Helper,
    folder: PathBuf,
    ours: PathBuf,
}

impl MemoryLimit {
    /// Makes a cgroup with this limit, below ours or beside it.
    pub fn prepare(limit_mib: u64) -> Result<Self, DisturbError> {
        let unavailable = |what: &str| DisturbError::unavailable(what.to_owned(), HINT);
        let limit =
            bytes_of(limit_mib).ok_or_else(|| unavailable("a limit")(io::Error::other("too large")))?;
        let places = here().map_err(|error| unavailable("find cgroups")(io::Error::other(error)))?;
        let none = || unavailable("find cgroups")(io::Error::other("none has the memory controller"));
        let mut last = none();
        for Place { parent, ours, version } in places {
            // Ours is the only process with this id that is alive, in its PID namespace; a name that is taken is refused.
            let folder = parent.join(format!("qdiscope-{}", process::id()));
            let mut keeper = Helper::start(
                "keeper of the cgroup",
                &["cgroup-keeper".into(), folder.to_string_lossy().into_owned()],
            )?;
            match keeper.word::<Result<(), String>>()? {
                Ok(()) => {}
                Err(reason) => {
                    last = unavailable(&format!("create {}", folder.display()))(io::Error::other(reason));
                    continue;
                }
            }
            let file = folder.join(version.limit());
            match fs::write(&file, limit.to_string()) {
                Ok(()) => return Ok(Self { _keeper: keeper, folder, ours }),
                Err(error) => last = unavailable(&format!("write {}", file.display()))(error),
            }
        }
        Err(last)
    }

    /// Moves this process there, with all its threads.
    pub fn begin(&self) -> Result<(), DisturbError> {
        enter(&self.folder).map_err(DisturbError::failed(format!("move to {}", self.folder.display())))
    }

    /// Moves it back, and waits until the cgroup is gone.
    pub fn end(self) -> Result<(), DisturbError> {
        let back = enter(&self.ours);
        back.map_err(DisturbError::failed(format!("move back to {}", self.ours.display())))
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // Before the keeper is waited for, who waits for us.
        let _ = enter(&self.ours);
    }
}

fn enter(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), process::id().to_string())
}

/// Where one can be made, most likely first.
fn here() -> Result<Vec<Place>, ProcError> {
    let myself = Process::myself()?;
    Ok(places(&myself.cgroups()?.0, &myself.mountinfo()?.0))
}

/// Pure. With version 2, processes live in leaves only, unless at the root: so below ours, where that is the root, and else beside it.
fn places(cgroups: &[ProcessCGroup], mounts: &[MountInfo]) -> Vec<Place> {
    let mounted = |mount: &&MountInfo, version| match version {
        Version::One => mount.fs_type == "cgroup" && mount.super_options.contains_key("memory"),
        Version::Two => mount.fs_type == "cgroup2",
    };
    let mut places = Vec::new();
    for (version, is_it) in [
        (
            Version::One,
            (|cgroup| cgroup.controllers.iter().any(|name| name == "memory")) as fn(&ProcessCGroup) -> bool,
        ),
        (Version::Two, |cgroup| cgroup.hierarchy == 0),
    ] {
        let Some(cgroup) = cgroups.iter().find(|cgroup| is_it(cgroup)) else { continue };
        for mount in mounts.iter().filter(|mount| mounted(mount, version)) {
            // A container sees a part of the hierarchy only.
            let Ok(path) = Path::new(&cgroup.pathname).strip_prefix(&mount.root) else { continue };
            let ours = mount.mount_point.join(path);
            let parent = match version {
                Version::Two if path.parent().is_some() => ours.parent().unwrap_or(&ours).to_owned(),
                _ => ours.clone(),
            };
            places.push(Place { parent, ours, version });
        }
    }
    places
}

/// Is the keeper: makes the cgroup, and removes it when standard input has ended and nobody is in it any more.
pub fn keep(folder: &Path) {
    let made = fs::create_dir(folder);
    let word = made.as_ref().map_err(ToString::to_string).copied();
    let said = serde_json::to_string(&word).map(|line| writeln!(io::stdout(), "{line}"));
    if made.is_err() {
        return;
    }
    if matches!(said, Ok(Ok(()))) {
        let _ = io::copy(&mut io::stdin().by_ref(), &mut io::sink());
    }
    let step = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    while fs::remove_dir(folder).is_err() && waited < PATIENCE {
        thread::sleep(step);
        waited += step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(text: &str) -> Vec<MountInfo> {
        text.lines().map(|line| MountInfo::from_line(line).unwrap()).collect()
    }

    fn cgroup(hierarchy: u32, controllers: &[&str], pathname: &str) -> ProcessCGroup {
        let controllers = controllers.iter().map(ToString::to_string).collect();
        ProcessCGroup { hierarchy, controllers, pathname: pathname.into() }
    }

    #[test]
    fn the_hierarchy_with_the_memory_controller_is_found() {
        let mixed = mounts(
            "30 24 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
31 24 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 24 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw",
        );
        let cgroups = [cgroup(4, &["memory"], "/a/b"), cgroup(3, &["cpu"], "/"), cgroup(0, &[], "/")];
        let found = places(&cgroups, &mixed);
        let (first, second) = (&found[0], &found[1]);
        assert_eq!((&first.parent, first.version), (&"/sys/fs/cgroup/memory/a/b".into(), Version::One));
        assert_eq!((&second.parent, second.version), (&"/sys/fs/cgroup/unified".into(), Version::Two));
        assert_eq!(places(&cgroups[1..2], &mixed), []);
    }

    #[test]
    fn with_version_two_it_is_beside_ours() {
        let unified = mounts("30 24 0:26 /box /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw");
        let found = places(&[cgroup(0, &[], "/box/user.slice/session-1.scope")], &unified);
        let expected = Place {
            parent: "/sys/fs/cgroup/user.slice".into(),
            ours: "/sys/fs/cgroup/user.slice/session-1.scope".into(),
            version: Version::Two,
        };
        assert_eq!(found, [expected]);
        assert_eq!(places(&[cgroup(0, &[], "/elsewhere")], &unified), [], "not to be seen from here");
    }
}
