//! The virtio port to the host.

use std::{
    fs::{self, File, OpenOptions},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::job::PORT;

const PORTS: &str = "/sys/class/virtio-ports";

/// Opens the port that results go to.
pub(crate) fn open() -> Result<File, String> {
    for module in ["virtio_pci", "virtio_console"] {
        // Where it is built in, there is no module to load: what counts is whether the port appears.
        let _ = Command::new("/bin/busybox").args(["modprobe", "-q", module]).status();
    }
    let began = Instant::now();
    loop {
        if let Some(name) = find() {
            let path = Path::new("/dev").join(name);
            return OpenOptions::new()
                .write(true)
                .open(&path)
                .map_err(|error| format!("{}: {error}", path.display()));
        }
        if began.elapsed() > Duration::from_secs(30) {
            return Err(format!("no virtio port named {PORT}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn find() -> Option<std::ffi::OsString> {
    fs::read_dir(PORTS).ok()?.flatten().map(|entry| entry.file_name()).find(|name| {
        fs::read_to_string(Path::new(PORTS).join(name).join("name")).is_ok_and(|found| found.trim() == PORT)
    })
}
