//! Disturbances, as real as they are in a run: RTNL that another process holds, and that is free as soon as it ends.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{run, veth};

use crate::qdiscope::{Finished, Running, qdiscope};

/// Far more than a hold of these tests, and far less than for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// The process that holds RTNL for this one.
fn holder(of: u32) -> Result<i32, Failed> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children"))?;
        for child in children.split_whitespace() {
            if fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name == "rtnl-holder\n") {
                return Ok(child.parse()?);
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err("nobody holds RTNL".into())
}

/// Where a thread of the kernel's sleeps says that it is asleep on a page, and hence holds RTNL.
fn until_held(holder: i32) -> Result<(), Failed> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if fs::read_to_string(format!("/proc/{holder}/wchan"))?.contains("userfault") {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err("RTNL was never held".into())
}

pub(crate) fn who_changes_something_waits_behind_it() -> Result<(), Failed> {
    veth("waits0", "waits1")?;
    let mut command = qdiscope("disturb rtnl --at 0s --hold 1s -- tc qdisc add dev waits0 root pfifo")?;
    let began = Instant::now();
    let finished = Finished::of(&mut command)?.expect(0)?;
    let line = finished.one_line()?;
    assert!(line.contains("RTNL was held 1 time, "), "{line}");
    assert!(run("tc qdisc show dev waits0")?.contains("pfifo"));
    println!("{line}, {:?} in all", began.elapsed());
    Ok(())
}

pub(crate) fn a_share_is_held_and_told() -> Result<(), Failed> {
    let finished =
        Finished::of(&mut qdiscope("disturb rtnl --percent 20 --hold 2ms -- sleep 1")?)?.expect(0)?;
    let line = finished.one_line()?;
    let word = |before: &str| {
        let rest = line.split(before).next()?;
        rest.split_whitespace().last()?.parse::<f64>().ok()
    };
    let times = word(" times").ok_or_else(|| line.to_owned())?;
    let percent = word(" % of").ok_or_else(|| line.to_owned())?;
    assert!(times > 1.0 && percent > 0.0 && percent < 90.0, "{line}");
    Ok(())
}

pub(crate) fn how_the_command_ends_is_passed_on() -> Result<(), Failed> {
    let exits = |arguments: &str, code| {
        let mut command = qdiscope("disturb rtnl --percent 1 --hold 1ms --")?;
        Finished::of(command.args(arguments.split('|')))?.expect(code).map(drop)
    };
    exits("sh|-c|exit 7", 7)?;
    exits("sh|-c|kill -9 $$", 137)?;
    exits("/nonexistent", 127)?;
    exits("/dev/null", 126)
}

pub(crate) fn nonsense_is_refused() -> Result<(), Failed> {
    for arguments in [
        "disturb rtnl --percent 30 --hold 11s -- true",
        "disturb rtnl --percent 100 -- true",
        "disturb rtnl --percent nan -- true",
        "disturb rtnl --percent 30 --at 1s -- true",
        "disturb rtnl --hold 1ms -- true",
        "disturb rtnl --percent 30",
    ] {
        Finished::of(&mut qdiscope(arguments)?)?.expect(2)?;
    }
    Ok(())
}

/// Kills somebody in the middle of a hold, and then RTNL is free, long before the hold would have been over.
fn freed_by_killing(whom: fn(u32, i32) -> i32) -> Result<(), Failed> {
    /// The hold is of three seconds.
    const FREED: Duration = Duration::from_millis(2_700);
    veth("freed0", "freed1")?;
    let running = Running::start(&mut qdiscope("disturb rtnl --at 0s --hold 3s -- sleep 3")?)?;
    let holder = holder(running.id())?;
    until_held(holder)?;
    let began = Instant::now();
    // The rehearsal looks the same, and is over at once.
    thread::sleep(Duration::from_millis(200));
    until_held(holder)?;
    kill(Pid::from_raw(whom(running.id(), holder)), Signal::SIGKILL)?;
    run("tc qdisc add dev freed0 root pfifo")?;
    let took = began.elapsed();
    assert!(took < FREED, "RTNL was still held, {took:?}");
    Ok(())
}

pub(crate) fn killing_the_holder_frees_rtnl() -> Result<(), Failed> {
    freed_by_killing(|_, holder| holder)
}

pub(crate) fn killing_qdiscope_frees_rtnl() -> Result<(), Failed> {
    freed_by_killing(|qdiscope, _| qdiscope.cast_signed())
}
