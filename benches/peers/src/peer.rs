//! The clients, and how each is made to work.

use std::fmt::Write as _;
use std::fs;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::arena::POPULATION;
use crate::client::{Work, operation};
use crate::measure::{Figures, peak_rss_kb};

/// One way of doing a work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// C, messages made beforehand, so many in one system call.
    Floor {
        per_send: u32,
    },
    /// This project's, on a runtime of so many threads.
    Adapter {
        callers: u32,
        threads: u32,
    },
    /// This project's without a runtime.
    AdapterBlocking,
    /// This project's, many requests in one call.
    AdapterBatch,
    Rtnetlink {
        callers: u32,
        threads: u32,
    },
    Nlink {
        callers: u32,
        threads: u32,
    },
    Libnl,
    Pyroute2,
    Vishvananda,
    TcBatch,
    TcProcess,
}

fn with_callers(name: &str, callers: u32, threads: u32) -> String {
    let plural = if callers == 1 { "" } else { "s" };
    match threads {
        1 => format!("{name}, {callers} caller{plural}"),
        _ => format!("{name}, {callers} caller{plural}, {threads} threads"),
    }
}

impl Peer {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Floor { per_send: 1 } => "floor, one a send".into(),
            Self::Floor { per_send } => format!("floor, {per_send} a send"),
            Self::Adapter { callers, threads } => with_callers("tc-adapter", callers, threads),
            Self::AdapterBlocking => "tc-adapter, blocking".into(),
            Self::AdapterBatch => "tc-adapter, batch".into(),
            Self::Rtnetlink { callers, threads } => with_callers("rtnetlink", callers, threads),
            Self::Nlink { callers, threads } => with_callers("nlink", callers, threads),
            Self::Libnl => "libnl (C)".into(),
            Self::Pyroute2 => "pyroute2".into(),
            Self::Vishvananda => "vishvananda/netlink (Go)".into(),
            Self::TcBatch => "tc -batch".into(),
            Self::TcProcess => "tc, a process each".into(),
        }
    }

    /// Changes in a round: what takes it a second or less.
    pub(crate) fn changes(self) -> u32 {
        match self {
            Self::Floor { .. } | Self::AdapterBatch => 400_000,
            Self::Adapter { .. } | Self::AdapterBlocking => 200_000,
            Self::Rtnetlink { .. } => 100_000,
            Self::Nlink { .. } | Self::Libnl => 50_000,
            Self::Vishvananda => 30_000,
            Self::TcBatch => 20_000,
            Self::Pyroute2 => 1_000,
            Self::TcProcess => 200,
        }
    }

    /// Adds in a round.
    pub(crate) fn adds(self) -> u32 {
        match self {
            Self::TcProcess => 100,
            Self::Pyroute2 => 500,
            _ => u32::from(POPULATION),
        }
    }
}

/// What the clients that are not in this program were built to.
pub(crate) struct Toolbox {
    folder: TempDir,
    python_packages: Option<PathBuf>,
    myself: PathBuf,
    absent: Vec<(Peer, String)>,
}

impl Toolbox {
    /// Builds what can be built. What is missing is named, with the way to get it.
    pub(crate) fn build(python_packages: Option<PathBuf>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let myself = std::env::current_exe()?;
        let mut toolbox = Self { folder, python_packages, myself, absent: Vec::new() };
        let built = |name: &str| toolbox.folder.path().join(name);
        let mut cc = Command::new("cc");
        cc.arg("-O2").arg("-o").arg(built("floor")).arg(sources.join("floor.c"));
        // Everything is compared with it.
        succeed(&mut cc).context("build the floor (apt install gcc libc6-dev)")?;
        let mut absent = Vec::new();
        let libnl = pkg_config("libnl-route-3.0").and_then(|flags| {
            let mut cc = Command::new("cc");
            cc.arg("-O2").arg("-o").arg(built("libnl")).arg(sources.join("libnl.c")).args(flags);
            succeed(&mut cc)
        });
        if let Err(error) = libnl {
            absent.push((Peer::Libnl, format!("{error:#} (apt install libnl-route-3-dev pkg-config)")));
        }
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(built("vishvananda")).arg(sources.join("vishvananda/main.go"));
        // Debian's package of the library is a source tree, as Go had it before modules.
        go.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOCACHE", built("go-cache"));
        go.env("GOFLAGS", "").env("HOME", toolbox.folder.path());
        if let Err(error) = succeed(&mut go) {
            let packages = "golang-go golang-github-vishvananda-netlink-dev";
            absent.push((Peer::Vishvananda, format!("{error:#} (apt install {packages})")));
        }
        let mut python = toolbox.python();
        if let Err(error) = succeed(python.args(["-c", "import pyroute2"])) {
            absent.push((Peer::Pyroute2, format!("{error:#} (pip install pyroute2)")));
        }
        toolbox.absent = absent;
        Ok(toolbox)
    }

    pub(crate) fn absent(&self) -> &[(Peer, String)] {
        &self.absent
    }

    pub(crate) fn has(&self, peer: Peer) -> bool {
        self.absent.iter().all(|(absent, _)| *absent != peer)
    }

    fn python(&self) -> Command {
        let mut python = Command::new("python3");
        if let Some(packages) = &self.python_packages {
            python.env("PYTHONPATH", packages);
        }
        python
    }

    /// Has `peer` do `work` on `device`.
    pub(crate) fn run(&self, peer: Peer, work: Work, device: &str, count: u32) -> anyhow::Result<Figures> {
        self.run_with(peer, work, device, count, &[])
    }

    /// As [`Self::run`], with the allocations of a client in Rust counted.
    pub(crate) fn run_counting(
        &self,
        peer: Peer,
        work: Work,
        device: &str,
        count: u32,
    ) -> anyhow::Result<Figures> {
        self.run_with(peer, work, device, count, &["--count-allocations"])
    }

    fn run_with(
        &self,
        peer: Peer,
        work: Work,
        device: &str,
        count: u32,
        flags: &[&str],
    ) -> anyhow::Result<Figures> {
        let verb = match work {
            Work::Change => "change",
            Work::Add => "add",
            Work::Dump => "dump",
        };
        let built = |name: &str| Command::new(self.folder.path().join(name));
        let count_text = count.to_string();
        let own = |name: &str, callers: u32, threads: u32| {
            let mut command = Command::new(&self.myself);
            command.args(["client", name, verb, device, &count_text]);
            command.args([callers.to_string(), threads.to_string()]).args(flags);
            command
        };
        let mut command = match peer {
            Peer::Floor { .. } if work == Work::Dump => {
                let mut command = built("floor");
                command.args([verb, &count_text]);
                command
            }
            Peer::Floor { per_send } => {
                let mut command = built("floor");
                command.args([verb, device, &count_text, &per_send.to_string()]);
                command
            }
            Peer::Adapter { callers, threads } => own("adapter", callers, threads),
            Peer::AdapterBlocking => own("adapter-blocking", 1, 1),
            Peer::AdapterBatch => own("adapter-blocking", 0, 1),
            Peer::Rtnetlink { callers, threads } => own("rtnetlink", callers, threads),
            Peer::Nlink { callers, threads } => own("nlink", callers, threads),
            Peer::Libnl => {
                let mut command = built("libnl");
                command.args([verb, device, &count_text]);
                command
            }
            Peer::Vishvananda => {
                let mut command = built("vishvananda");
                command.args([verb, device, &count_text]);
                command
            }
            Peer::Pyroute2 => {
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/pyroute2_client.py");
                let mut command = self.python();
                command.arg(script).args([verb, device, &count_text]);
                command
            }
            Peer::TcBatch => return self.tc_batch(work, device, count),
            Peer::TcProcess => return tc_processes(work, device, count),
        };
        let output = command.output().with_context(|| format!("{command:?}"))?;
        if !output.status.success() {
            bail!("{}: {}", peer.name(), String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("{}: no figures", peer.name()))
    }

    /// From the start of the process to its end: its own start takes a millisecond or two.
    fn tc_batch(&self, work: Work, device: &str, count: u32) -> anyhow::Result<Figures> {
        let file = self.folder.path().join("batch");
        let mut lines = String::new();
        if work == Work::Dump {
            for device in 0..count {
                let _ = writeln!(lines, "class show dev d{device}");
            }
        }
        for index in (0..count).filter(|_| work != Work::Dump) {
            lines += &tc_line(work, device, index);
            lines.push('\n');
        }
        fs::write(&file, lines)?;
        let mut tc = Command::new("tc");
        let listing = self.folder.path().join("listing");
        tc.arg("-batch").arg(&file).stdout(fs::File::create(&listing)?);
        let mut figures = timed(&mut tc)?;
        figures.operations = match work {
            Work::Dump => {
                let listing = fs::read_to_string(listing)?;
                listing.lines().filter(|line| line.starts_with("class ")).count() as u64
            }
            _ => count.into(),
        };
        Ok(figures)
    }
}

fn tc_line(work: Work, device: &str, index: u32) -> String {
    let (minor, rate) = operation(work, index);
    let (verb, parent) = if work == Work::Add { ("add", "parent 1: ") } else { ("change", "") };
    format!("class {verb} dev {device} {parent}classid 1:{minor:x} htb rate {}bit", u64::from(rate) * 8)
}

fn tc_processes(work: Work, device: &str, count: u32) -> anyhow::Result<Figures> {
    let mut sum = Figures {
        operations: count.into(),
        seconds: 0.0,
        p50_us: None,
        p95_us: None,
        p99_us: None,
        allocations_per_operation: None,
        cpu_user: 0.0,
        cpu_system: 0.0,
        peak_rss_kb: None,
    };
    let mut latencies = Vec::new();
    for index in 0..count {
        let mut tc = Command::new("tc");
        tc.args(tc_line(work, device, index).split_whitespace());
        let one = timed(&mut tc)?;
        sum.seconds += one.seconds;
        sum.cpu_user += one.cpu_user;
        sum.cpu_system += one.cpu_system;
        sum.peak_rss_kb = sum.peak_rss_kb.max(one.peak_rss_kb);
        latencies.push(one.seconds * 1e6);
    }
    latencies.sort_by(f64::total_cmp);
    let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied();
    (sum.p50_us, sum.p95_us, sum.p99_us) = (at(50), at(95), at(99));
    Ok(sum)
}

/// Runs a command to its end and tells what it used.
fn timed(command: &mut Command) -> anyhow::Result<Figures> {
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("{command:?}"))?;
    let (mut status, mut usage) = (0, MaybeUninit::<nix::libc::rusage>::uninit());
    let pid = i32::try_from(child.id())?;
    // SAFETY: both pointers are valid for the call, which fills them when it returns the child's id.
    let usage = unsafe {
        if nix::libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) != pid {
            bail!("wait4: {}", std::io::Error::last_os_error());
        }
        usage.assume_init()
    };
    let seconds = start.elapsed().as_secs_f64();
    if status != 0 {
        bail!("{command:?}: status {status}");
    }
    let time = |time: nix::libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(Figures {
        operations: 1,
        seconds,
        p50_us: None,
        p95_us: None,
        p99_us: None,
        allocations_per_operation: None,
        cpu_user: time(usage.ru_utime),
        cpu_system: time(usage.ru_stime),
        // Between fork and exec it was a copy of this process.
        peak_rss_kb: u64::try_from(usage.ru_maxrss).ok().filter(|peak| Some(*peak) > peak_rss_kb()),
    })
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| command.get_program().to_string_lossy().into_owned())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}", command.get_program().to_string_lossy(), said.lines().last().unwrap_or("failed"));
    }
    Ok(())
}

fn pkg_config(library: &str) -> anyhow::Result<Vec<String>> {
    let output =
        Command::new("pkg-config").args(["--cflags", "--libs", library]).output().context("pkg-config")?;
    if !output.status.success() {
        bail!("pkg-config knows no {library}");
    }
    Ok(String::from_utf8(output.stdout)?.split_whitespace().map(str::to_owned).collect())
}
