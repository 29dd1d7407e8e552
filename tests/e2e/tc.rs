//! `qdiscope tc apply` and `qdiscope tc diff`, held against `tc -batch`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use serde_json::Value;
use support::{run, veth};
use tempfile::TempDir;

use crate::qdiscope::{Finished, Running, qdiscope};

/// Two devices, and a place for files.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Result<Self, Failed> {
        veth("v0", "v1")?;
        Ok(Self { folder: TempDir::new()? })
    }

    fn file(&self, name: &str, text: &str) -> Result<PathBuf, Failed> {
        let path = self.folder.path().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    fn tc(&self, command: &str, file: &str, text: &str) -> Result<Finished, Failed> {
        let path = self.file(file, text)?;
        Finished::of(&mut qdiscope(&format!("tc {command} {}", path.display()))?)
    }
}

/// All that `tc` tells of a device, but for the counters, which time changes.
fn shown(device: &str) -> Result<Vec<String>, Failed> {
    let mut all = Vec::new();
    for what in ["qdisc", "class", "filter"] {
        let parents: &[&str] = if what == "filter" { &["parent 1:", "parent 1:1", "ingress"] } else { &[""] };
        for parent in parents {
            // Classes have no JSON before iproute2 6.2, and filters none that can be read.
            let text = run(&format!("tc -s -d {what} show dev {device} {parent}"))?;
            all.extend(text.lines().map(str::to_owned).filter(|line| !is_counter(line)));
        }
    }
    Ok(all)
}

fn is_counter(line: &str) -> bool {
    let counters = ["Sent ", "backlog ", "lended: ", "tokens: ", "rate "];
    counters.iter().any(|counter| line.trim_start().starts_with(counter))
}

/// A shaper's file: a class, a leaf qdisc and a filter in a hash table for each subscriber.
fn shaper(subscribers: u32) -> String {
    let mut text = String::from(
        "# made by a shaper\n\
         qdisc add dev v0 root handle 1: htb default 2 r2q 100\n\
         class add dev v0 parent 1: classid 1:1 htb rate 10gbit ceil 10gbit\n\
         class add dev v0 parent 1:1 classid 1:2 htb rate 1mbit ceil 10gbit prio 7\n\
         filter add dev v0 parent 1: prio 5 handle 2: protocol ip u32 divisor 256\n\
         filter add dev v0 protocol ip parent 1: prio 5 u32 ht 800:: match ip dst 10.0.0.0/8 \\\n\
         \x20   hashkey mask 0x000000ff at 16 link 2:\n",
    );
    for subscriber in 0..subscribers {
        let minor = subscriber + 0x10;
        let [_, b, c, d] = (0x0A00_0000 + subscriber).to_be_bytes();
        let rate = [3, 7, 10, 25, 50, 100, 333, 1000][subscriber as usize % 8];
        let leaf = ["pfifo limit 64", "bfifo limit 30k", "tbf rate 1gbit burst 20k limit 60k"]
            [subscriber as usize % 3];
        let _ = writeln!(
            text,
            "class add dev v0 parent 1:1 classid 1:{minor:x} htb rate {rate}mbit ceil {}mbit burst 15k quantum 1514\n\
             qdisc add dev v0 parent 1:{minor:x} handle {minor:x}: {leaf}\n\
             filter add dev v0 protocol ip parent 1: prio 5 u32 ht 2:{d:x}: match ip dst 10.{b}.{c}.{d}/32 flowid 1:{minor:x}",
            rate * 2,
        );
    }
    text += "qdisc add dev v0 ingress\n\
             filter add dev v0 parent ffff: protocol all prio 1 u32 match u32 0 0 action mirred egress redirect dev v1\n";
    text
}

/// The issue's case: 13,000 commands.
pub(crate) fn a_shapers_file_is_what_tc_makes_of_it() -> Result<(), Failed> {
    let world = World::new()?;
    let text = shaper(4_330);
    let commands = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with(' ')).count();
    assert!(commands >= 12_990, "{commands}");
    let path = world.file("shaper.tc", &text)?;
    run(&format!("tc -batch {}", path.display()))?;
    let expected = shown("v0")?;
    // What tc has made needs no change.
    let finished = world.tc("diff", "shaper.tc", &text)?.expect(0)?;
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("", ""));
    run("tc qdisc del dev v0 root")?;
    run("tc qdisc del dev v0 ingress")?;
    let finished = world.tc("diff", "shaper.tc", &text)?.expect(7)?;
    assert_eq!(finished.stdout.lines().count(), commands);
    let finished = world.tc("apply", "shaper.tc", &text)?.expect(0)?;
    assert_eq!(finished.stdout, format!("{commands} changes\n"));
    let ours = shown("v0")?;
    if let Some((ours, theirs)) = ours.iter().zip(&expected).find(|(ours, theirs)| ours != theirs) {
        return Err(format!("ours: {ours}\n  tc: {theirs}").into());
    }
    assert_eq!(ours.len(), expected.len());
    world.tc("diff", "shaper.tc", &text)?.expect(0)?;
    assert_eq!(world.tc("apply", "shaper.tc", &text)?.expect(0)?.stdout, "nothing to change\n");
    Ok(())
}

const SMALL: &str = "qdisc add dev v0 root handle 1: htb default 10\n\
                     class add dev v0 parent 1: classid 1:10 htb rate 10mbit\n\
                     class add dev v0 parent 1: classid 1:20 htb rate 20mbit\n\
                     qdisc add dev v0 parent 1:20 handle 20: pfifo limit 50\n";

/// One subscriber's new rate is one change, and nobody else notices.
pub(crate) fn only_what_differs_is_changed() -> Result<(), Failed> {
    let world = World::new()?;
    world.tc("apply", "small.tc", SMALL)?.expect(0)?;
    let faster = SMALL.replace("rate 20mbit", "rate 25mbit");
    let finished = world.tc("diff", "small.tc", &faster)?.expect(7)?;
    assert!(
        finished.stdout.starts_with("class change dev v0 classid 1:20 htb rate 25mbit"),
        "{}",
        finished.said()
    );
    assert!(
        finished.stdout.ends_with("# different\n") && finished.stdout.lines().count() == 1,
        "{}",
        finished.said()
    );
    let finished = world.tc("diff --json", "small.tc", &faster)?.expect(7)?;
    let list: Value = serde_json::from_str(&finished.stdout)?;
    assert_eq!((&list[0]["device"], &list[0]["reason"]), (&"v0".into(), &"different".into()));
    let dry = world.tc("apply --dry-run", "small.tc", &faster)?.expect(0)?;
    assert_eq!(Some(dry.stdout.trim_end()), list[0]["command"].as_str());
    assert!(run("tc class show dev v0")?.contains("rate 20Mbit"), "a dry run changes nothing");
    // What it prints, tc takes.
    let printed = world.file("printed.tc", &dry.stdout)?;
    run(&format!("tc -batch {}", printed.display()))?;
    world.tc("diff", "small.tc", &faster)?.expect(0)?;
    assert_eq!(world.tc("apply", "small.tc", SMALL)?.expect(0)?.stdout, "1 change\n");
    Ok(())
}

/// Hooks and devices that the file does not name are left as they are.
pub(crate) fn what_is_not_named_is_not_touched() -> Result<(), Failed> {
    let world = World::new()?;
    run("tc qdisc add dev v1 root handle 7: htb default 3")?;
    run("tc qdisc add dev v0 ingress")?;
    world.tc("apply", "small.tc", SMALL)?.expect(0)?;
    assert!(run("tc qdisc show dev v1")?.contains("htb 7:"));
    assert!(run("tc qdisc show dev v0")?.contains("ingress"));
    assert_eq!(world.tc("apply", "none.tc", "qdisc del dev v0 root\n")?.expect(0)?.stdout, "1 change\n");
    assert!(!run("tc qdisc show dev v0")?.contains("htb"));
    assert_eq!(
        world.tc("apply", "none.tc", "qdisc del dev v0 root\n")?.expect(0)?.stdout,
        "nothing to change\n"
    );
    Ok(())
}

pub(crate) fn toml_and_json_say_the_same() -> Result<(), Failed> {
    let world = World::new()?;
    let toml = "[[v0.qdisc]]\nparent = \"root\"\nhandle = \"1:\"\nkind = \"htb\"\ndefault = \"10\"\n\
                [[v0.class]]\nparent = \"1:\"\nclassid = \"1:10\"\nrate = \"10mbit\"\n\
                [[v0.class]]\nparent = \"1:\"\nclassid = \"1:20\"\nrate = \"20mbit\"\n\
                [[v0.qdisc]]\nparent = \"1:20\"\nhandle = \"20:\"\nkind = \"pfifo\"\nlimit = 50\n";
    world.tc("apply", "small.toml", toml)?.expect(0)?;
    world.tc("diff", "small.tc", SMALL)?.expect(0)?;
    let json = r#"{"v0": {"qdisc": [{"parent": "root", "handle": "1:", "kind": "htb", "default": "10"},
        {"parent": "1:20", "handle": "20:", "kind": "pfifo", "limit": 50}], "class": [
        {"parent": "1:", "classid": "1:10", "rate": "10mbit"}, {"parent": "1:", "classid": "1:20", "rate": "20mbit"}]}}"#;
    world.tc("diff", "small.json", json)?.expect(0)?;
    world.tc("diff --format json", "small", json)?.expect(0)?;
    for (file, text, problem) in [
        ("wrong.toml", toml.replace("limit", "limt"), "unknown field `limt`"),
        ("wrong.toml", toml.replace("10mbit", "10mbyte"), "is not a rate"),
        (
            "wrong.json",
            json.replace("\"1:\", \"classid\": \"1:10\"", "\"2:\", \"classid\": \"1:10\""),
            "of another qdisc",
        ),
        ("wrong.json", json.replace("1:20\", \"rate", "1:10\", \"rate"), "two classes 1:10"),
        ("wrong.json", "{".to_owned(), "EOF"),
        ("wrong.json", r#"{"v0": {}, "v0": {}}"#.to_owned(), "the device v0 comes twice"),
        ("wrong.json", "{}".to_owned(), "it names no device"),
    ] {
        let finished = world.tc("apply", file, &text)?.expect(2)?;
        assert!(finished.stderr.contains(problem), "{problem}: {}", finished.said());
    }
    Ok(())
}

/// The kernel refuses the last of many changes: all others are taken back.
pub(crate) fn a_refusal_restores_what_was_before() -> Result<(), Failed> {
    let world = World::new()?;
    world.tc("apply", "small.tc", SMALL)?.expect(0)?;
    let before = shown("v0")?;
    let text = format!(
        "{}class add dev v0 parent 1: classid 1:30 htb rate 1mbit\n\
         qdisc add dev v0 parent 1:10 handle 30: htb offload\n",
        SMALL.replace("20mbit", "21mbit").replace("handle 20: pfifo limit 50", "handle 21: bfifo limit 9k")
    );
    let finished = world.tc("apply", "offload.tc", &text)?.expect(8)?;
    let line = finished.one_line()?;
    assert!(
        line.contains("tc qdisc add dev v0 parent 1:10 handle 30: htb offload")
            && line.ends_with("what was before has been restored"),
        "{line}"
    );
    assert_eq!(shown("v0")?, before);
    Ok(())
}

/// Of a qdisc that we cannot make again, it is said what stands.
pub(crate) fn what_cannot_be_restored_is_said() -> Result<(), Failed> {
    let world = World::new()?;
    run("tc qdisc add dev v0 root handle 5: pfifo_head_drop limit 9")?;
    let text = format!("{SMALL}qdisc add dev v0 parent 1:10 handle 30: htb offload\n");
    let finished = world.tc("apply", "offload.tc", &text)?.expect(9)?;
    for part in [
        "could not be restored (of a kind that is not supported: v0: the qdisc pfifo_head_drop 5:)",
        "Carried out",
    ] {
        assert!(finished.stderr.contains(part), "{}", finished.said());
    }
    Ok(())
}

/// The small tree, and classes that take the kernel some seconds to add.
fn crowded() -> String {
    let mut text = SMALL.to_owned();
    for minor in 0x100..0x2f00 {
        let _ = writeln!(text, "class add dev v0 parent 1: classid 1:{minor:x} htb rate 1mbit");
    }
    text
}

/// Starts to apply it, and lets it come some way.
fn begin(world: &World, text: &str) -> Result<Running, Failed> {
    let path = world.file("crowded.tc", text)?;
    let run = Running::start(&mut qdiscope(&format!("tc apply {}", path.display()))?)?;
    let begun = Instant::now();
    while classes()? < 1_000 {
        if begun.elapsed() > Duration::from_secs(20) {
            return Err("nothing happens".into());
        }
    }
    Ok(run)
}

fn classes() -> Result<usize, Failed> {
    Ok(run("tc class show dev v0")?.lines().count())
}

pub(crate) fn interrupting_restores_what_was_before() -> Result<(), Failed> {
    let world = World::new()?;
    world.tc("apply", "small.tc", SMALL)?.expect(0)?;
    let before = shown("v0")?;
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let run = begin(&world, &crowded())?;
        run.signal(signal)?;
        let finished = run.finish()?.expect(130)?;
        assert!(
            finished.stderr.ends_with("stopped; what was before has been restored"),
            "{}",
            finished.said()
        );
        assert_eq!(shown("v0")?, before);
    }
    Ok(())
}

/// Nothing can be restored then; but applying again goes on from what stands.
pub(crate) fn after_a_kill_it_goes_on() -> Result<(), Failed> {
    let world = World::new()?;
    let text = crowded();
    let run = begin(&world, &text)?;
    run.signal(Signal::SIGKILL)?;
    run.finish()?.expect(137)?;
    let stand = classes()?;
    assert!((1_000..0x2e00).contains(&stand), "{stand}");
    let finished = world.tc("apply", "crowded.tc", &text)?.expect(0)?;
    // The qdisc and the classes that stand are left as they are.
    let left = text.lines().count() - 1 - stand;
    assert_eq!(finished.stdout, format!("{left} changes\n"));
    world.tc("diff", "crowded.tc", &text)?.expect(0)?;
    Ok(())
}

pub(crate) fn bad_files_are_refused_before_anything_is_sent() -> Result<(), Failed> {
    let world = World::new()?;
    for (text, problem) in [
        ("qdisc add dev v0 root teapot\n", "line 1: qdiscs of kind \"teapot\" are not supported"),
        (
            "\nclass add dev v0 parent 1: classid 1:1 htb rate 1mbit\n",
            "line 2: v0: class 1:1: its qdisc 1: is not in the tree, or is not htb",
        ),
        (
            "qdisc add dev v0 root handle 1: htb\nclass add dev v0 parent 1: classid 1:1 htb rate 2mbit ceil 1mbit\n",
            "line 2: v0: class 1:1: ceil 1Mbit is below rate 2Mbit",
        ),
        ("link set v0 up\n", "line 1: \"link\" is none of qdisc, class, filter"),
    ] {
        let finished = world.tc("apply", "wrong.tc", text)?.expect(2)?;
        let line = finished.one_line()?;
        assert!(line.ends_with(problem) && line.contains("wrong.tc"), "{line}");
        assert!(!run("tc qdisc show dev v0")?.contains("htb"));
    }
    let finished = Finished::of(&mut qdiscope("tc apply /nonexistent.tc")?)?.expect(2)?;
    assert!(finished.one_line()?.contains("No such file"), "{}", finished.said());
    let finished = world.tc("apply", "other.tc", &SMALL.replace("v0", "v9"))?.expect(3)?;
    assert!(finished.one_line()?.contains("no such device: v9"), "{}", finished.said());
    fs::write(world.folder.path().join("bytes.tc"), [0xFF, 0xFE])?;
    let path = world.folder.path().join("bytes.tc");
    Finished::of(&mut qdiscope(&format!("tc diff {}", path.display()))?)?.expect(2)?.one_line()?;
    Ok(())
}
