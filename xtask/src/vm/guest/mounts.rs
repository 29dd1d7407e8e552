//! The kernel's file systems, where every program expects them.

use std::{ffi::CString, fs, io, path::Path};

use crate::say::say;

const MOUNTS: [(&str, &str); 10] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/dev/shm"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
    ("bpf", "/sys/fs/bpf"),
    ("tracefs", "/sys/kernel/tracing"),
    ("cgroup2", "/sys/fs/cgroup"),
];

/// Mounts all of them. One that a kernel lacks is said, and missed by those only who need it.
pub(crate) fn mount_all() {
    for (kind, target) in MOUNTS {
        if !Path::new(target).is_dir() {
            // Below /sys nothing can be made: then mount fails, and says so.
            let _ = fs::create_dir_all(target);
        }
        if let Err(error) = mount(kind, target) {
            say(&format!("mount {target}: {error}"));
        }
    }
}

fn mount(kind: &str, target: &str) -> io::Result<()> {
    let (kind, target) = (CString::new(kind)?, CString::new(target)?);
    // SAFETY: the three strings end in NUL and live until the call returns; no data is passed.
    let code = unsafe { libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
