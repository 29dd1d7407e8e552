//! Memory: files in it, and giving it back.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// The root of a file system in memory that has no name anywhere and ends with its last descriptor, and so with the process at the
/// latest (fsopen(2), Linux 5.2). To be found below /proc/PID/fd.
pub(crate) fn nameless() -> Result<OwnedFd, Errno> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// Gives freed memory back to the kernel. Attaching the probes reads the kernel's BTF, megabytes that are free afterwards, and that the
/// allocator would keep: they would count as the workload's.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) touches free memory only, and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
