//! Somebody else who keeps RTNL busy shows up as waiting for RTNL, and nobody else does.

use std::env;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::veth;
use tc_adapter::{Connection, Device, Handle, HtbClass, HtbQdisc, Request};

use crate::figures::{count, number, object};
use crate::investigate;
use crate::qdiscope::{Running, Saved, qdiscope};

/// Set for a process that is the hammer rather than the tests.
const HAMMER: &str = "QDISCOPE_E2E_HAMMER";

/// Enough that adding one more holds RTNL for some tenths of a millisecond.
const CLASSES: u16 = 2_000;

/// Somebody else on this machine may use RTNL just now; that passes.
pub(crate) const RETRIES: u32 = 3;

/// In an open loop, whose requests come when they are due. A closed one and the hammer take turns: the mutex is unfair, and
/// who has just had it mostly gets it again.
const ONE_WORKER: &str = "bench --workload lifecycle --workers 1 --rate 200 --duration 3s";

/// Is the hammer, in the process that [`Hammer::start`] makes of this executable.
pub(crate) fn as_hammer() -> Option<ExitCode> {
    env::var_os(HAMMER)?;
    let Err(failed) = hammer();
    eprintln!("the hammer broke: {}", failed.message().unwrap_or("no message"));
    Some(ExitCode::FAILURE)
}

/// Adds and deletes a class where there are many, until it is killed.
fn hammer() -> Result<std::convert::Infallible, Failed> {
    set_pdeathsig(Signal::SIGKILL)?;
    // The process's own, not a thread's: namespaces that only a thread is in are hard to find for others.
    unshare(CloneFlags::CLONE_NEWNET)?;
    veth("hammer0", "hammer1")?;
    let device = Device::by_name("hammer0")?.index;
    let parent = Handle::qdisc(1);
    let mut connection = Connection::connect()?;
    connection.request(&Request::AddQdisc {
        device,
        parent: Handle::ROOT,
        handle: parent,
        qdisc: HtbQdisc::new().into(),
    })?;
    let class = HtbClass::new("1mbit".parse()?);
    let add = |minor| Request::AddClass {
        device,
        parent,
        classid: Handle::new(parent.major(), minor),
        class: class.clone(),
    };
    for minor in 1..=CLASSES {
        connection.request(&add(minor))?;
    }
    std::io::stdout().write_all(b"!")?;
    std::io::stdout().flush()?;
    loop {
        connection.request(&add(CLASSES + 1))?;
        let classid = Handle::new(parent.major(), CLASSES + 1);
        connection.request(&Request::DeleteClass { device, classid })?;
    }
}

/// Another process, in another namespace, that is killed when it goes out of scope.
pub(crate) struct Hammer(Child);

impl Hammer {
    pub(crate) fn start() -> Result<Self, Failed> {
        let mut hammer =
            Self(Command::new(env::current_exe()?).env(HAMMER, "1").stdout(Stdio::piped()).spawn()?);
        // It says so when its classes stand.
        hammer.0.stdout.as_mut().ok_or("no pipe")?.read_exact(&mut [0])?;
        Ok(hammer)
    }
}

impl Hammer {
    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Hammer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waiting for RTNL in a run, over all message types.
#[derive(Debug)]
struct Wait {
    mean_us: f64,
    /// The largest of the message types'.
    p95_us: f64,
}

impl Wait {
    fn of(run: &Saved) -> Result<Self, Failed> {
        let (mut sum, mut requests, mut p95_us) = (0.0, 0, 0.0_f64);
        for phases in object(&run.workloads()?[0], "/kernel_us")?.values() {
            if phases["rtnl_wait"] == Value::Null {
                return Err(format!("RTNL is not measured: {}", run.result["environment"]["probes"]).into());
            }
            let count = count(phases, "/rtnl_wait/count")?;
            sum += number(phases, "/rtnl_wait/mean")? * count as f64;
            requests += count;
            p95_us = p95_us.max(number(phases, "/rtnl_wait/p95")?);
        }
        assert!(requests > 100, "{requests} requests in time");
        Ok(Self { mean_us: sum / requests as f64, p95_us })
    }
}

/// Whether somebody else kept RTNL busy during a run that should have had it to itself.
fn disturbed(run: &Saved) -> Result<bool, Failed> {
    let waits = &run.workloads()?[0]["rtnl_waits"];
    Ok(Wait::of(run)?.p95_us >= 5.0 || number(waits, "/foreign_percent_of_requests")? >= 1.0)
}

/// A run while the hammer hammers, and the hammer's process. What comes after the last workload it does not slow.
fn beside_hammer() -> Result<(Saved, u32), Failed> {
    let hammer = Hammer::start()?;
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("run");
    let mut running = Running::start(qdiscope(ONE_WORKER)?.arg("--out").arg(&out))?;
    running.hear(" operations in ")?;
    let process = hammer.id();
    drop(hammer);
    Ok((Saved::read(running.finish()?, &out)?, process))
}

pub(crate) fn waiting_for_others_is_rtnl_wait() -> Result<(), Failed> {
    let mut quiet_run = Saved::by(ONE_WORKER)?;
    for _ in 0..RETRIES {
        if disturbed(&quiet_run)? {
            thread::sleep(Duration::from_secs(2));
            quiet_run = Saved::by(ONE_WORKER)?;
        }
    }
    let quiet = Wait::of(&quiet_run)?;
    let waits = &quiet_run.workloads()?[0]["rtnl_waits"];
    assert!(!disturbed(&quiet_run)?, "somebody else keeps RTNL busy here: {quiet:?}, {waits}");
    // And nobody is named: neither by the run, nor by the investigation.
    let folder = investigate::folder(&quiet_run)?;
    let investigation = investigate::investigate(folder.path(), "")?.expect(0)?;
    for told in [&quiet_run.finished.stdout, &investigation.stdout] {
        assert!(!told.contains("(pid ") && !told.contains("held RTNL"), "{told}");
    }
    let (mut run, mut pid) = beside_hammer()?;
    let mut hammered = Wait::of(&run)?;
    let met = |hammered: &Wait| {
        hammered.mean_us > 5.0_f64.max(10.0 * quiet.mean_us) && hammered.p95_us > quiet.p95_us
    };
    // On a machine that has much else to do the two may hardly meet.
    for _ in 0..RETRIES {
        if !met(&hammered) {
            (run, pid) = beside_hammer()?;
            hammered = Wait::of(&run)?;
        }
    }
    println!("quiet {quiet:?}, hammered {hammered:?}");
    assert!(met(&hammered), "quiet {quiet:?}, hammered {hammered:?}");
    // Behind whom is told: in the figures, and in words.
    let waits = &run.workloads()?[0]["rtnl_waits"];
    let first = &waits["holders"][0];
    println!("{waits}");
    assert_eq!((&first["pid"], &first["own"]), (&json!(pid), &json!(false)), "{waits}");
    assert!(number(first, "/percent_of_waiting")? > 50.0, "{waits}");
    let words = format!("behind `{}` (pid {pid})", first["comm"].as_str().ok_or("no name")?);
    assert!(run.finished.stdout.contains(&words), "{words}: {}", run.finished.stdout);
    // And it is the first thing that the investigation says.
    let folder = investigate::folder(&run)?;
    let investigation = investigate::investigate(folder.path(), "")?.expect(0)?;
    let first = investigation.stdout.lines().find(|line| line.starts_with("1. ")).ok_or("no finding")?;
    assert!(first.contains(&format!("(pid {pid}) held RTNL")), "{}", investigation.stdout);
    // The hammer's classes slow the run, too, and that is told.
    let foreign = count(&run.result, "/environment/foreign_htb_classes")?;
    assert!(foreign >= u64::from(CLASSES), "{foreign} foreign classes");
    assert!(run.finished.stdout.contains("Other network namespaces hold"), "{}", run.finished.stdout);
    Ok(())
}
