//! The machine that a run's figures belong to.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use procfs::{Current, CurrentSI};
use tc_adapter::Connection;

use crate::clocks::Clocks;
use crate::report::model::{Environment, Probes};

/// What must be read before the run, partly from the host's namespaces.
#[derive(Debug)]
pub struct Before {
    foreign_htb_classes: Option<u64>,
    load_average: Option<f64>,
    cpu: Option<CpuTime>,
    clocks: Option<Clocks>,
}

/// The machine's CPU time since it was started, over all CPUs; in ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuTime {
    pub(crate) total: u64,
    /// Neither idle nor taken by the hypervisor.
    pub(crate) busy: u64,
    steal: u64,
}

impl Before {
    /// Looks at the host. Called before the process leaves the host's network namespace.
    pub fn observe() -> Self {
        Self {
            foreign_htb_classes: foreign_htb_classes(),
            load_average: load_average(),
            cpu: cpu_time(),
            clocks: Clocks::now(),
        }
    }

    /// HTB classes that others hold.
    pub fn foreign_htb_classes(&self) -> Option<u64> {
        self.foreign_htb_classes
    }

    /// The environment, now that the run is over.
    pub fn finish(&self, probes: Probes) -> Environment {
        let course = self.clocks.zip(Clocks::now()).map(|(before, now)| now.since(before));
        Environment {
            kernel: kernel_release(),
            cpu: cpu_model(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            virtualised: virtualised(),
            probes,
            foreign_htb_classes: self.foreign_htb_classes,
            load_average_before: self.load_average,
            load_average_after: load_average(),
            steal_percent: steal_percent(self.cpu, cpu_time()),
            suspended_seconds: course.map(|course| course.suspended_seconds),
            clock_step_seconds: course.map(|course| course.step_seconds),
        }
    }
}

/// Share of CPU time that the hypervisor gives to others, over so long from now on, percent. Blocks meanwhile.
pub fn steal_during(time: Duration) -> Option<f64> {
    let before = cpu_time();
    thread::sleep(time);
    steal_percent(before, cpu_time())
}

fn steal_percent(before: Option<CpuTime>, after: Option<CpuTime>) -> Option<f64> {
    let (before, after) = (before?, after?);
    let total = after.total.checked_sub(before.total).filter(|&total| total > 0)?;
    Some(after.steal.saturating_sub(before.steal) as f64 / total as f64 * 100.0)
}

pub(crate) fn cpu_time() -> Option<CpuTime> {
    let cpu = procfs::KernelStats::current().ok()?.total;
    let steal = cpu.steal?;
    // guest time is contained in user time already.
    let parts = [Some(cpu.user), Some(cpu.nice), Some(cpu.system), cpu.irq, cpu.softirq];
    let busy: u64 = parts.into_iter().flatten().sum();
    Some(CpuTime { total: busy + cpu.idle + cpu.iowait.unwrap_or(0) + steal, busy, steal })
}

/// How much of the machine's memory is in use, 0 to 1: what is not available to new processes without swapping (proc(5)).
pub(crate) fn memory_in_use() -> Option<f64> {
    let memory = procfs::Meminfo::current().ok()?;
    let used = memory.mem_total.checked_sub(memory.mem_available?)?;
    (memory.mem_total > 0).then(|| used as f64 / memory.mem_total as f64)
}

/// Of the last minute.
pub fn load_average() -> Option<f64> {
    procfs::LoadAverage::current().ok().map(|load| f64::from(load.one))
}

/// The running kernel, as `uname -r`.
pub fn kernel_release() -> String {
    nix::sys::utsname::uname()
        .map_or_else(|_| "unknown".into(), |names| names.release().to_string_lossy().into_owned())
}

/// The CPU's own name.
pub fn cpu_model() -> Option<String> {
    procfs::CpuInfo::current().ok()?.model_name(0).map(str::to_owned)
}

/// CPUID's hypervisor bit, which KVM, Hyper-V, `VMware`, Xen HVM and QEMU all set. Arm has no such bit.
pub fn virtualised() -> Option<bool> {
    let info = procfs::CpuInfo::current().ok()?;
    Some(info.flags(0)?.contains(&"hypervisor"))
}

/// Counts HTB classes in every network namespace that a process or a name under /run/netns holds. Creating a class
/// walks one system-wide list (`flow_indr_dev_setup_offload`), so that other people's classes slow ours.
/// `None` where a namespace could not be looked into.
pub fn foreign_htb_classes() -> Option<u64> {
    let (mut seen, mut seen_by_net, mut closed) = (HashSet::new(), HashSet::new(), Vec::new());
    let mut total = 0;
    for path in namespace_paths() {
        let file = match File::open(&path) {
            Ok(file) => file,
            // A process that has ended meanwhile holds nothing any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => continue,
            Err(_) => {
                closed.push(path);
                continue;
            }
        };
        let Ok(metadata) = file.metadata() else { continue };
        seen_by_net.extend(net_inode(&path));
        if seen.insert((metadata.dev(), metadata.ino())) {
            total += htb_classes_in(file)?;
        }
    }
    // A process with more rights than this one keeps its namespace closed, but not which it is.
    let all_seen =
        closed.iter().all(|path| net_inode(path).is_some_and(|inode| seen_by_net.contains(&inode)));
    (all_seen && !seen.is_empty()).then_some(total)
}

/// For the `ns/net` of a process, the inode of its `net/dev`, which the network namespace has and everybody may ask for.
fn net_inode(namespace: &Path) -> Option<u64> {
    let process = namespace.parent()?.parent()?;
    process.join("net/dev").metadata().ok().map(|metadata| metadata.ino())
}

fn namespace_paths() -> impl Iterator<Item = PathBuf> {
    let entries = |path: &str| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_process = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    entries("/proc").filter(is_process).map(|process| process.join("ns/net")).chain(entries("/run/netns"))
}

/// On a thread of its own, for a thread that has changed its namespace is of no use to anybody else.
fn htb_classes_in(namespace: File) -> Option<u64> {
    let count = move || -> Option<u64> {
        setns(namespace, CloneFlags::CLONE_NEWNET).ok()?;
        let mut connection = Connection::connect().ok()?;
        let mut devices: Vec<u32> = connection
            .qdiscs(None)
            .ok()?
            .into_iter()
            .filter(|qdisc| qdisc.kind == "htb")
            .map(|qdisc| qdisc.device)
            .collect();
        devices.sort_unstable();
        devices.dedup();
        let mut count = 0;
        for device in devices {
            let classes = connection.classes(device).ok()?;
            count += classes.iter().filter(|class| class.kind == "htb").count() as u64;
        }
        Some(count)
    };
    thread::spawn(count).join().ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of the init process, too, of which not even root may always open the namespace.
    #[test]
    fn a_namespace_is_known_by_its_net_folder() {
        let own = net_inode(Path::new("/proc/self/ns/net"));
        assert!(own.is_some());
        assert!(net_inode(Path::new("/proc/1/ns/net")).is_some());
        assert_eq!(net_inode(Path::new("/run/netns/x")), None);
    }

    #[test]
    fn steal_is_a_share_of_the_time_between() {
        let at = |total, steal| Some(CpuTime { total, busy: 0, steal });
        assert_eq!(steal_percent(at(100, 0), at(300, 50)), Some(25.0));
        assert_eq!(steal_percent(at(100, 0), at(100, 0)), None);
        assert_eq!(steal_percent(None, at(100, 0)), None);
    }
}
