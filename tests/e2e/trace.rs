//! `qdiscope trace`: other programs' requests, seen without their help and without harm to them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::signal::Signal;
use serde_json::Value;
use support::{Need, Skip, run, veth};

use crate::mounts::{self, Tmpfs};
use crate::qdiscope::{Finished, Running, plain, qdiscope};
use crate::rtnl::{Hammer, RETRIES};

/// Set for a process that sends requests as fast as is said rather than run the tests: how many.
const SENDER: &str = "QDISCOPE_E2E_SENDER";

/// Requests a second.
const RATE: u32 = 100_000;

/// Instead of their number: that many messages in one packet.
const PACKET: &str = "packet";
const IN_A_PACKET: u32 = 3;

/// Is the sender, in a process that a test makes of this executable.
pub(crate) fn as_sender() -> Option<ExitCode> {
    let requests = std::env::var(SENDER).ok()?;
    let sent = match requests.parse() {
        Ok(requests) => send(requests),
        Err(_) => send_packet(),
    };
    if let Err(error) = &sent {
        eprintln!("the sender broke: {error}");
    }
    Some(if sent.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks for the deletion of a class on a device that cannot exist.
fn message(number: u32) -> [u8; 36] {
    let mut message = [0_u8; 36];
    message[0] = 36;
    message[4] = 41; // RTM_DELTCLASS
    message[6] = 1; // NLM_F_REQUEST
    message[8..12].copy_from_slice(&number.to_ne_bytes());
    message[20..24].copy_from_slice(&i32::MAX.to_ne_bytes());
    message
}

/// Asks again and again, a millisecond's worth at a time. Answers are not read.
fn send(requests: u32) -> std::io::Result<()> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    let start = Instant::now();
    for number in 0..requests {
        socket.send_to(&message(number), &SocketAddr::new(0, 0), 0)?;
        let due = Duration::from_secs(1) * number / RATE;
        if number % (RATE / 1_000) == 0 {
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
    }
    Ok(())
}

fn send_packet() -> std::io::Result<()> {
    let packet: Vec<u8> = (1..=IN_A_PACKET).flat_map(message).collect();
    Socket::new(NETLINK_ROUTE)?.send_to(&packet, &SocketAddr::new(0, 0), 0).map(drop)
}

/// A device with HTB `1:` on it.
pub(crate) fn shaped() -> Result<(), Failed> {
    veth("traced0", "traced1")?;
    run("tc qdisc add dev traced0 root handle 1: htb").map(drop)
}

/// `qdiscope trace ARGUMENTS -- sh -c SCRIPT`
fn trace(arguments: &str, script: &str) -> Result<Command, Failed> {
    let mut command = qdiscope(&format!("trace {arguments} --"))?;
    command.args(["sh", "-c", script]);
    Ok(command)
}

fn objects(finished: &Finished) -> Result<Vec<Value>, Failed> {
    let parsed = finished.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    parsed.map_err(|error| format!("{error}\n{}", finished.said()).into())
}

/// How many requests the summary counts: seen, shown, lost.
fn counted(finished: &Finished) -> Result<[u64; 3], Failed> {
    let line =
        finished.stderr.lines().find(|line| line.contains(" shown, ")).ok_or_else(|| finished.said())?;
    let number = |before: &str| {
        let (left, _) = line.split_once(before)?;
        left.rsplit(' ').next()?.parse().ok()
    };
    match [number(" requests"), number(" shown"), number(" lost")] {
        [Some(seen), Some(shown), Some(lost)] => Ok([seen, shown, lost]),
        _ => Err(format!("no counts in: {line}").into()),
    }
}

pub(crate) fn a_batch_is_told_command_by_command() -> Result<(), Failed> {
    veth("traced0", "traced1")?;
    let batch = tempfile::NamedTempFile::new()?;
    let commands = "qdisc add dev traced0 root handle 1: htb\n\
        qdisc add dev traced0 root handle 1: htb\n\
        class add dev traced0 parent 1: classid 1:10 htb rate 1mbit\n\
        class add dev traced0 parent 1:10 classid 1:11 htb rate 1mbit\n\
        class change dev traced0 parent 1: classid 1:10 htb rate 2mbit\n\
        class del dev traced0 classid 1:11\n\
        class del dev traced0 classid 1:11\n";
    fs::write(batch.path(), commands)?;
    let tc = format!("exec tc -force -batch {}", batch.path().display());
    // tc says by 1 that a command failed.
    let finished = Finished::of(&mut trace("--json", &tc)?)?.expect(1)?;
    let expected = [
        ("RTM_NEWQDISC", "root", Value::Null, Value::from("htb"), 0),
        ("RTM_NEWQDISC", "root", Value::Null, Value::from("htb"), 17),
        ("RTM_NEWTCLASS", "1:", "1:10".into(), "htb".into(), 0),
        ("RTM_NEWTCLASS", "1:10", "1:11".into(), "htb".into(), 0),
        ("RTM_NEWTCLASS", "1:", "1:10".into(), "htb".into(), 0),
        ("RTM_DELTCLASS", "", "1:11".into(), Value::Null, 0),
        ("RTM_DELTCLASS", "", "1:11".into(), Value::Null, 2),
    ];
    let seen = objects(&finished)?;
    assert_eq!(seen.len(), expected.len(), "{}", finished.said());
    for (seen, (message_type, parent, classid, kind, errno)) in seen.iter().zip(expected) {
        let parent = if parent.is_empty() { Value::Null } else { parent.into() };
        for (name, value) in [
            ("type", Value::from(message_type)),
            ("dev", "traced0".into()),
            ("parent", parent),
            ("classid", classid),
            ("kind", kind),
            ("errno", errno.into()),
            ("comm", "tc".into()),
            ("messages", 1.into()),
            ("dump", false.into()),
        ] {
            assert_eq!(seen[name], value, "{name} of {seen}");
        }
        let total = seen["total_us"].as_f64().ok_or("no total")?;
        let phases = &seen["phases_us"];
        let parts = ["rtnl_wait", "off_cpu", "on_cpu"].map(|name| phases[name].as_f64().unwrap_or(f64::NAN));
        assert!(total > 0.0 && (parts.iter().sum::<f64>() - total).abs() < 0.01, "{seen}");
        for name in ["rtnl_hold", "handler", "qdisc_create", "class_operation", "rcu"] {
            assert!(phases.as_object().is_some_and(|phases| phases.contains_key(name)), "{name}: {seen}");
        }
        assert_eq!(seen["pid"], finished_pid(&seen_pids(&finished)?)?, "one process");
    }
    assert_eq!(seen[1]["ext_ack"], "Exclusivity flag on, cannot modify");
    assert_eq!(counted(&finished)?, [7, 7, 0]);
    let counts = ["RTM_NEWQDISC: 2, median ", "RTM_NEWTCLASS: 3, median ", "RTM_DELTCLASS: 2, median "];
    for line in counts.into_iter().chain(["1 EEXIST", "1 ENOENT"]) {
        assert!(finished.stderr.contains(line), "{line}: {}", finished.stderr);
    }
    Ok(())
}

fn seen_pids(finished: &Finished) -> Result<Vec<Value>, Failed> {
    Ok(objects(finished)?.into_iter().map(|seen| seen["pid"].clone()).collect())
}

fn finished_pid(pids: &[Value]) -> Result<Value, Failed> {
    let first = pids.first().ok_or("nothing was seen")?;
    if pids.iter().any(|pid| pid != first) {
        return Err(format!("more than one process: {pids:?}").into());
    }
    Ok(first.clone())
}

pub(crate) fn a_line_is_for_people() -> Result<(), Failed> {
    shaped()?;
    let script = "tc class add dev traced0 parent 1: classid 1:10 htb rate 1mbit; \
        tc qdisc add dev traced0 root handle 1: htb; tc class show dev traced0 >/dev/null";
    let finished = Finished::of(&mut trace("", script)?)?.expect(0)?;
    let lines: Vec<&str> = finished.stdout.lines().collect();
    let [add, refused, list] = lines.as_slice() else { return Err(finished.said().into()) };
    assert!(
        add.contains("] RTM_NEWTCLASS dev traced0 parent 1: classid 1:10 htb ") && add.ends_with("= ok"),
        "{add}"
    );
    assert!(add.contains(" tc[") && add.contains("on CPU"), "{add}");
    let words = "RTM_NEWQDISC dev traced0 root handle 1: htb ";
    assert!(refused.contains(words), "{refused}");
    assert!(refused.ends_with("= EEXIST \"Exclusivity flag on, cannot modify\""), "{refused}");
    assert!(
        list.contains("RTM_GETTCLASS dev traced0 (list, first part) ") && list.ends_with("= ok"),
        "{list}"
    );
    assert!(!finished.said().contains('\u{1b}'), "colours where there is no terminal");
    Ok(())
}

/// Each `tc` is a process of its own, which lives for a millisecond.
pub(crate) fn no_child_is_missed() -> Result<(), Failed> {
    shaped()?;
    let script = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); \
        (sh -c \"tc class add dev traced0 parent 1: classid 1:$i htb rate 1mbit\"); done";
    let finished = Finished::of(&mut trace("--json", script)?)?.expect(0)?;
    let seen = objects(&finished)?;
    assert_eq!(seen.len(), 40, "{}", finished.stderr);
    for (number, seen) in (1..).zip(&seen) {
        // To `tc` each number is hexadecimal.
        assert_eq!(seen["classid"], format!("1:{number}"), "{seen}");
        assert_eq!((&seen["type"], &seen["errno"]), (&"RTM_NEWTCLASS".into(), &0.into()), "{seen}");
    }
    assert_eq!(counted(&finished)?, [40, 40, 0]);
    Ok(())
}

pub(crate) fn what_the_command_gets_is_what_it_would_have_had() -> Result<(), Failed> {
    // Its streams, exit code, mounts and signals; none of our descriptors.
    let script =
        "cat; ls /proc/self/fd | wc -l; readlink /proc/self/ns/mnt; grep SigBlk /proc/self/status; exit 7";
    let output = tempfile::NamedTempFile::new()?;
    let mut input = tempfile::tempfile()?;
    input.write_all(b"said\n")?;
    let told = |command: &mut Command| -> Result<Finished, Failed> {
        std::io::Seek::rewind(&mut &input)?;
        Finished::of(command.stdin(input.try_clone()?))
    };
    let mut shell = Command::new("sh");
    let alone = told(plain(&mut shell).args(["-c", script]))?.expect(7)?;
    let mut traced = trace(&format!("--output {}", output.path().display()), script)?;
    let traced = told(&mut traced)?.expect(7)?;
    assert_eq!(traced.stdout, alone.stdout);
    assert!(traced.stdout.starts_with("said\n"), "{}", traced.stdout);
    Ok(())
}

pub(crate) fn how_the_command_ends_is_passed_on() -> Result<(), Failed> {
    Finished::of(&mut trace("", "kill -KILL $$")?)?.expect(137)?;
    for (words, code) in [("/no/such/command", 127), ("nonesuch-command", 127), ("/etc/passwd", 126)] {
        let finished = Finished::of(&mut qdiscope(&format!("trace -- {words}"))?)?.expect(code)?;
        assert!(finished.one_line()?.contains(words), "{}", finished.stderr);
    }
    Ok(())
}

/// A signal that is sent to us is the command's.
pub(crate) fn a_signal_is_the_commands() -> Result<(), Failed> {
    shaped()?;
    let script = "trap 'tc class add dev traced0 parent 1: classid 1:1 htb rate 1mbit; exit 5' INT; \
        echo ready >&2; while :; do sleep 0.05; done";
    let mut running = Running::start(&mut trace("--json", script)?)?;
    running.hear("ready")?;
    running.signal(Signal::SIGINT)?;
    let finished = running.finish()?.expect(5)?;
    assert_eq!(objects(&finished)?.len(), 1, "{}", finished.said());
    Ok(())
}

pub(crate) fn what_goes_on_in_the_background_is_followed() -> Result<(), Failed> {
    shaped()?;
    let script =
        "(sleep 1; tc class add dev traced0 parent 1: classid 1:1 htb rate 1mbit) >/dev/null 2>&1 & exit 3";
    let mut running = Running::start(&mut trace("--json", script)?)?;
    running.hear("the command has ended with 3")?;
    let finished = running.finish()?.expect(3)?;
    assert_eq!(objects(&finished)?.len(), 1, "{}", finished.said());
    // And until somebody has had enough.
    let mut running = Running::start(&mut trace("", "sleep 30 >/dev/null 2>&1 & exit 3")?)?;
    running.hear("the command has ended with 3")?;
    running.signal(Signal::SIGINT)?;
    running.finish()?.expect(3).map(drop)
}

/// A shell that does something when a file appears, and a trace that follows it.
struct Followed {
    shell: Child,
    folder: tempfile::TempDir,
}

impl Followed {
    fn start(before: &str, script: &str) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let script = script.replace("WAIT", "while [ ! -e go ]; do sleep 0.02; done");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{before} {script}")]).current_dir(folder.path());
        let shell = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Self { shell, folder })
    }

    fn trace(&self, arguments: &str) -> Result<Running, Failed> {
        Running::start(&mut qdiscope(&format!("trace --pid {} {arguments}", self.shell.id()))?)
    }

    fn go(&self) -> Result<(), Failed> {
        Ok(fs::write(self.folder.path().join("go"), "")?)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// What it starts later, and what it had started before.
pub(crate) fn a_running_process_is_followed_with_its_children() -> Result<(), Failed> {
    let add = "tc class add dev traced0 parent 1: classid 1:1 htb rate 1mbit";
    shaped()?;
    for script in [format!("WAIT; {add}; :"), format!("(WAIT; {add}; :) & wait")] {
        let followed = Followed::start("", &script)?;
        thread::sleep(Duration::from_millis(200));
        let mut running = followed.trace("--json")?;
        running.hear("following process")?;
        followed.go()?;
        // It ends with the process.
        let finished = running.finish()?.expect(0)?;
        let seen = objects(&finished)?;
        assert_eq!(seen.len(), 1, "{script}: {}", finished.said());
        assert_eq!((&seen[0]["comm"], &seen[0]["dev"]), (&"tc".into(), &"traced0".into()), "{}", seen[0]);
        run("tc class del dev traced0 classid 1:1")?;
    }
    // What it has started may outlive it.
    let followed =
        Followed::start("", &format!("(while [ ! -e go ]; do sleep 0.02; done; sleep 1; {add}) & WAIT"))?;
    let mut running = followed.trace("--json")?;
    running.hear("following process")?;
    followed.go()?;
    running.hear(&format!("process {} has ended", followed.shell.id()))?;
    let finished = running.finish()?.expect(0)?;
    assert_eq!(objects(&finished)?.len(), 1, "{}", finished.said());
    Ok(())
}

pub(crate) fn who_says_nothing_is_not_waited_for() -> Result<(), Failed> {
    let followed = Followed::start("exec", "sleep 60")?;
    let finished = followed.trace("--timeout 1")?.finish()?.expect(3)?;
    assert!(finished.stderr.contains("no traffic-control request within 1 s"), "{}", finished.stderr);
    // Nothing has happened to it.
    assert!(Path::new("/proc").join(followed.shell.id().to_string()).exists());
    // Nor to a command, which ends when it is told to.
    let folder = tempfile::tempdir()?;
    let [told, done] = ["told", "done"].map(|name| folder.path().join(name));
    let script = format!(
        "exec >/dev/null 2>&1; while [ ! -e {} ]; do sleep 0.05; done; touch {}",
        told.display(),
        done.display()
    );
    let finished = Finished::of(&mut trace("--timeout 0.5", &script)?)?.expect(3)?;
    assert!(finished.stderr.contains("the command runs on"), "{}", finished.stderr);
    fs::write(&told, "")?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done.exists() {
        if Instant::now() > deadline {
            return Err("the command did not run on".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    let running = followed.trace("")?;
    thread::sleep(Duration::from_secs(2));
    running.signal(Signal::SIGINT)?;
    running.finish()?.expect(0)?;
    for nobody in ["--pid 4194304", "--pid 0", "--pid 1 -- true", "--type RTM_NEWLINK -- true"] {
        Finished::of(&mut qdiscope(&format!("trace {nobody}"))?)?.expect(2)?;
    }
    Ok(())
}

pub(crate) fn everybody_is_followed_unless_one_is_named() -> Result<(), Failed> {
    shaped()?;
    let mut running = Running::start(&mut qdiscope("trace --json --dev traced0 --type newtclass")?)?;
    running.hear("following every process")?;
    run("tc class add dev traced0 parent 1: classid 1:77 htb rate 1mbit")?;
    run("tc class del dev traced0 classid 1:77")?;
    thread::sleep(Duration::from_millis(100));
    running.signal(Signal::SIGTERM)?;
    let finished = running.finish()?.expect(0)?;
    let seen = objects(&finished)?;
    assert_eq!(seen.len(), 1, "{}", finished.said());
    assert_eq!(seen[0]["classid"], "1:77");
    Ok(())
}

pub(crate) fn filters_hold_back() -> Result<(), Failed> {
    shaped()?;
    veth("other0", "other1")?;
    let script = "tc class add dev traced0 parent 1: classid 1:1 htb rate 1mbit; \
        tc class del dev traced0 classid 1:1; tc qdisc add dev other0 root handle 1: htb; tc qdisc del dev other0 root";
    let shown = |arguments: &str| -> Result<u64, Failed> {
        let finished = Finished::of(&mut trace(&format!("--json {arguments}"), script)?)?.expect(0)?;
        let [seen, shown, lost] = counted(&finished)?;
        assert_eq!(
            (seen, lost, objects(&finished)?.len() as u64),
            (4, 0, shown),
            "{arguments}: {}",
            finished.said()
        );
        Ok(shown)
    };
    for (arguments, expected) in [
        ("--dev traced0", 2),
        ("--dev traced0 --dev other0", 4),
        ("--dev nowhere", 0),
        ("--type newtclass", 1),
        ("--type RTM_DELTCLASS --type rtm_delqdisc", 2),
        ("--comm tc", 4),
        ("--comm sh", 0),
        ("--filter-pid 1", 0),
        ("--min-latency 60s", 0),
        ("--min-latency 0us --dev other0 --type newqdisc", 1),
    ] {
        assert_eq!(shown(arguments)?, expected, "{arguments}");
    }
    Ok(())
}

/// As many as are sent are shown or lost.
pub(crate) fn a_flood_is_shown_or_counted() -> Result<(), Failed> {
    const SENT: u32 = 100_000;
    let mut command = qdiscope("trace --json --")?;
    command.arg(std::env::current_exe()?).env(SENDER, SENT.to_string());
    let finished = Finished::of(&mut command)?.expect(0)?;
    let [seen, shown, lost] = counted(&finished)?;
    println!("{SENT} sent at {RATE}/s: {shown} shown, {lost} lost");
    assert_eq!((seen, seen + lost), (shown, u64::from(SENT)), "{}", finished.stderr);
    let mut sequences = BTreeMap::new();
    for line in objects(&finished)? {
        *sequences.entry(line["seq"].as_u64().ok_or("no seq")?).or_insert(0) += 1;
    }
    assert_eq!(sequences.len() as u64, shown, "each once");
    Ok(())
}

/// Where only the system call is seen, it is said for how many messages it stands, and no result is made up for them.
pub(crate) fn messages_of_a_packet_are_told_apart_or_counted() -> Result<(), Failed> {
    let mut command = qdiscope("trace --json --")?;
    command.arg(std::env::current_exe()?).env(SENDER, PACKET);
    let finished = Finished::of(&mut command)?.expect(0)?;
    let seen = objects(&finished)?;
    let apart = seen.len() != 1;
    assert_eq!(seen.len(), if apart { IN_A_PACKET as usize } else { 1 }, "{}", finished.said());
    for (number, seen) in (1..).zip(&seen) {
        assert_eq!(seen["messages"], if apart { 1 } else { IN_A_PACKET }, "{seen}");
        assert_eq!(seen["seq"], number, "{seen}");
        // ENODEV
        assert_eq!(seen["errno"], if apart { 19.into() } else { Value::Null }, "{seen}");
    }
    Ok(())
}

/// Without BTF nothing tells who has started whom, nor where a socket is: the one is refused, the other is not known.
pub(crate) fn without_btf_less_is_known_and_said() -> Result<(), Failed> {
    shaped()?;
    mounts::enter()?;
    let _hidden = Tmpfs::mount(Path::new("/sys/kernel/btf"), "size=64k,mode=755")?;
    let finished = Finished::of(&mut trace("", "exit 9")?)?.expect(3)?;
    assert!(finished.one_line()?.contains("BTF"), "{}", finished.stderr);
    let mut running = Running::start(&mut qdiscope("trace --json --comm tc --type newtclass")?)?;
    running.hear("following every process")?;
    run("tc class add dev traced0 parent 1: classid 1:78 htb rate 1mbit")?;
    thread::sleep(Duration::from_millis(100));
    running.signal(Signal::SIGINT)?;
    let finished = running.finish()?.expect(0)?;
    let seen = objects(&finished)?;
    let seen = seen.iter().find(|seen| seen["classid"] == "1:78").ok_or_else(|| finished.said())?;
    assert!(seen["netns"].is_null() && seen["dev"] == format!("if{}", seen["ifindex"]), "{seen}");
    // Kprobes see the kernel's verdict all the same.
    assert!(seen["errno"].is_null() || seen["errno"] == 0, "{seen}");
    Ok(())
}

/// A reader that does not read keeps nobody waiting.
pub(crate) fn a_reader_that_sleeps_stops_nobody() -> Result<(), Failed> {
    const SENT: u32 = 200_000;
    let done = tempfile::tempdir()?;
    let done = done.path().join("done");
    let (mut reader, writer) = std::io::pipe()?;
    let mut command = qdiscope("trace --json -- sh -c")?;
    // Its own standard output is another: only ours is not read.
    command.arg("\"$0\" >/dev/null && touch \"$1\"").arg(std::env::current_exe()?).arg(&done);
    let running = Running::start_with(command.env(SENDER, SENT.to_string()).stdout(writer))?;
    drop(command);
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done.exists() {
        if Instant::now() > deadline {
            return Err("the sender waits for who reads its trace".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    // Now it reads.
    let lines = thread::spawn(move || -> std::io::Result<u64> {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut reader, &mut text)?;
        Ok(text.lines().count() as u64)
    });
    let finished = running.finish()?.expect(0)?;
    let lines = lines.join().map_err(|_| "the reader panicked")??;
    let [seen, shown, lost] = counted(&finished)?;
    println!("{SENT} sent, and nobody read: {shown} shown, {lost} lost");
    assert_eq!((seen, shown, seen + lost), (shown, lines, u64::from(SENT)), "{}", finished.stderr);
    assert!(lost > 0, "there was room for everything");
    assert!(finished.stderr.contains("came faster than they could be shown"), "{}", finished.stderr);
    Ok(())
}

/// `| head -1`: the command goes on, and its exit code is passed on.
pub(crate) fn a_reader_that_leaves_stops_nobody() -> Result<(), Failed> {
    shaped()?;
    let script = "for i in 1 2 3 4 5; do tc class add dev traced0 parent 1: classid 1:$i htb rate 1mbit; sleep 0.1; done; exit 4";
    let (reader, writer) = std::io::pipe()?;
    let mut command = trace("", script)?;
    let running = Running::start_with(command.stdout(writer))?;
    drop(command);
    let head = Command::new("head").arg("-1").stdin(reader).stdout(Stdio::piped()).spawn()?;
    let finished = running.finish()?.expect(4)?;
    let line = String::from_utf8(head.wait_with_output()?.stdout)?;
    assert_eq!(line.lines().count(), 1, "{line}");
    assert_eq!(finished.stderr, "", "quietly");
    assert_eq!(run("tc class show dev traced0")?.lines().count(), 5, "the command was stopped");
    Ok(())
}

pub(crate) fn a_full_disk_is_told_and_stops_nobody() -> Result<(), Failed> {
    shaped()?;
    let folder = tempfile::tempdir()?;
    mounts::enter()?;
    let _disk = Tmpfs::mount(folder.path(), "size=4k")?;
    let output = folder.path().join("trace");
    let script =
        "for i in $(seq 60); do tc class add dev traced0 parent 1: classid 1:$i htb rate 1mbit; done";
    let arguments = format!("--json --output {}", output.display());
    let finished = Finished::of(&mut trace(&arguments, script)?)?.expect(3)?;
    let told = format!("cannot write to {}", output.display());
    assert!(
        finished.stderr.contains(&told) && finished.stderr.contains("No space left"),
        "{}",
        finished.stderr
    );
    assert_eq!(run("tc class show dev traced0")?.lines().count(), 60, "the command was stopped");
    let full = File::options().write(true).open("/dev/full")?;
    let mut command = trace("", "tc class del dev traced0 classid 1:1; exit 9")?;
    let finished = Running::start_with(command.stdout(full))?.finish()?.expect(9)?;
    assert!(finished.stderr.contains("cannot write to standard output"), "{}", finished.stderr);
    // Nowhere to begin with.
    Finished::of(&mut trace("--output /no/such/folder/file", "exit 9")?)?.expect(3).map(drop)
}

/// Where a program is.
fn path_of(program: &str) -> Result<String, Failed> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file());
    Ok(found.ok_or_else(|| format!("no {program}"))?.display().to_string())
}

/// The device has its name where the request is sent, wherever that is.
pub(crate) fn names_are_those_of_the_senders_namespace() -> Result<(), Failed> {
    // The one is there, the other elsewhere; both may have the same index.
    shaped()?;
    // By their paths: busybox's `nsenter` prefers its own.
    let (ip, tc) = (path_of("ip")?, path_of("tc")?);
    let script = format!(
        "unshare -n sleep 20 & sleep 0.5; nsenter -n -t $! {ip} link add inside0 type veth peer name inside1; \
         nsenter -n -t $! {tc} qdisc add dev inside0 root handle 7: htb; tc qdisc del dev traced0 root; sleep 0.1; kill $!"
    );
    let finished = Finished::of(&mut trace("--json", &script)?)?;
    let seen = objects(&finished)?;
    let devices: Vec<_> = seen.iter().map(|seen| seen["dev"].as_str().unwrap_or("none")).collect();
    assert_eq!(devices, ["inside0", "traced0"], "{}", finished.said());
    assert_ne!(seen[0]["netns"], seen[1]["netns"]);
    // It has gone before anybody could ask.
    let script = format!(
        "unshare -n sh -c '{ip} link add gone0 type veth peer name gone1; exec {tc} qdisc add dev gone0 root htb'"
    );
    let finished = Finished::of(&mut trace("--json", &script)?)?.expect(0)?;
    let seen = objects(&finished)?;
    let dev = seen.first().and_then(|seen| seen["dev"].as_str()).ok_or_else(|| finished.said())?;
    assert!(dev == "gone0" || dev.starts_with("if"), "{dev}");
    Ok(())
}

/// In C, linked statically and stripped: no symbols, no libraries, no libc that could be interposed.
const STATIC: &str = r"
#include <linux/rtnetlink.h>
#include <sys/socket.h>
int main(void) {
    struct { struct nlmsghdr n; struct tcmsg t; } m = {
        { sizeof m, RTM_DELTCLASS, NLM_F_REQUEST | NLM_F_ACK, 77, 0 }, { .tcm_ifindex = 1, .tcm_handle = 0x10002 } };
    struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
    int s = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    return sendto(s, &m, sizeof m, 0, (struct sockaddr *)&kernel, sizeof kernel) != sizeof m;
}
";

pub(crate) fn a_stripped_static_binary_is_seen() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let (source, program) = (folder.path().join("ask.c"), folder.path().join("ask"));
    fs::write(&source, STATIC)?;
    run(&format!("gcc -static -s -o {} {}", program.display(), source.display()))?;
    let finished =
        Finished::of(&mut qdiscope(&format!("trace --json -- {}", program.display()))?)?.expect(0)?;
    let seen = objects(&finished)?;
    let [seen] = seen.as_slice() else { return Err(finished.said().into()) };
    assert_eq!(
        (&seen["seq"], &seen["dev"], &seen["classid"]),
        (&77.into(), &"lo".into(), &"1:2".into()),
        "{seen}"
    );
    assert_eq!((&seen["comm"], &seen["kind"]), (&"ask".into(), &Value::Null), "{seen}");
    // EINVAL or ENOENT, but not well.
    assert!(seen["errno"].as_u64().is_some_and(|errno| errno > 0), "{seen}");
    Ok(())
}

/// In a container processes have other ids than those by which the kernel knows them.
pub(crate) fn a_command_is_followed_in_a_container() -> Result<(), Failed> {
    shaped()?;
    let inside = |arguments: &str| -> Result<Command, Failed> {
        let traced = qdiscope(arguments)?;
        let mut command = Command::new("unshare");
        plain(&mut command).args(["--pid", "--fork", "--mount-proc"]).arg(traced.get_program());
        command.args(traced.get_args());
        Ok(command)
    };
    let add = "tc class add dev traced0 parent 1: classid 1:1 htb rate 1mbit";
    let finished = Finished::of(&mut inside(&format!("trace --json -- {add}"))?)?.expect(0)?;
    assert_eq!(objects(&finished)?.len(), 1, "{}", finished.said());
    let finished = Finished::of(&mut inside("trace --pid 1")?)?.expect(3)?;
    assert!(finished.one_line()?.contains("container"), "{}", finished.stderr);
    Ok(())
}

/// Somebody in another namespace keeps RTNL busy: whoever waits is told behind whom, and without that somebody is not.
pub(crate) fn who_held_rtnl_is_named() -> Result<(), Failed> {
    shaped()?;
    let batch = tempfile::NamedTempFile::new()?;
    let change = "class change dev traced0 parent 1: classid 1:1 htb rate 1mbit\n";
    fs::write(
        batch.path(),
        "class add dev traced0 parent 1: classid 1:1 htb rate 1mbit\n".to_owned() + &change.repeat(3_000),
    )?;
    let script = format!("tc -batch {}; tc class del dev traced0 classid 1:1", batch.path().display());
    let behind = |process: u32| -> Result<(usize, f64), Failed> {
        let finished = Finished::of(&mut trace("--json", &script)?)?.expect(0)?;
        let seen = objects(&finished)?;
        assert_eq!(seen.len(), 3_002, "{}", finished.stderr);
        let behind: Vec<_> = seen.iter().filter(|seen| seen["holder"]["pid"] == process).collect();
        for seen in &behind {
            assert!(seen["phases_us"]["rtnl_wait"].as_f64().is_some_and(|waited| waited > 0.0), "{seen}");
            assert!(seen["holder"]["comm"].as_str().is_some_and(|comm| !comm.is_empty()), "{seen}");
        }
        Ok((behind.len(), behind.iter().filter_map(|seen| seen["phases_us"]["rtnl_wait"].as_f64()).sum()))
    };
    let hammer = Hammer::start()?;
    let process = hammer.id();
    let (mut waits, mut waited_us) = behind(process)?;
    // On a machine that has much else to do the two may not meet.
    for _ in 0..RETRIES {
        if waits == 0 {
            (waits, waited_us) = behind(process)?;
        }
    }
    drop(hammer);
    println!("{waits} requests waited {waited_us:.0} µs behind process {process}");
    assert!(waits > 0, "nobody waited for {process}");
    assert_eq!(behind(process)?.0, 0, "it has gone");
    Ok(())
}

pub(crate) const PYROUTE2: &str = r#"
from pyroute2 import IPRoute
ip = IPRoute()
index = ip.link_lookup(ifname="traced0")[0]
for minor in range(1, 11):
    ip.tc("add-class", "htb", index, 0x10000 | minor, parent=0x10000, rate="1mbit")
for minor in range(1, 4):
    ip.tc("del-class", "htb", index, 0x10000 | minor)
"#;

/// Debian's interpreter, since Debian's package is for that.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// Why a script for pyroute2 cannot run here. It is looked for only: to import it takes half a minute in an emulated machine.
pub(crate) fn without_pyroute2() -> Option<Skip> {
    let find =
        "import sys; sys.exit(all(finder.find_spec('pyroute2', None) is None for finder in sys.meta_path))";
    let found = Command::new(PYTHON).args(["-c", find]).stderr(Stdio::null()).status();
    (!found.is_ok_and(|status| status.success()))
        .then(|| Skip { reason: "python3-pyroute2 is not installed".into(), forced: false })
}

pub(crate) fn a_pyroute2_script_is_seen() -> Result<(), Failed> {
    shaped()?;
    let script = tempfile::NamedTempFile::new()?;
    fs::write(script.path(), PYROUTE2)?;
    let mut command = qdiscope("trace --json --")?;
    let finished = Finished::of(command.arg(PYTHON).arg(script.path()))?.expect(0)?;
    let seen = objects(&finished)?;
    let of_type = |name: &str| seen.iter().filter(|seen| seen["type"] == name).count();
    let counts = [of_type("RTM_NEWTCLASS"), of_type("RTM_DELTCLASS"), seen.len()];
    assert_eq!(counts, [10, 3, 13], "{}", finished.said());
    for seen in &seen {
        assert_eq!((&seen["dev"], &seen["errno"]), (&"traced0".into(), &0.into()), "{seen}");
        assert!(seen["classid"].as_str().is_some_and(|classid| classid.starts_with("1:")), "{seen}");
        assert!(seen["type"] != "RTM_NEWTCLASS" || seen["parent"] == "1:", "{seen}");
    }
    Ok(())
}

/// The trace is killed: the command does not notice.
pub(crate) fn killing_the_trace_leaves_the_command_alone() -> Result<(), Failed> {
    shaped()?;
    let folder = tempfile::tempdir()?;
    let done = folder.path().join("done");
    let script = format!(
        "echo ready >&2; exec >/dev/null 2>&1; sleep 1; tc class add dev traced0 parent 1: classid 1:1 htb rate 1mbit; \
         echo $? >{0}.new; mv {0}.new {0}",
        done.display()
    );
    let mut running = Running::start(&mut trace("", &script)?)?;
    running.hear("ready")?;
    running.signal(Signal::SIGKILL)?;
    assert_eq!(running.finish()?.code, 137);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done.exists() {
        if Instant::now() > deadline {
            return Err("the command did not go on".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(fs::read_to_string(&done)?, "0\n");
    Ok(())
}

pub(crate) const NAMESPACES: &[Need] = &[Need::Program("unshare"), Need::Program("nsenter")];
pub(crate) const COMPILER: &[Need] = &[Need::Program("gcc")];
