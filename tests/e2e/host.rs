//! The host's network is not ours: nothing on it changes, and nothing is left, however a run ends.
//!
//! The "host" is the test's own network namespace, with a shaped device in it; a run must leave its own.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use aya::programs::loaded_programs;
use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use support::{run, veth};

use crate::figures::count;
use crate::qdiscope::{QUICK, Running, Saved, files, qdiscope};
use crate::runs;

/// The kernel takes namespaces and programs down some time after their last user has gone.
const PATIENCE: Duration = Duration::from_secs(15);

const CLASSES: u64 = 5;

/// What a user could notice.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    links: String,
    namespaces: String,
    qdiscs: String,
    classes: String,
    mounts: String,
}

impl Host {
    fn now() -> Result<Self, Failed> {
        Ok(Self {
            links: run("ip -o link")?,
            namespaces: run("ip netns")?,
            qdiscs: run("tc qdisc show")?,
            classes: run("tc class show dev shaped0")?,
            mounts: fs::read_to_string("/proc/thread-self/mountinfo")?,
        })
    }

    /// A host that shapes one device.
    fn with_a_shaped_device() -> Result<Self, Failed> {
        veth("shaped0", "shaped1")?;
        run("ip link set shaped0 up")?;
        run("tc qdisc add dev shaped0 root handle 1: htb default 1")?;
        for minor in 1..=CLASSES {
            run(&format!("tc class add dev shaped0 parent 1: classid 1:{minor} htb rate {minor}mbit"))?;
        }
        let host = Self::now()?;
        assert_eq!(host.classes.lines().count() as u64, CLASSES, "{}", host.classes);
        Ok(host)
    }
}

pub(crate) fn a_run_changes_nothing() -> Result<(), Failed> {
    let before = Host::with_a_shaped_device()?;
    let temporary = tempfile::tempdir()?;
    let saved = Saved::by_command(qdiscope(QUICK)?.env("TMPDIR", temporary.path()))?;
    assert_eq!(Host::now()?, before);
    let left = files(temporary.path())?;
    assert!(left.is_empty(), "temporary files are left: {:?}", left.keys());
    // Other people's classes slow everybody's: they are seen, and left alone.
    let foreign = count(&saved.result, "/environment/foreign_htb_classes")?;
    assert!(foreign >= CLASSES, "{foreign} foreign classes, and {CLASSES} are ours");
    Ok(())
}

pub(crate) fn kill_leaves_nothing() -> Result<(), Failed> {
    let before = Host::with_a_shaped_device()?;
    let folder = tempfile::tempdir()?;
    let run = &mut Running::start(
        qdiscope("bench --workload lifecycle --duration 40s")?.arg("--out").arg(folder.path()),
    )?;
    run.hear("lifecycle (closed)")?;
    thread::sleep(Duration::from_millis(1_200));
    let process = PathBuf::from(format!("/proc/{}", run.id()));
    let namespaces = Namespaces::of(&process)?;
    assert!(
        namespaces.differ_from(&Namespaces::of(Path::new("/proc/thread-self"))?),
        "it runs on the host's network"
    );
    assert!(namespaces.in_use(), "a test of their end needs a beginning");
    let programs = program_ids(&process)?;
    assert_eq!(!programs.is_empty(), runs::watched()?, "{programs:?}");
    assert!(programs.iter().all(|&id| is_loaded(id)), "{programs:?}");
    assert_eq!(Host::now()?, before, "not while it runs either");

    run.signal(Signal::SIGKILL)?;
    let deadline = Instant::now() + PATIENCE;
    while namespaces.in_use() || programs.iter().any(|&id| is_loaded(id)) {
        assert!(
            Instant::now() < deadline,
            "left: namespaces in use: {}, programs: {:?}",
            namespaces.in_use(),
            programs.iter().filter(|&&id| is_loaded(id)).collect::<Vec<_>>()
        );
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(Host::now()?, before);
    assert!(!folder.path().join("result.json").exists(), "a killed run is no run");
    Ok(())
}

/// The inodes of a process's network and mount namespaces.
pub(crate) struct Namespaces {
    net: u64,
    mnt: u64,
}

impl Namespaces {
    pub(crate) fn of(process: &Path) -> Result<Self, Failed> {
        let inode = |name: &str| {
            let path = process.join("ns").join(name);
            fs::metadata(&path).map(|file| file.ino()).map_err(|error| format!("{}: {error}", path.display()))
        };
        Ok(Self { net: inode("net")?, mnt: inode("mnt")? })
    }

    fn differ_from(&self, other: &Self) -> bool {
        self.net != other.net && self.mnt != other.mnt
    }

    /// Whether a thread is in one of them, or a descriptor holds it.
    pub(crate) fn in_use(&self) -> bool {
        let names = [format!("net:[{}]", self.net), format!("mnt:[{}]", self.mnt)];
        let held = |link: PathBuf| {
            // A process that has ended meanwhile holds nothing.
            fs::read_link(link)
                .is_ok_and(|target| names.iter().any(|name| target.as_os_str() == name.as_str()))
        };
        let entries =
            |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        entries("/proc".into()).flat_map(|process| entries(process.join("task"))).any(|thread| {
            ["ns/net", "ns/mnt"].iter().any(|name| held(thread.join(name)))
                || entries(thread.join("fd")).any(held)
        })
    }
}

/// The BPF programs of which a process has descriptors, or links that hold them.
fn program_ids(process: &Path) -> Result<BTreeSet<u32>, Failed> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(process.join("fdinfo"))? {
        // A descriptor can be closed in between.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        ids.extend(text.lines().filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse::<u32>().ok()));
    }
    Ok(ids)
}

/// Whether the kernel still has a BPF program of this id.
fn is_loaded(id: u32) -> bool {
    loaded_programs().filter_map(Result::ok).any(|program| program.id() == id)
}
