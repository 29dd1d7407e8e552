//! Namespaces, devices and the other process.

use std::{
    env,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    sync::OnceLock,
    thread,
};

use ebpf_loader::{Options, ProbeKind, Probes};
use libtest_mimic::Failed;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare},
    unistd::Pid,
};

use crate::{contention, follow, lifetime};

/// The device that every test has.
pub(crate) const DEVICE: &str = "probed0";

/// Tells this executable to be something else than the tests.
const ROLE: &str = "QDISCOPE_PROBES_ROLE";

/// The kind of probes that the tests attach. Without it the one that this kernel prefers.
const KIND: &str = "QDISCOPE_TEST_PROBES";

/// The kind that this kernel must prefer: a silent fallback to another one fails.
const EXPECTED: &str = "QDISCOPE_EXPECT_PROBES";

/// What another process does in a test.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    /// Keeps RTNL busy from another network namespace.
    Contender,
    /// Attaches probes and waits.
    Attacher,
    /// Sends a request after its first thread has ended.
    Leaderless,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Contender => "contender",
            Self::Attacher => "attacher",
            Self::Leaderless => "leaderless",
        }
    }

    /// What the process with this role does.
    pub(crate) fn play(self) -> ExitCode {
        let outcome = match self {
            Self::Contender => contention::contend(),
            Self::Attacher => lifetime::attach_and_wait(),
            Self::Leaderless => follow::outlive_the_first_thread(),
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(failed) => {
                eprintln!("{}: {}", self.name(), failed.message().unwrap_or_default());
                ExitCode::FAILURE
            }
        }
    }
}

/// The role of this process, if it is not to run the tests.
pub(crate) fn role() -> Option<Role> {
    let wanted = env::var(ROLE).ok()?;
    [Role::Contender, Role::Attacher, Role::Leaderless].into_iter().find(|role| role.name() == wanted)
}

/// A process with a role, killed when it goes out of scope.
pub(crate) struct Other(pub(crate) Child);

impl Other {
    /// Starts it. It inherits this thread's namespaces; its standard output is a pipe.
    pub(crate) fn start(role: Role) -> Result<Self, Failed> {
        let child =
            Command::new(env::current_exe()?).env(ROLE, role.name()).stdout(Stdio::piped()).spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A mount namespace of our own, with tracefs in it. Failures show in the tests, as "tracefs is not mounted".
pub(crate) fn enter() {
    if unshare(CloneFlags::CLONE_NEWNS).is_ok() {
        let _ = mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>);
        let target = "/sys/kernel/tracing";
        if !Path::new(target).join("events").is_dir() {
            let _ = mount(Some("tracefs"), target, Some("tracefs"), MsFlags::empty(), None::<&str>);
        }
    }
}

/// Attaches the kind of probes that is to be tested.
pub(crate) fn attach(options: &Options) -> Result<Probes, Failed> {
    Ok(Probes::attach(&Options { kind: kind_in(KIND)?, ..options.clone() })?)
}

/// The kind that a variable names; `None` when it is not set, or `auto`.
fn kind_in(variable: &str) -> Result<Option<ProbeKind>, Failed> {
    match env::var(variable) {
        Ok(name) if name != "auto" && !name.is_empty() => {
            Ok(Some(name.parse().map_err(|error| format!("{variable}: {error}"))?))
        }
        _ => Ok(None),
    }
}

/// The kind that this machine must prefer, if somebody said so.
pub(crate) fn expected_kind() -> Result<Option<ProbeKind>, Failed> {
    kind_in(EXPECTED)
}

/// Hides what lies at `path` from the calling thread: an empty file system in memory is put over it.
pub(crate) fn hide(path: &str) -> Result<(), Failed> {
    own_mounts()?;
    Ok(mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>)?)
}

/// Shows the calling thread `file` instead of what lies at `path`.
pub(crate) fn replace(path: &str, file: &Path) -> Result<(), Failed> {
    own_mounts()?;
    Ok(mount(Some(file), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}

/// Mounts of the calling thread's own: those of the process stay as they are.
fn own_mounts() -> Result<(), Failed> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    Ok(mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?)
}

/// Why the probes cannot follow requests on this machine. Tried once.
pub(crate) fn obstacle() -> Option<String> {
    static OBSTACLE: OnceLock<Option<String>> = OnceLock::new();
    OBSTACLE
        .get_or_init(|| {
            let tried = in_own_namespace(|| attach(&Options::default()).map(drop));
            tried.err().map(|failed| failed.message().unwrap_or("no reason given").to_owned())
        })
        .clone()
}

/// Runs `body` in a new network namespace.
pub(crate) fn in_own_namespace<T: Send>(
    body: impl FnOnce() -> Result<T, Failed> + Send,
) -> Result<T, Failed> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("unshare: {errno}"))?;
            body()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The CPUs that the calling thread may use.
pub(crate) fn cpus() -> Result<Vec<usize>, Failed> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect())
}

/// Runs `body` on the first (0) or the second (1) of them.
///
/// The kernel hardly ever preempts who holds RTNL, so two senders on the same CPU would not meet.
pub(crate) fn on_cpu<T>(wanted: usize, body: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this)?;
    let mut set = CpuSet::new();
    set.set(*cpus()?.get(wanted).ok_or("too few CPUs")?)?;
    sched_setaffinity(this, &set)?;
    let outcome = body();
    sched_setaffinity(this, &before)?;
    outcome
}

/// A veth pair whose one end has an HTB qdisc `1:`. Returns the device's index.
pub(crate) fn device_with_htb() -> Result<i32, Failed> {
    run("ip", &["link", "add", DEVICE, "type", "veth", "peer", "name", "probed1"])?;
    run("tc", &["qdisc", "add", "dev", DEVICE, "root", "handle", "1:", "htb"])?;
    let index = nix::net::if_::if_nametoindex(DEVICE)?;
    Ok(i32::try_from(index)?)
}

/// Makes the device `up`, and its peer, so that it has a carrier.
pub(crate) fn set_up() -> Result<(), Failed> {
    run("ip", &["link", "set", DEVICE, "up"])?;
    run("ip", &["link", "set", "probed1", "up"])
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<(), Failed> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())
        .into())
}
