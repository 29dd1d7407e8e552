//! The guest's root file system: busybox, the real `tc` and `ip`, what is to run, and the job description.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
    process::Command,
};

use super::{
    error::{Error, file},
    image::Image,
    job::{JOB_FILE, Job},
    program,
    tree::Tree,
};

/// Where programs are looked for. Busybox's applets come last, and those that stand for a real program not at all: its `tc` and
/// `ip` are other programs than those that tests mean.
pub(super) const PATH: &str = "/usr/sbin:/usr/bin:/usr/lib/busybox";

/// Programs of the host that tests and the kernel run. `modprobe` because busybox's does not wait for a module that is just being
/// loaded for somebody else, who then is told that there is no such qdisc.
/// `dash`, because busybox's shell runs its own `tc` whatever the path says.
const PROGRAMS: [&str; 5] = ["dash", "ip", "modprobe", "strace", "tc"];

/// What iproute2 reads: names, and netem's distributions; where the host has it.
const FOLDERS: [&str; 4] =
    ["/etc/iproute2", "/usr/lib/tc", "/usr/lib/x86_64-linux-gnu/tc", "/usr/share/iproute2"];

/// What is the same for every guest.
pub(super) fn base(init: &Path) -> Result<Tree, Error> {
    let mut tree = Tree::merged();
    for folder in ["dev", "proc", "sys", "tmp", "run", "root", "etc"] {
        tree.folder(folder);
    }
    tree.copy(init, "init", 0o755)?;
    add_libraries(&mut tree, init)?;
    let busybox = program::find("busybox")?;
    add_program(&mut tree, &busybox, "busybox")?;
    for name in PROGRAMS {
        add_program(&mut tree, &program::find(name)?, name)?;
    }
    for folder in FOLDERS {
        if Path::new(folder).is_dir() {
            tree.copy_all(Path::new(folder), folder)?;
        }
    }
    // By these names tc knows protocols and services.
    for path in ["/etc/protocols", "/etc/services", "/etc/nsswitch.conf"] {
        if Path::new(path).is_file() {
            tree.copy(Path::new(path), path, 0o644)?;
        }
    }
    tree.add(
        "etc/passwd",
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n".to_vec(),
        0o644,
    );
    tree.add("etc/group", b"root:x:0:\nnogroup:x:65534:\n".to_vec(), 0o644);
    // Read by the interactive shell, which is busybox's.
    let mut profile = format!("export PATH={PATH} HOME=/root\ncd\n");
    for name in PROGRAMS {
        let _ = writeln!(profile, "{name}() {{ /usr/bin/{name} \"$@\"; }}");
    }
    tree.add("etc/profile", profile.into_bytes(), 0o644);
    // The paths that the kernel and scripts have built in.
    tree.link("usr/bin/sh", "dash");
    tree.link("usr/sbin/modprobe", "../bin/modprobe");
    let applets = program::output(Command::new(&busybox).arg("--list"))?;
    for applet in applets.lines().filter(|applet| !PROGRAMS.contains(applet)) {
        tree.link(&format!("usr/lib/busybox/{applet}"), "/usr/bin/busybox");
    }
    Ok(tree)
}

/// A program of the host, with its libraries.
pub(super) fn add_program(tree: &mut Tree, from: &Path, name: &str) -> Result<(), Error> {
    tree.copy(from, &format!("usr/bin/{name}"), 0o755)?;
    add_libraries(tree, from)
}

/// What a program or a library is linked with.
pub(super) fn add_libraries(tree: &mut Tree, from: &Path) -> Result<(), Error> {
    for library in program::libraries(from)? {
        let path = library.display().to_string();
        if !tree.has(&path) {
            tree.copy(&library, &path, 0o755)?;
        }
    }
    Ok(())
}

/// Writes the initramfs of one guest: the kernel unpacks the archives in it one after the other.
pub(super) fn write(tree: &Tree, job: &Job, image: &Image, path: &Path) -> Result<(), Error> {
    let mut tree = tree.clone();
    tree.add(JOB_FILE, serde_json::to_vec(job).unwrap_or_default(), 0o644);
    let write = || -> io::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        tree.write(&mut out)?;
        io::copy(&mut File::open(&image.modules)?, &mut out)?;
        out.flush()
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(file(folder))?;
    }
    // Not compressed: unpacking costs an emulated guest more than reading.
    write().map_err(file(path))
}
