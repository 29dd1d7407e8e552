//! Mounts that only the calling thread and its children see.

use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// Where tracefs belongs.
pub(crate) const TRACEFS: &str = "/sys/kernel/tracing";

/// Gives the calling thread a mount namespace of its own, from which nothing spreads.
pub(crate) fn enter() -> Result<(), Failed> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| format!("unshare(CLONE_NEWNS): {errno}"))?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|errno| format!("make the mounts private: {errno}"))?;
    Ok(())
}

/// Takes away tracefs, if it is mounted here.
pub(crate) fn without_tracefs() -> Result<(), Failed> {
    while Path::new(TRACEFS).join("events").is_dir() {
        umount2(TRACEFS, MntFlags::MNT_DETACH).map_err(|errno| format!("unmount {TRACEFS}: {errno}"))?;
    }
    Ok(())
}

/// A file system in memory, unmounted when it goes out of scope. Needs [`enter`].
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `mount -t tmpfs -o OPTIONS tmpfs PATH`
    pub(crate) fn mount(path: &Path, options: &str) -> Result<Self, Failed> {
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options))
            .map_err(|errno| format!("mount a tmpfs ({options}) on {}: {errno}", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // The namespace goes, and the mount with it, if this fails.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
