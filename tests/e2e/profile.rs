//! `qdiscope profile`: what other programs' requests cost, counted exactly, and where.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::figures::{count, number};
use crate::qdiscope::{Finished, Running, qdiscope};
use crate::rtnl::{Hammer, RETRIES};
use crate::schema;
use crate::trace::{PYROUTE2, PYTHON, shaped};

/// What a profile left behind.
struct Profiled {
    finished: Finished,
    document: Value,
    files: BTreeMap<String, String>,
}

/// `qdiscope profile ARGUMENTS --out FOLDER -- COMMAND`
fn profile(arguments: &str, command: &[&str], code: i32) -> Result<Profiled, Failed> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("profile");
    let mut profile = qdiscope(&format!("profile {arguments} --out {} --", out.display()))?;
    let finished = Finished::of(profile.args(command))?.expect(code)?;
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(&out)? {
        let entry = entry?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), fs::read_to_string(entry.path())?);
    }
    let document = serde_json::from_str(files.get("profile.json").ok_or("no profile.json")?)?;
    schema::check_profile(&document)?;
    Ok(Profiled { finished, document, files })
}

/// Time of a folded file by what its stacks contain; µs.
pub(crate) fn time_in(folded: &str, function: &str) -> Result<u64, Failed> {
    let mut sum = 0;
    for line in folded.lines() {
        let (stack, micros) = line.rsplit_once(' ').ok_or_else(|| format!("no stack: {line}"))?;
        if stack.split(';').any(|frame| frame == function) {
            sum += micros.parse::<u64>()?;
        }
    }
    Ok(sum)
}

fn batch(commands: &str) -> Result<tempfile::NamedTempFile, Failed> {
    let batch = tempfile::NamedTempFile::new()?;
    fs::write(batch.path(), commands)?;
    Ok(batch)
}

fn path(file: &tempfile::NamedTempFile) -> Result<&str, Failed> {
    Ok(file.path().to_str().ok_or("a path that is no text")?)
}

/// Commands that add so many classes.
fn classes(count: u32) -> Result<String, Failed> {
    let mut commands = String::new();
    for minor in 1..=count {
        writeln!(commands, "class add dev traced0 parent 1: classid 1:{minor:x} htb rate 1mbit")?;
    }
    Ok(commands)
}

/// Counts of a type: requests, messages, failures.
fn counts(document: &Value, message_type: &str) -> Result<[u64; 3], Failed> {
    let of_type = &document["by_type"][message_type];
    Ok([count(of_type, "/requests")?, count(of_type, "/messages")?, count(of_type, "/failed")?])
}

pub(crate) fn a_batch_is_counted_by_type_and_refusal() -> Result<(), Failed> {
    shaped()?;
    let mut commands = classes(200)?;
    commands += "class add dev traced0 parent 1: classid 1:1 htb rate 1mbit\n";
    commands += "class del dev traced0 classid 1:c8\nclass del dev traced0 classid 1:c8\n";
    commands += "qdisc add dev traced0 root handle 1: htb\nqdisc add dev traced0 root handle 1: htb\n";
    let commands = batch(&commands)?;
    // tc says by 1 that a command failed.
    let Profiled { finished, document, files } =
        profile("", &["tc", "-force", "-batch", path(&commands)?], 1)?;
    assert_eq!(counts(&document, "RTM_NEWTCLASS")?, [201, 201, 1], "{document:#}");
    assert_eq!(counts(&document, "RTM_DELTCLASS")?, [2, 2, 1]);
    assert_eq!(counts(&document, "RTM_NEWQDISC")?, [2, 2, 2]);
    assert_eq!(document["by_type"].as_object().map(serde_json::Map::len), Some(3));
    assert_eq!((count(&document, "/requests")?, count(&document, "/lost/requests_at_most")?), (205, 0));
    assert_eq!((&document["exit_code"], &document["version"]), (&json!(1), &json!(1)));
    let refusals = document["refusals"].as_array().ok_or("no refusals")?;
    let refusals: Vec<_> = refusals
        .iter()
        .map(|refusal| (&refusal["type"], &refusal["errno"], &refusal["error"], &refusal["count"]))
        .collect();
    assert_eq!(
        refusals,
        [
            (&json!("RTM_NEWQDISC"), &json!(17), &json!("EEXIST"), &json!(2)),
            (&json!("RTM_DELTCLASS"), &json!(2), &json!("ENOENT"), &json!(1)),
            (&json!("RTM_NEWTCLASS"), &json!(17), &json!("EEXIST"), &json!(1)),
        ]
    );
    assert_eq!(document["refusals"][0]["ext_ack"], "Exclusivity flag on, cannot modify");
    // A message's time, or a system call's, is the sum of its phases.
    let phases = &document["by_type"]["RTM_NEWTCLASS"]["kernel_us"];
    let mean = |phase: &str| number(phases, &format!("/{phase}/mean"));
    let parts = mean("rtnl_wait")? + mean("off_cpu")? + mean("on_cpu")?;
    assert!((parts - mean("request")?).abs() < 0.01 * mean("request")?, "{phases}");
    for words in ["205 requests in ", "exit code 1", "2 × RTM_NEWQDISC EEXIST \"Exclusivity flag on"] {
        assert!(finished.stderr.contains(words), "{words}: {}", finished.stderr);
    }
    assert!(files.keys().all(|name| name == "profile.json" || name.contains('.')), "{:?}", files.keys());
    Ok(())
}

pub(crate) fn a_pyroute2_script_is_counted() -> Result<(), Failed> {
    shaped()?;
    let script = batch(PYROUTE2)?;
    // Samples are not what this is about, and a thousand a second would take as long as the script in an emulated machine.
    let Profiled { document, .. } = profile("--hz 50", &[PYTHON, path(&script)?], 0)?;
    assert_eq!(counts(&document, "RTM_NEWTCLASS")?, [10, 10, 0], "{document:#}");
    assert_eq!(counts(&document, "RTM_DELTCLASS")?, [3, 3, 0], "{document:#}");
    Ok(())
}

/// Enough classes that the kernel has something to do.
fn many_classes() -> Result<tempfile::NamedTempFile, Failed> {
    batch(&classes(2_500)?)
}

pub(crate) fn stacks_lead_from_the_program_into_the_kernel() -> Result<(), Failed> {
    shaped()?;
    let commands = many_classes()?;
    let Profiled { document, files, .. } = profile("", &["tc", "-batch", path(&commands)?], 0)?;
    let folded = files.get("oncpu.folded").ok_or("no oncpu.folded")?;
    let all = time_in(folded, "tc")?;
    let kernel = time_in(folded, "tc_ctl_tclass_[k]")?;
    // Adding to a growing tree is the kernel's work.
    assert!(all > 0 && kernel * 2 > all, "{kernel} µs of {all} in tc_ctl_tclass:\n{folded}");
    // The program's own functions are named by its own files.
    assert!(time_in(folded, "sendmsg")? > 0, "{folded}");
    let on_cpu = number(&document, "/stacks/on_cpu_us")?;
    assert!((on_cpu - all as f64).abs() <= 0.05 * on_cpu, "{on_cpu} and {all}");
    let svg = files.get("oncpu.svg").ok_or("no oncpu.svg")?;
    assert!(svg.contains("<title>tc_ctl_tclass (") && !svg.contains("_[k]"), "names without their marks");
    Ok(())
}

pub(crate) fn what_is_slow_is_said() -> Result<(), Failed> {
    shaped()?;
    let commands = many_classes()?;
    let path = path(&commands)?;
    let Profiled { document, .. } = profile("--over 60s", &["tc", "-batch", path], 0)?;
    let slow = &document["stacks"]["slow"];
    assert_eq!((count(slow, "/requests")?, count(slow, "/of")?), (0, 2_500), "nothing takes a minute");
    support::run("tc qdisc del dev traced0 root")?;
    support::run("tc qdisc add dev traced0 root handle 1: htb")?;
    let Profiled { document, files, .. } = profile("", &["tc", "-batch", path], 0)?;
    let slow = &document["stacks"]["slow"];
    let (requests, of) = (count(slow, "/requests")?, count(slow, "/of")?);
    assert!(of == 2_500 && (1..=of / 20).contains(&requests), "{slow}");
    // Each of them waits no longer than the slowest takes, and the timer finds it running no more often than it can.
    let max = number(&document, "/by_type/RTM_NEWTCLASS/kernel_us/request/max")?;
    let time = time_in(files.get("slow.folded").ok_or("no slow.folded")?, "tc")?;
    let most = (2.0 * max + 1_002.0) * requests as f64;
    assert!((time as f64) < most, "{time} µs in {requests} requests of {max} µs at most");
    Ok(())
}

/// Somebody in another namespace keeps RTNL busy: whoever waits is told behind whom, and what that one did; before, nobody is blamed.
pub(crate) fn who_held_rtnl_is_named_with_what_it_did() -> Result<(), Failed> {
    shaped()?;
    let change = "class change dev traced0 parent 1: classid 1:1 htb rate 1mbit\n";
    let commands = batch(
        &("class add dev traced0 parent 1: classid 1:1 htb rate 1mbit\n".to_owned() + &change.repeat(4_000)),
    )?;
    let script = format!("tc -batch {}; tc class del dev traced0 classid 1:1", path(&commands)?);
    let command = ["sh", "-c", &script];
    nobody_is_blamed(&command)?;
    let hammer = Hammer::start()?;
    let pid = json!(hammer.id());
    let mut profiled = profile("", &command, 0)?;
    // On a machine that has much else to do the two may not meet.
    for _ in 0..RETRIES {
        if profiled.document["rtnl_waits"]["holders"][0]["doing"].is_null() {
            profiled = profile("", &command, 0)?;
        }
    }
    let waits = &profiled.document["rtnl_waits"];
    let first = &waits["holders"][0];
    assert_eq!((&first["pid"], &first["own"]), (&pid, &json!(false)), "{waits}");
    assert!(number(first, "/percent_of_waiting")? > 50.0, "{waits}");
    // It adds and deletes classes.
    assert_eq!(first["doing"], "tc_ctl_tclass", "{waits}");
    let words = format!("behind `{}` (pid {pid}, tc_ctl_tclass)", first["comm"].as_str().ok_or("no name")?);
    assert!(profiled.finished.stderr.contains(&words), "{words}: {}", profiled.finished.stderr);
    let root = format!("{} (pid {pid})", first["comm"].as_str().ok_or("no name")?);
    let holders = profiled.files.get("holders.folded").ok_or("no holders.folded")?;
    assert!(time_in(holders, &root)? > 0, "{holders}");
    // Where they waited is inside rtnetlink, and each wait is there from its begin to its end.
    let waited = profiled.files.get("rtnl.folded").ok_or("no rtnl.folded")?;
    let inside = time_in(waited, "rtnetlink_rcv_msg_[k]")? as f64;
    let by_events = number(waits, "/wait_us")?;
    assert!((inside - by_events).abs() < 0.05 * by_events, "{inside} µs by stacks, {by_events} µs by events");
    Ok(())
}

/// Alone a program waits for nobody. What an earlier test has left, the kernel may still be clearing away, with RTNL in its hands.
fn nobody_is_blamed(command: &[&str]) -> Result<(), Failed> {
    let mut waits = Value::Null;
    for _ in 0..=RETRIES {
        waits = profile("", command, 0)?.document["rtnl_waits"].take();
        if number(&waits, "/foreign_percent_of_requests")? < 1.0 {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_secs(2));
    }
    Err(format!("others were waited for: {waits}").into())
}

/// Waits come from tracepoints and need no timer.
pub(crate) fn without_samples_the_rest_is_there() -> Result<(), Failed> {
    shaped()?;
    let add = "class add dev traced0 parent 1: classid 1:1 htb rate 1mbit\n";
    let commands = batch(add)?;
    let Profiled { document, files, finished } = profile("--hz 0", &["tc", "-batch", path(&commands)?], 0)?;
    assert_eq!(counts(&document, "RTM_NEWTCLASS")?, [1, 1, 0], "{document:#}");
    let stacks = &document["stacks"];
    assert_eq!((&stacks["hz"], &stacks["on_cpu_us"]), (&Value::Null, &Value::Null), "{stacks}");
    assert!(stacks["not_sampled"].as_str().is_some_and(|reason| !reason.is_empty()), "{stacks}");
    assert!(finished.stderr.contains("time on CPU is not sampled: "), "{}", finished.stderr);
    assert!(!files.contains_key("oncpu.svg") && !files.contains_key("holders.svg"), "{:?}", files.keys());
    Ok(())
}

pub(crate) fn the_command_is_as_it_would_be_alone() -> Result<(), Failed> {
    shaped()?;
    let add = "echo said; tc class add dev traced0 parent 1: classid 1:1 htb rate 1mbit; exit 7";
    let finished = Finished::of(qdiscope("profile --")?.args(["sh", "-c", add]))?.expect(7)?;
    assert_eq!(finished.stdout, "said\n");
    assert!(finished.stderr.contains("1 requests in "), "{}", finished.stderr);
    // With --json standard output is the document's alone.
    let finished = Finished::of(qdiscope("profile --json --")?.args(["sh", "-c", add]))?.expect(7)?;
    let document: Value = serde_json::from_str(&finished.stdout)?;
    schema::check_profile(&document)?;
    assert_eq!(document["refusals"][0]["errno"], 17, "{document}");
    assert!(finished.stderr.contains("said\n"), "{}", finished.stderr);
    // A folder that cannot be made costs the figures nothing that was said.
    let mut command = qdiscope("profile --out /proc/nowhere/profile --")?;
    let finished =
        Finished::of(command.args(["sh", "-c", "tc qdisc show dev traced0 >/dev/null"]))?.expect(3)?;
    assert!(
        finished.stderr.contains("1 requests in ") && finished.stderr.contains("--out"),
        "{}",
        finished.stderr
    );
    Ok(())
}

pub(crate) fn a_running_process_is_profiled_until_it_ends_or_we_do() -> Result<(), Failed> {
    shaped()?;
    let folder = tempfile::tempdir()?;
    let script = "while [ ! -e go ]; do sleep 0.02; done; tc class add dev traced0 parent 1: classid 1:1 htb rate 1mbit; exec sleep 60";
    let mut shell = Command::new("sh").args(["-c", script]).current_dir(folder.path()).spawn()?;
    let outcome = (|| {
        let mut running = Running::start(&mut qdiscope(&format!("profile --json --pid {}", shell.id()))?)?;
        running.hear("following process")?;
        fs::write(folder.path().join("go"), "")?;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !support::run("tc class show dev traced0")?.contains("1:1") {
            if std::time::Instant::now() > deadline {
                return Err("no class was added".into());
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        running.signal(Signal::SIGINT)?;
        let finished = running.finish()?.expect(0)?;
        let document: Value = serde_json::from_str(&finished.stdout)?;
        schema::check_profile(&document)?;
        assert_eq!(counts(&document, "RTM_NEWTCLASS")?, [1, 1, 0], "{document:#}");
        assert_eq!(document["subject"], format!("process {}", shell.id()));
        assert_eq!(document["exit_code"], Value::Null);
        // Nothing has happened to it.
        assert!(Path::new("/proc").join(shell.id().to_string()).join("exe").exists());
        Ok(())
    })();
    // It may have ended.
    let _ = shell.kill();
    let _ = shell.wait();
    outcome
}

pub(crate) fn nonsense_is_refused() -> Result<(), Failed> {
    let file = tempfile::NamedTempFile::new()?;
    let out = format!("--out {} -- true", file.path().display());
    for nonsense in
        ["--pid 4194304", "--pid 1 -- true", "--over 0ms -- true", "--over 5 -- true", "--hz x -- true", &out]
    {
        Finished::of(&mut qdiscope(&format!("profile {nonsense}"))?)?.expect(2)?;
    }
    Finished::of(&mut qdiscope("profile -- /no/such/command")?)?.expect(127)?;
    // Nobody has asked for anything: there is nothing to save, and that is no failure of the command's.
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("none");
    let finished =
        Finished::of(&mut qdiscope(&format!("profile --out {} -- true", out.display()))?)?.expect(0)?;
    assert!(finished.stderr.contains("nothing to save") && !out.exists(), "{}", finished.stderr);
    let mut silent = qdiscope("profile --timeout 0.5 --")?;
    let finished = Finished::of(silent.args(["sh", "-c", "exec >/dev/null 2>&1; sleep 2"]))?.expect(3)?;
    assert!(finished.stderr.contains("no traffic-control request within 0.5 s"), "{}", finished.stderr);
    Ok(())
}
