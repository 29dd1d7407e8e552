//! `qdiscope gate`: what lets a deployment go on, and what does not.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use serde_json::Value;
use support::{run, veth};
use tempfile::TempDir;

use crate::qdiscope::{Finished, QUICK, Running, Saved, qdiscope};
use crate::schema;

/// Subscribers of the tree that is to be restored.
const CLASSES: u32 = 2_000;

/// A shaper's tree: a class a subscriber, each with this rate.
fn tree(classes: u32, rate: &str) -> String {
    let mut text = "qdisc add dev eth0 root handle 1: htb default 2\n\
                    class add dev eth0 parent 1: classid 1:1 htb rate 10gbit\n\
                    class add dev eth0 parent 1:1 classid 1:2 htb rate 1mbit ceil 10gbit\n"
        .to_owned();
    for minor in 0x10..0x10 + classes - 2 {
        let _ = writeln!(text, "class add dev eth0 parent 1:1 classid 1:{minor:x} htb rate {rate}");
    }
    text
}

/// What no kernel takes, after all classes have been changed.
fn refused_at_the_end(classes: u32) -> String {
    tree(classes, "11mbit") + "qdisc add dev eth0 parent 1:10 handle 9000: htb offload\n"
}

/// Runs `gate canary` on two files.
fn canary(folder: &Path, old: &str, new: &str, arguments: &str) -> Result<Finished, Failed> {
    fs::write(folder.join("old.tc"), old)?;
    fs::write(folder.join("new.tc"), new)?;
    let folder = folder.display();
    Finished::of(&mut qdiscope(&format!(
        "gate canary --json --old {folder}/old.tc --new {folder}/new.tc {arguments}"
    ))?)
}

/// The document, held to its schema.
fn document(finished: &Finished) -> Result<Value, Failed> {
    let document = serde_json::from_str(&finished.stdout)
        .map_err(|error| format!("no document: {error}\n{}", finished.said()))?;
    schema::check_gate(&document)?;
    Ok(document)
}

fn verdict<'a>(document: &'a Value, name: &str) -> &'a str {
    let checks = document["checks"].as_array().map_or(&[][..], Vec::as_slice);
    checks
        .iter()
        .find(|check| check["name"] == name)
        .and_then(|check| check["verdict"].as_str())
        .unwrap_or("absent")
}

/// Packets came through, and all that were sent are somewhere.
fn flowed(flow: &Value) -> Result<(), Failed> {
    let count = |name: &str| flow[name].as_u64().ok_or_else(|| format!("{name}: {flow}"));
    let (sent, received, lost) = (count("sent")?, count("received")?, count("lost")?);
    assert!(sent > 0 && received > 0, "{flow}");
    assert_eq!(sent, received + lost, "{flow}");
    Ok(())
}

/// The kernel refuses a candidate half-way: all 2,000 classes are as they were, and packets flowed meanwhile.
pub(crate) fn what_the_kernel_refuses_is_taken_back() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    for rollback in ["", "--rollback"] {
        let finished =
            canary(folder.path(), &tree(CLASSES, "10mbit"), &refused_at_the_end(CLASSES), rollback)?
                .expect(8)?;
        let document = document(&finished)?;
        assert_eq!(document["verdict"], "critical");
        let canary = &document["canary"];
        let refused = canary["rollout"]["refused"].as_str().ok_or("not refused")?;
        assert!(refused.contains("htb offload"), "{refused}");
        for side in ["canary", "control"] {
            flowed(&canary["rollout"][side])?;
        }
        let restoration = &canary["restoration"];
        assert_eq!((&restoration["verified"], &restoration["by"]), (&true.into(), &"apply".into()));
        assert_eq!(restoration["classes"], CLASSES, "{restoration}");
        assert_eq!(canary["blocks"].as_array().map(Vec::len), Some(0));
    }
    Ok(())
}

/// A candidate that the kernel takes and that loses packets: the 2,000 classes are brought back, and read back.
pub(crate) fn what_loses_packets_is_rolled_back() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    // Each stream sends 96 kbit/s into 8: the burst is used up in an eighth of a second, and the queue holds one packet.
    let mut lossy = tree(CLASSES, "8kbit");
    for minor in 0x10..0x10 + CLASSES - 2 {
        let _ = writeln!(lossy, "qdisc add dev eth0 parent 1:{minor:x} handle {minor:x}: pfifo limit 1");
    }
    let arguments = "--streams 20 --packets 200 --requests 300 --rollback";
    let finished = canary(folder.path(), &tree(CLASSES, "10mbit"), &lossy, arguments)?.expect(8)?;
    let document = document(&finished)?;
    assert_eq!(verdict(&document, "packets while it stands, new − old"), "critical", "{document:#}");
    assert_eq!(verdict(&document, "classes"), "pass");
    assert_eq!(verdict(&document, "restoration"), "pass");
    let canary = &document["canary"];
    let blocks = canary["blocks"].as_array().ok_or("no blocks")?;
    assert_eq!(blocks.len(), 12);
    for block in blocks {
        assert_eq!(block["classes"], CLASSES);
        flowed(&block["building"])?;
        flowed(&block["steady"])?;
    }
    let restoration = &canary["restoration"];
    assert_eq!((&restoration["verified"], &restoration["by"]), (&true.into(), &"rollback".into()));
    assert_eq!(
        (restoration["classes"].as_u64(), restoration["classes_expected"].as_u64()),
        (Some(2_000), Some(2_000))
    );
    // Every class is changed back, and every leaf's queue goes.
    assert!(restoration["steps"].as_u64() >= Some(2 * u64::from(CLASSES - 2)), "{restoration}");
    flowed(&restoration["traffic"])
}

/// Without `--rollback` it stands, and is said to.
pub(crate) fn what_is_critical_stays_unless_rollback_is_asked_for() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let budget = folder.path().join("strict.toml");
    fs::write(&budget, "schema_version = 1\n[[target]]\nmetric = \"latency_p50_us\"\nbelow = 0.001\n")?;
    let arguments = format!("--pairs 1 --requests 20 --budget {}", budget.display());
    let (old, new) = (tree(20, "10mbit"), tree(21, "10mbit"));
    let finished = canary(folder.path(), &old, &new, &arguments)?.expect(4)?;
    let document = document(&finished)?;
    assert_eq!(verdict(&document, "latency_p50_us"), "critical");
    assert_eq!(document["canary"]["restoration"], Value::Null);
    assert_eq!(document["canary"]["rollout"]["steps"], 1, "one class more");
    Ok(())
}

/// Nothing of the host is touched, and what is wrong with the files is told before anything is built.
pub(crate) fn bad_candidates_are_told() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let links = run("ip -o link")?;
    let good = tree(5, "10mbit");
    for (old, new, code, word) in [
        (&*good, "teapot", 2, "new.tc"),
        ("qdisc add dev eth0 root teapot\n", &*good, 2, "old.tc"),
        (&*good, &*(good.clone() + "qdisc add dev eth1 root pfifo\n"), 2, "2 devices (eth0, eth1)"),
        (&*refused_at_the_end(5), &*good, 3, "the old tree cannot be applied"),
    ] {
        let finished = canary(folder.path(), old, new, "")?.expect(code)?;
        assert!(
            finished.stderr.lines().last().is_some_and(|line| line.contains(word)),
            "{word}: {}",
            finished.said()
        );
    }
    assert_eq!(run("ip -o link")?, links);
    Ok(())
}

pub(crate) fn interrupting_a_canary_leaves_nothing() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let links = run("ip -o link")?;
    for name in ["old.tc", "new.tc"] {
        fs::write(folder.path().join(name), tree(100, "10mbit"))?;
    }
    let place = folder.path().display();
    let line = format!("gate canary --json --old {place}/old.tc --new {place}/new.tc --pairs 50");
    let mut running = Running::start(&mut qdiscope(&line)?)?;
    running.hear("pair 1 of 50")?;
    running.signal(Signal::SIGINT)?;
    let finished = running.finish()?.expect(130)?;
    let document = document(&finished)?;
    assert_eq!(document["interrupted"], true);
    assert_ne!(document["verdict"], "pass");
    assert_eq!(run("ip -o link")?, links);
    Ok(())
}

/// The host is judged, whatever its mood, and the device is compared with its file.
pub(crate) fn before_a_deployment_the_device_is_compared() -> Result<(), Failed> {
    veth("v0", "v1")?;
    let folder = TempDir::new()?;
    let file = folder.path().join("tree.tc");
    fs::write(&file, tree(5, "10mbit").replace("eth0", "v0"))?;
    let file = file.display();
    let line = format!("gate pre --json --watch 300ms --device v0 --tree {file}");
    let finished = Finished::of(&mut qdiscope(&line)?)?.expect(4)?;
    let missing = document(&finished)?;
    assert_eq!(verdict(&missing, "what stands"), "critical");
    run(&format!("tc -batch {file}"))?;
    let finished = Finished::of(&mut qdiscope(&line)?)?;
    assert!([0, 6].contains(&finished.code), "{}", finished.said());
    let there = document(&finished)?;
    assert_eq!(verdict(&there, "what stands"), "pass");
    for check in ["load average", "steal", "HTB classes that are there", "RTNL", "HTB", "veth devices"] {
        assert_ne!(verdict(&there, check), "absent", "{check}: {there:#}");
    }
    // It has the classes that were just made.
    assert_eq!(verdict(&there, "HTB classes that are there"), "warning");
    let other = Finished::of(&mut qdiscope(&format!("gate pre --device v1 --tree {file}"))?)?.expect(2)?;
    assert!(other.one_line()?.contains("describes v0"), "{}", other.said());
    Ok(())
}

/// A fresh run against a saved one of the same load; another load's is not compared.
pub(crate) fn after_a_deployment_a_fresh_run_is_compared() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let (first, second, other) =
        (folder.path().join("first"), folder.path().join("second"), folder.path().join("other"));
    let line = "gate post --json --time-scale 0.04";
    let finished = Finished::of(qdiscope(line)?.arg("--out").arg(&first))?;
    assert!([0, 4, 6].contains(&finished.code), "{}", finished.said());
    assert_eq!(document(&finished)?["baseline"], Value::Null);
    let again = Finished::of(qdiscope(line)?.arg("--baseline").arg(&first).arg("--out").arg(&second))?;
    assert!([0, 4, 6].contains(&again.code), "{}", again.said());
    let compared = document(&again)?;
    assert_eq!(verdict(&compared, "environment"), "absent", "{compared:#}");
    assert_ne!(verdict(&compared, "throughput, against baseline"), "absent");
    assert_eq!(compared["baseline"]["folder"], first.display().to_string());
    // The run is a run as any other.
    Saved::read(again, &second)?;
    Finished::of(qdiscope(QUICK)?.arg("--out").arg(&other))?;
    let refused = Finished::of(qdiscope(line)?.arg("--baseline").arg(&other))?;
    assert!([4, 6].contains(&refused.code), "{}", refused.said());
    assert_eq!(verdict(&document(&refused)?, "environment"), "inconclusive");
    let missing = Finished::of(&mut qdiscope("gate post --baseline /nonexistent")?)?.expect(2)?;
    assert!(missing.one_line()?.contains("--baseline"), "{}", missing.said());
    Ok(())
}
