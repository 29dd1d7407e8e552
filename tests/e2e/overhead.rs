//! `qdiscope overhead`. What the ratio is, is for a quiet machine to say; here, that it is said.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::qdiscope::{Finished, Running, qdiscope};

pub(crate) fn a_ratio_is_printed() -> Result<(), Failed> {
    let arguments = "overhead --rounds 1 --classes 500";
    let finished = Finished::of(&mut qdiscope(arguments)?)?.expect(0)?;
    let line = finished.stdout.lines().last().ok_or("nothing on stdout")?;
    let ratio = line
        .split_once("throughput with probes is ")
        .and_then(|(_, rest)| rest.split_once(' '))
        .ok_or_else(|| format!("no ratio: {line}"))?
        .0;
    let ratio: f64 = ratio.parse().map_err(|error| format!("{line}: {error}"))?;
    assert!(ratio > 0.0 && ratio < 10.0, "{line}");
    // A limit that no probe can hold.
    let violated = Finished::of(&mut qdiscope(&format!("{arguments} --min-ratio 100"))?)?;
    violated.expect(4).map(drop)
}

fn measured(arguments: &str) -> Result<Value, Failed> {
    let finished =
        Finished::of(&mut qdiscope(&format!("overhead --json --quick {arguments}"))?)?.expect(0)?;
    Ok(serde_json::from_str(&finished.stdout)?)
}

fn contestants(measured: &Value) -> Result<&[Value], Failed> {
    Ok(measured["contestants"].as_array().ok_or("no contestants")?)
}

pub(crate) fn a_contestant_is_measured_or_absent_with_a_reason() -> Result<(), Failed> {
    let measured = measured("--load change --load syscall")?;
    let contestants = contestants(&measured)?;
    assert!(contestants.len() >= 12, "{contestants:?}");
    for contestant in contestants {
        let cost = contestant["cost"].as_object().ok_or("no cost")?;
        match contestant["absent"].as_str() {
            Some(reason) => assert!(!reason.is_empty() && cost.is_empty(), "{contestant}"),
            None => assert!(cost.contains_key("change") && cost.contains_key("syscall"), "{contestant}"),
        }
    }
    assert_eq!(contestants[0]["name"], "nothing");
    assert!(contestants[0]["absent"].is_null(), "{}", contestants[0]);
    // One round decides nothing.
    for goal in measured["goals"].as_array().ok_or("no goals")? {
        assert_eq!(goal["verdict"], "undecided", "{goal}");
    }
    Ok(())
}

pub(crate) fn what_is_not_installed_is_absent() -> Result<(), Failed> {
    let mut command =
        qdiscope("overhead --quick --load change --only nothing --only strace --only bpftrace")?;
    let finished = Finished::of(command.env("PATH", "/nowhere"))?.expect(0)?;
    for line in
        ["not measured: strace: strace is not installed", "not measured: bpftrace: bpftrace is not installed"]
    {
        assert!(finished.stdout.lines().any(|printed| printed == line), "{}", finished.stdout);
    }
    Ok(())
}

pub(crate) fn losses_are_counted_exactly() -> Result<(), Failed> {
    let measured = measured("--load rate --only tracepoint")?;
    let [contestant] = contestants(&measured)? else { return Err("not one contestant".into()) };
    for (runs, loses) in [("rate", false), ("flood", true)] {
        let [run] = contestant[runs].as_array().ok_or("no runs")?.as_slice() else {
            return Err(format!("not one run: {contestant}").into());
        };
        let count = |name: &str| run[name].as_u64().ok_or_else(|| format!("no {name}: {run}"));
        assert_eq!(count("events")? + count("lost")?, count("sent")?, "{runs}: {run}");
        assert!(!loses || count("lost")? > 0, "{runs}: {run}");
    }
    Ok(())
}

pub(crate) fn one_load_is_out_of_the_others_way() -> Result<(), Failed> {
    let arguments =
        "overhead --quick --only nothing --load change --load htb-class --classes 500 --devices 2";
    let finished = Finished::of(&mut qdiscope(arguments)?)?.expect(0)?;
    let text = finished.stdout;
    let (table, line) = (text.find("the same twice"), text.find("htb-class, 500 classes on 2 devices"));
    assert!(table.is_some() && table < line, "the table, then htb-class:\n{text}");
    Ok(())
}

pub(crate) fn what_does_not_exist_is_refused() -> Result<(), Failed> {
    for arguments in ["--only nobody", "--load nothing", "--load change --classes 5", "--rounds 0"] {
        Finished::of(&mut qdiscope(&format!("overhead {arguments}"))?)?.expect(2)?;
    }
    Ok(())
}

/// The processes that a process has started.
fn children(process: u32) -> Result<Vec<String>, Failed> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

pub(crate) fn killing_it_ends_what_it_started() -> Result<(), Failed> {
    let running = Running::start(&mut qdiscope("overhead --rounds 100 --load change --only nothing")?)?;
    let deadline = Instant::now() + Duration::from_secs(20);
    let started = loop {
        let started = children(running.id())?;
        // The load, the bystander and the watcher, which a container has not.
        if started.len() == 3 {
            break started;
        }
        if Instant::now() > deadline {
            return Err(format!("it started {started:?} and not three processes").into());
        }
        thread::sleep(Duration::from_millis(10));
    };
    running.signal(Signal::SIGKILL)?;
    while started.iter().any(|process| Path::new("/proc").join(process).exists()) {
        if Instant::now() > deadline {
            return Err(format!("one of {started:?} is still there").into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(running.finish()?.code, 137);
    Ok(())
}

pub(crate) fn interrupting_ends_it() -> Result<(), Failed> {
    let running = Running::start(&mut qdiscope("overhead --rounds 100 --load change --only nothing")?)?;
    thread::sleep(Duration::from_secs(1));
    running.signal(Signal::SIGINT)?;
    running.finish()?.expect(130).map(drop)
}
