//! Load profiles on a tree from a file: subscribers join, change their rates and leave.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use libtest_mimic::Failed;
use serde_json::Value;
use support::{run, veth};

use crate::figures::{count, object};
use crate::qdiscope::{Finished, Saved, qdiscope};
use crate::schema;

/// A closed stage and an open one.
const STAGES: &str = "[[stage]]\nname = \"closed\"\nduration = \"2s\"\nexecutor = \"closed\"\nusers = 3\n\
                      [[stage]]\nname = \"open\"\nduration = \"1s\"\nexecutor = \"open\"\nrate = 300\nusers = 3\n";

/// All that may be asked of a tree; much of it comes and goes.
const MIX: &str = "[mix]\ncreate = 10\nchange = 10\nread = 10\ndelete = 10\ndump = 1\nfilter-dump = 1\n";

/// A profile and its tree, in a folder of their own.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(tree: &str, rest: &str) -> Result<Self, Failed> {
        let files = Self { folder: tempfile::tempdir()? };
        fs::create_dir(files.path("trees"))?;
        fs::write(files.path("trees/shaper.tc"), tree)?;
        files.profile(&format!("tree = \"trees/shaper.tc\"\n{rest}"))?;
        Ok(files)
    }

    fn profile(&self, rest: &str) -> Result<(), Failed> {
        Ok(fs::write(self.path("profile.toml"), format!("schema_version = 1\nname = \"evening\"\n{rest}"))?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self) -> Result<Saved, Failed> {
        Saved::by(&format!("bench --profile {}", self.path("profile.toml").display()))
    }

    fn refused(&self, command: &str) -> Result<String, Failed> {
        let mut command = qdiscope(&format!("{command} {}", self.path("profile.toml").display()))?;
        Ok(Finished::of(&mut command)?.expect(2)?.one_line()?.to_owned())
    }
}

/// What shapers write: inner classes, a class and a leaf qdisc for each subscriber, and a filter that the kernel numbers, all of one
/// prio.
fn shaper(device: &str, side: &str, subscribers: u32) -> String {
    let mut text = format!(
        "qdisc add dev {device} root handle 1: htb default fff r2q 100\n\
         class add dev {device} parent 1: classid 1:1 htb rate 1gbit\n\
         class add dev {device} parent 1:1 classid 1:2 htb rate 600mbit ceil 1gbit\n\
         class add dev {device} parent 1:1 classid 1:3 htb rate 400mbit\n"
    );
    for subscriber in 0..subscribers {
        let (parent, minor, rate) =
            (2 + subscriber % 2, subscriber + 0x10, [2, 5, 10][subscriber as usize % 3]);
        let _ = writeln!(
            text,
            "class add dev {device} parent 1:{parent} classid 1:{minor:x} htb rate {rate}mbit ceil {}mbit\n\
             qdisc add dev {device} parent 1:{minor:x} handle {minor:x}: pfifo limit 100\n\
             filter add dev {device} parent 1: protocol ip prio 1 u32 match ip {side} 10.0.0.{}/32 flowid 1:{minor:x}",
            2 * rate,
            subscriber + 1
        );
    }
    text
}

/// What must hold of a run in which nothing may go wrong: how often each operation succeeded, in all stages together.
fn counted(saved: &Saved, stages: &[&str], population: u64) -> Result<BTreeMap<String, u64>, Failed> {
    assert!([0, 4, 6].contains(&saved.finished.code), "{}\n{}", saved.finished.code, saved.finished.said());
    schema::check(&saved.result)?;
    assert_eq!(saved.result["interrupted"], false);
    let workloads = saved.workloads()?;
    let names: Vec<&str> =
        workloads.iter().filter_map(|workload| workload["stage"]["name"].as_str()).collect();
    assert_eq!(names, stages);
    let mut all = BTreeMap::new();
    for workload in workloads {
        assert_eq!(workload["errors"], Value::Array(Vec::new()), "{}", workload["stage"]["name"]);
        assert_eq!(count(workload, "/left_after_teardown")?, 0);
        assert_eq!(count(workload, "/population_max")?, population);
        assert_eq!(count(workload, "/classes")?, population);
        let mut sum = 0;
        for (operation, latency) in object(workload, "/latency_us")? {
            let times = count(latency, "/count")?;
            *all.entry(operation.clone()).or_default() += times;
            sum += times;
        }
        assert_eq!(sum, count(workload, "/operations")?);
    }
    Ok(all)
}

/// The host's own devices have the names of the tree's: they must not be touched.
pub(crate) fn subscribers_come_and_go_on_a_shapers_tree() -> Result<(), Failed> {
    veth("wan", "lan")?;
    run("tc qdisc add dev wan root handle 7: pfifo limit 5")?;
    let before = (run("tc qdisc show")?, run("tc class show dev wan")?);
    let files =
        Files::new(&(shaper("wan", "src", 120) + &shaper("lan", "dst", 80)), &format!("{MIX}{STAGES}"))?;
    let saved = files.run()?;
    let counts = counted(&saved, &["closed", "open"], 206)?;
    assert_eq!(
        counts.keys().map(String::as_str).collect::<Vec<_>>(),
        [
            "class-change",
            "class-create",
            "class-delete",
            "class-dump",
            "class-read",
            "filter-create",
            "filter-delete",
            "filter-dump",
            "qdisc-create",
        ],
        "each is an operation of its own"
    );
    // A subscriber is a class, a qdisc and a filter; at a stage's end some are on their way, and the warm-up is not counted.
    let of = |name: &str| counts.get(name).copied().unwrap_or(0);
    for (one, other) in [
        ("class-create", "qdisc-create"),
        ("class-create", "filter-create"),
        ("class-delete", "filter-delete"),
    ] {
        assert!(of(one).abs_diff(of(other)) <= 6, "{counts:?}");
    }
    assert!(of("class-create") >= 20 && of("class-delete") >= 20, "{counts:?}");
    let profile = &saved.result["profile"];
    let tree = files.path("trees/shaper.tc");
    assert_eq!(profile["tree"].as_str(), tree.to_str(), "found beside the profile");
    let told = format!("load profile: evening, on {}", tree.display());
    assert!(saved.finished.stdout.contains(&told), "{}", saved.finished.stdout);
    assert_eq!(count(&saved.result, "/settings/devices")?, 2);
    let after = (run("tc qdisc show")?, run("tc class show dev wan")?);
    assert_eq!(before, after, "the host's devices are as they were");
    Ok(())
}

/// The kernel numbers hash tables and filters, and these must be the numbers that they are deleted by; what hangs on a leaf goes and
/// comes with it; what hangs elsewhere stays.
pub(crate) fn trees_of_all_shapes_hold_under_churn() -> Result<(), Failed> {
    let tree = "\
        qdisc add dev a root handle 1: htb\n\
        class add dev a parent 1: classid 1:1 htb rate 100mbit\n\
        class add dev a parent 1:1 classid 1:10 htb rate 1mbit\n\
        class add dev a parent 1:1 classid 1:11 htb rate 1mbit\n\
        class add dev a parent 1: classid 1:12 htb rate 1mbit\n\
        filter add dev a parent 1: protocol ip prio 5 handle 2: u32 divisor 256\n\
        filter add dev a parent 1: protocol ip prio 5 u32 ht 800:: match ip dst 10.0.0.0/8 hashkey mask 0xff at 16 link 2:\n\
        filter add dev a parent 1: protocol ip prio 5 u32 ht 2:1a: match ip dst 10.0.0.26/32 flowid 1:10\n\
        filter add dev a parent 1: protocol ip prio 5 handle 2:1a:7 u32 ht 2:1a: match ip dst 10.1.0.26/32 flowid 1:11\n\
        filter add dev a parent 1: protocol ip prio 6 u32 match ip src 10.0.0.1/32 flowid 1:12\n\
        filter add dev a parent 1: protocol ipv6 prio 7 handle ::801 u32 match u32 1 0xff at 0 flowid 1:12\n\
        filter add dev a parent 1: protocol ipv6 prio 7 u32 match u32 2 0xff at 0 flowid 1:11\n\
        filter add dev a parent 1:1 protocol ip prio 5 u32 match ip dport 80 0xffff flowid 1:10\n\
        qdisc add dev b root handle 2: htb\n\
        class add dev b parent 2: classid 2:1 htb rate 1mbit ceil 5mbit\n\
        class add dev b parent 2: classid 2:2 htb rate 1kbit burst 30k\n\
        qdisc add dev b parent 2:1 handle 20: htb\n\
        class add dev b parent 20: classid 20:1 htb rate 1mbit\n\
        class add dev b parent 20:1 classid 20:2 htb rate 1mbit\n\
        qdisc add dev b parent 20:2 pfifo\n\
        filter add dev b parent 20: protocol ip prio 1 u32 match u32 0 0 flowid 20:2\n\
        filter add dev b parent 2: protocol ip prio 1 u32 match u32 0 0 indev a flowid 2:1\n\
        qdisc del dev c root\n";
    let files = Files::new(tree, &format!("warmup = 30\n{MIX}{STAGES}"))?;
    let counts = counted(&files.run()?, &["closed", "open"], 8)?;
    for operation in ["class-create", "qdisc-create", "filter-create", "filter-delete", "class-delete"] {
        assert!(counts.contains_key(operation), "{operation}: {counts:?}");
    }
    Ok(())
}

/// As `tc apply` reads it, by its name.
pub(crate) fn a_tree_may_be_toml_and_is_shown() -> Result<(), Failed> {
    let files = Files::new("", "")?;
    let toml = "[[wan.qdisc]]\nparent = \"root\"\nhandle = \"1:\"\nkind = \"htb\"\n\
                [[wan.class]]\nparent = \"1:\"\nclassid = \"1:10\"\nrate = \"1mbit\"\n\
                [[wan.class]]\nparent = \"1:\"\nclassid = \"1:11\"\nrate = \"1mbit\"\n";
    let tree = files.path("trees/shaper.toml");
    fs::write(&tree, toml)?;
    // From anywhere, too.
    files.profile(&format!("tree = {:?}\n{}", tree.display(), STAGES.replace("= 3", "= 2")))?;
    let profile = files.path("profile.toml");
    let shown = Finished::of(&mut qdiscope(&format!("profiles show {}", profile.display()))?)?.expect(0)?;
    let line = format!("tree: {}, on which 2 subscribers come and go", tree.display());
    assert!(shown.stdout.contains(&line), "{}", shown.stdout);
    assert!(shown.stdout.contains("2 classes on 1 devices"), "{}", shown.stdout);
    counted(&files.run()?, &["closed", "open"], 2)?;
    Ok(())
}

pub(crate) fn bad_trees_are_refused() -> Result<(), Failed> {
    let htb =
        "qdisc add dev wan root handle 1: htb\nclass add dev wan parent 1: classid 1:1 htb rate 1mbit\n";
    let filter = "filter add dev wan parent 1: protocol ip prio 1";
    let many: String = (0..1_001).map(|number| htb.replace("wan", &format!("d{number}"))).collect();
    let one = STAGES.replace("= 3\n", "= 1\n");
    for (tree, rest, word) in [
        (String::new(), one.clone(), "names no device"),
        ("qdisc add dev wan root handle 1: htb\n".to_owned(), one.clone(), "no HTB leaf class"),
        (format!("{htb}class add dev wan parent 1:7 classid 1:2 htb rate 1mbit\n"), one.clone(), "1:7"),
        (
            format!("{htb}{filter} u32 match u32 0 0 action mirred egress redirect dev ifb0\n"),
            one.clone(),
            "the device ifb0",
        ),
        (format!("{htb}{filter} matchall classid 1:1\n{filter} matchall classid 1:1\n"), one.clone(), "prio"),
        (
            format!("{htb}{filter} u32 divisor 4\n{filter} u32 match u32 0 0 flowid 1:1\n"),
            one.clone(),
            "hash table",
        ),
        (many, one.clone(), "1001 devices"),
        (htb.to_owned(), STAGES.to_owned(), "3 users"),
        (htb.to_owned(), format!("[mix]\nfilter-delete = 1\n{one}"), "`filter-delete`"),
        (htb.to_owned(), format!("devices = 2\n{one}"), "`devices`"),
        (htb.to_owned(), format!("population = 2\n{one}"), "`population`"),
    ] {
        let files = Files::new(&tree, &rest)?;
        for command in ["bench --profile", "profiles show", "gate post --profile"] {
            let line = files.refused(command)?;
            assert!(line.contains(word), "{command}: {word}: {line}");
        }
    }
    let files = Files::new(htb, &one)?;
    for (name, content, word) in
        [("gone.tc", None, "gone.tc"), ("bad.toml", Some("[[wan.qdisc]]\nkind = 1\n"), "bad.toml")]
    {
        if let Some(content) = content {
            fs::write(files.path(name), content)?;
        }
        files.profile(&format!("tree = \"{name}\"\n{one}"))?;
        let line = files.refused("bench --profile")?;
        assert!(line.contains(word), "{line}");
    }
    Ok(())
}
