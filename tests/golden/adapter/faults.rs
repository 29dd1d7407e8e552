//! What goes wrong under load: signals, devices and namespaces that go away, others who listen or edit, a client that is dropped.
//!
//! After each, the kernel's classes are what the outcomes say.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;
use nix::libc;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use support::{run, veth};
use tc_adapter::{Answer, Client, Device, Error, Handle, Request};
use tokio::runtime::Builder;

use super::sharing::minors;
use super::world::{DEVICE, QDISC, World, add_class, add_qdisc, class};

extern "C" fn ignore(_: libc::c_int) {}

/// Signals that interrupt every system call that lets itself be interrupted.
pub(crate) fn a_storm_of_signals_changes_nothing() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    // Without SA_RESTART.
    let action = SigAction::new(SigHandler::Handler(ignore), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing, and no other test uses this signal.
    unsafe { sigaction(Signal::SIGUSR2, &action) }?;
    let client = Client::connect()?;
    let stop = AtomicBool::new(false);
    let target = pthread_self();
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // It may have ended.
                let _ = pthread_kill(target, Signal::SIGUSR2);
            }
        });
        let outcome = (1..=3_000).try_for_each(|minor| {
            client.request_blocking(&add_class(device, QDISC, minor))?;
            if minor % 100 == 0 {
                world.connection.classes(device)?;
            }
            Ok::<(), Error>(())
        });
        stop.store(true, Ordering::Relaxed);
        outcome
    });
    outcome?;
    assert_eq!(minors(&mut world)?, (1..=3_000).collect());
    assert_eq!(client.last_sequence(), 3_000, "none was sent twice");
    Ok(())
}

/// Somebody deletes the device under way: each request says so, and none before it is lost.
pub(crate) fn a_device_that_goes_away_is_told() -> Result<(), Failed> {
    let world = World::new()?;
    let device = world.device;
    let client = Client::connect()?;
    let runtime = Builder::new_multi_thread().worker_threads(2).build()?;
    let outcomes: Vec<Result<Answer, Error>> = runtime.block_on(async {
        let tasks: Vec<_> = (0..16)
            .map(|caller| {
                let client = client.clone();
                tokio::spawn(async move {
                    let mut outcomes = Vec::new();
                    for turn in 0..200 {
                        outcomes
                            .push(client.request(&add_class(device, QDISC, 1 + caller * 200 + turn)).await);
                    }
                    outcomes
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(20));
        run(&format!("ip link del {DEVICE}"))?;
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.extend(task.await?);
        }
        Ok::<_, Failed>(outcomes)
    })?;
    assert_eq!(outcomes.len(), 3_200);
    for outcome in &outcomes {
        match outcome {
            Ok(_) => {}
            Err(error) if error.errno() == Some(libc::ENODEV) => {}
            Err(other) => return Err(format!("{other:?}").into()),
        }
    }
    assert!(outcomes.iter().any(Result::is_err), "the device went too late to be missed");
    let outcome = client.request_blocking(&Request::DeleteClass { device, classid: Handle::new(1, 1) });
    assert_eq!(outcome.err().and_then(|error| error.errno()), Some(libc::ENODEV));
    Ok(())
}

/// Whoever listens makes the kernel build a message for each change: nothing else becomes different.
pub(crate) fn a_listener_changes_nothing() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    let mut monitor = Command::new("tc").arg("monitor").stdout(Stdio::null()).spawn()?;
    let client = Client::connect()?;
    let runtime = Builder::new_multi_thread().worker_threads(2).build()?;
    let outcome = runtime.block_on(add_by_tasks(&client, device, 16, 100));
    monitor.kill()?;
    monitor.wait()?;
    outcome?;
    assert_eq!(minors(&mut world)?, (1..=1_600).collect());
    Ok(())
}

/// Each of so many tasks adds so many classes.
async fn add_by_tasks(client: &Client, device: u32, tasks: u16, each: u16) -> Result<(), Failed> {
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                for turn in 0..each {
                    client.request(&add_class(device, QDISC, 1 + task * each + turn)).await?;
                }
                Ok::<(), Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// `tc -batch` adds and deletes the same classes meanwhile: each request is told what it met.
pub(crate) fn another_editor_is_met_truthfully() -> Result<(), Failed> {
    const CLASSES: u16 = 300;
    let mut world = World::new()?;
    let device = world.device;
    let mut lines = String::new();
    for minor in (0..5).flat_map(|_| (1..=CLASSES).step_by(3)) {
        writeln!(lines, "class replace dev {DEVICE} parent 1: classid 1:{minor:x} htb rate 9mbit")?;
        writeln!(lines, "class del dev {DEVICE} classid 1:{minor:x}")?;
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("batch");
    std::fs::write(&file, lines)?;
    let client = Client::connect()?;
    let runtime = Builder::new_multi_thread().worker_threads(2).build()?;
    let mut editor =
        Command::new("tc").args(["-force", "-batch"]).arg(&file).stderr(Stdio::null()).spawn()?;
    let outcomes = runtime.block_on(async {
        let tasks: Vec<_> = (1..=CLASSES)
            .map(|minor| {
                let client = client.clone();
                tokio::spawn(async move { (minor, client.request(&add_class(device, QDISC, minor)).await) })
            })
            .collect();
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await?);
        }
        Ok::<_, Failed>(outcomes)
    })?;
    editor.wait()?;
    let found = minors(&mut world)?;
    for (minor, outcome) in outcomes {
        match outcome {
            // The editor deletes every third.
            Ok(_) => assert!(found.contains(&minor) || minor % 3 == 1, "{minor} was added and is not there"),
            Err(error) => {
                assert_eq!(error.errno(), Some(libc::EEXIST), "{error}");
                assert_eq!(minor % 3, 1, "nobody else adds {minor}");
            }
        }
    }
    Ok(())
}

/// A runtime that ends takes its tasks along, wherever they are. What they had been told is so.
pub(crate) fn a_runtime_that_ends_leaves_the_truth() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    let client = Client::connect()?;
    let told = Mutex::new(BTreeSet::new());
    let told: &'static Mutex<BTreeSet<u16>> = Box::leak(Box::new(told));
    for round in 0..20_u16 {
        let runtime = Builder::new_multi_thread().worker_threads(2).build()?;
        for task in 0..16 {
            let client = client.clone();
            runtime.spawn(async move {
                for turn in 0..100 {
                    let minor = 1 + (round * 16 + task) * 100 + turn;
                    if client.request(&add_class(device, QDISC, minor)).await.is_ok() {
                        told.lock().expect("nobody panics").insert(minor);
                    }
                }
            });
        }
        thread::sleep(Duration::from_millis(3));
        runtime.shutdown_background();
    }
    // Those whose thread was in the middle of a packet end it.
    thread::sleep(Duration::from_millis(300));
    let found = minors(&mut world)?;
    let told = told.lock().map_err(|_| "a task panicked")?.clone();
    assert!(told.is_subset(&found), "told and not there: {:?}", told.difference(&found));
    assert_eq!(client.last_sequence() as usize, found.len(), "a message for each class, no more");
    client.request_blocking(&add_class(device, QDISC, 0xfff0))?;
    assert!(minors(&mut world)?.contains(&0xfff0));
    Ok(())
}

/// The last process leaves the namespace that the client was made in; the client's socket holds it.
pub(crate) fn a_namespace_outlives_its_processes() -> Result<(), Failed> {
    let home = std::fs::File::open("/proc/thread-self/ns/net")?;
    unshare(CloneFlags::CLONE_NEWNET)?;
    veth("away0", "away1")?;
    let device = Device::by_name("away0")?.index;
    let client = Client::connect()?;
    client.request_blocking(&add_qdisc(device, QDISC))?;
    setns(home, CloneFlags::CLONE_NEWNET)?;
    thread::sleep(Duration::from_millis(100));
    for minor in 1..=100 {
        client.request_blocking(&add_class(device, QDISC, minor))?;
    }
    let runtime = Builder::new_current_thread().build()?;
    let classes = runtime.block_on(client.classes(device))?;
    assert_eq!(classes.len(), 100);
    assert!(classes.iter().all(|entry| entry.classid != class(101)));
    Ok(())
}
