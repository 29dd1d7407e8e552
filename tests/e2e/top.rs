//! `qdiscope top`: what it counts, and how it treats the terminal and the observed program.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use serde_json::Value;
use support::{run, veth};
use tempfile::NamedTempFile;

use crate::qdiscope::{Finished, Running, qdiscope};
use crate::terminal::OnTerminal;

/// A device with HTB `1:` on it.
fn shaped() -> Result<(), Failed> {
    veth("topped0", "topped1")?;
    run("tc qdisc add dev topped0 root handle 1: htb").map(drop)
}

/// `qdiscope top ARGUMENTS -- sh -c SCRIPT`
fn top(arguments: &str, script: &str) -> Result<Command, Failed> {
    let mut command = qdiscope(&format!("top {arguments} --"))?;
    command.args(["sh", "-c", script]);
    Ok(command)
}

fn objects(stdout: &str) -> Result<Vec<Value>, Failed> {
    let parsed = stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
    parsed.map_err(|error| format!("{error}\n{stdout}").into())
}

fn number(object: &Value, name: &str) -> Result<u64, Failed> {
    Ok(object[name].as_u64().ok_or_else(|| format!("no {name} in {object}"))?)
}

const CLASSES: u64 = 50;

/// Classes that are added, changed, and all deleted, the last of them twice.
fn batch() -> Result<NamedTempFile, Failed> {
    let mut commands = String::new();
    for (verb, rate) in [("add", "htb rate 1mbit"), ("change", "htb rate 2mbit"), ("del", "")] {
        for class in 1..=CLASSES {
            writeln!(commands, "class {verb} dev topped0 parent 1: classid 1:{class:x} {rate}")?;
        }
    }
    writeln!(commands, "class del dev topped0 classid 1:{CLASSES:x}")?;
    let file = NamedTempFile::new()?;
    fs::write(file.path(), commands)?;
    Ok(file)
}

pub(crate) fn each_request_is_counted_once() -> Result<(), Failed> {
    shaped()?;
    let batch = batch()?;
    // What the command says is on stderr: stdout has objects alone.
    let tc = format!("echo said; exec tc -force -batch {}", batch.path().display());
    for (by, expected) in [
        ("type", vec![("RTM_DELTCLASS", CLASSES + 1, 1), ("RTM_NEWTCLASS", 2 * CLASSES, 0)]),
        ("process", vec![("tc", 3 * CLASSES + 1, 1)]),
        ("command", vec![("tc", 3 * CLASSES + 1, 1)]),
    ] {
        let finished =
            Finished::of(&mut top(&format!("--headless --interval 0.05 --by {by}"), &tc)?)?.expect(1)?;
        assert!(finished.stderr.lines().any(|line| line == "said"), "{}", finished.said());
        let mut rows: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let (mut requests, mut errors) = (0, 0);
        for object in objects(&finished.stdout)? {
            requests += number(&object, "requests")?;
            errors += number(&object, "errors")?;
            assert_eq!(number(&object, "lost")?, 0, "{object}");
            let p50 = &object["latency_us"]["p50"];
            assert_eq!(p50.is_null(), object["requests"] == 0, "{object}");
            for row in object["rows"].as_array().ok_or("no rows")? {
                assert_eq!(row["pid"].is_u64(), by == "process", "{row}");
                let name = row["comm"].as_str().or(row["type"].as_str()).ok_or("no name")?;
                let sums = rows.entry(name.to_owned()).or_default();
                sums.0 += number(row, "requests")?;
                sums.1 += number(row, "errors")?;
            }
        }
        assert_eq!((requests, errors), (3 * CLASSES + 1, 1), "{}", finished.said());
        let rows: Vec<_> =
            rows.iter().map(|(name, (requests, errors))| (name.as_str(), *requests, *errors)).collect();
        assert_eq!(rows, expected, "by {by}\n{}", finished.said());
    }
    Ok(())
}

pub(crate) fn it_ends_after_so_many_intervals() -> Result<(), Failed> {
    let finished = Finished::of(&mut qdiscope("top --headless --interval 0.1 --count 3")?)?.expect(0)?;
    assert_eq!(objects(&finished.stdout)?.len(), 3, "{}", finished.said());
    // Who says nothing is not waited for.
    let silent = Finished::of(&mut top("--headless --timeout 0.1", "exec sleep 3")?)?.expect(3)?;
    assert!(silent.stderr.contains("no traffic-control request within 0.1 s"), "{}", silent.said());
    Ok(())
}

pub(crate) fn without_a_terminal_it_says_what_to_do() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let started = folder.path().join("started");
    let finished = Finished::of(&mut top("", &format!("touch {}", started.display()))?)?.expect(2)?;
    assert!(finished.one_line()?.contains("--headless"), "{}", finished.said());
    assert!(!started.exists(), "the command was started");
    Ok(())
}

pub(crate) fn a_reader_that_leaves_stops_nobody() -> Result<(), Failed> {
    shaped()?;
    let script = "for i in 1 2 3 4 5; do tc class add dev topped0 parent 1: classid 1:$i htb rate 1mbit; sleep 0.1; done; exit 4";
    let (reader, writer) = std::io::pipe()?;
    let mut command = top("--headless --interval 0.05", script)?;
    let running = Running::start_with(command.stdout(writer))?;
    drop(command);
    let head = Command::new("head").arg("-1").stdin(reader).stdout(Stdio::piped()).spawn()?;
    let finished = running.finish()?.expect(4)?;
    let line = String::from_utf8(head.wait_with_output()?.stdout)?;
    assert_eq!(objects(&line)?.len(), 1, "{line}");
    assert_eq!(finished.stderr, "", "quietly");
    assert_eq!(run("tc class show dev topped0")?.lines().count(), 5, "the command was stopped");
    Ok(())
}

/// Waits for the mark.
fn runs_on(folder: &Path) -> Result<(), Failed> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !folder.join("mark").exists() {
        if Instant::now() > deadline {
            return Err("the command does not run any more".into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Adds and deletes a class until a file is there, then leaves a mark. Of the end of the terminal's session, which is ours here and a shell's
/// elsewhere, it wants to know nothing; and it holds no stream open that we read to its end.
fn until(stop: &str, mark: &str) -> String {
    format!(
        "trap '' HUP; echo GARBLE; echo GARBLE >&2; exec >/dev/null 2>&1; until [ -e {stop} ]; do \
         tc class add dev topped0 parent 1: classid 1:1 htb rate 1mbit; tc class del dev topped0 classid 1:1; sleep 0.02; done; \
         touch {mark}; exit 5"
    )
}

pub(crate) fn it_draws_and_gives_the_terminal_back() -> Result<(), Failed> {
    shaped()?;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let script = until(&path("stop"), &path("mark"));
    let mut screen = OnTerminal::start(&mut top("--interval 0.1", &script)?, 100, 30)?;
    screen.see("tc")?;
    screen.press("t")?;
    screen.see("RTM_NEWTCLASS")?;
    screen.resize(40, 12)?;
    screen.see("quit")?;
    screen.press("/nothing-has-this\r")?;
    screen.see("nothing")?;
    // One Esc clears, the next quits.
    screen.press("\x1b")?;
    screen.see("RTM_NEWTCLASS")?;
    screen.press("q")?;
    let (finished, shown) = screen.finish()?;
    let finished = finished.expect(0)?;
    assert!(!shown.contains("GARBLE"), "{shown:?}");
    assert!(
        finished.stderr.contains("GARBLE"),
        "a stderr that is no terminal is the command's: {}",
        finished.said()
    );
    // It runs on.
    assert!(!folder.path().join("mark").exists());
    fs::write(path("stop"), "")?;
    runs_on(folder.path())
}

pub(crate) fn after_the_command_the_picture_stays() -> Result<(), Failed> {
    shaped()?;
    let script = "tc class add dev topped0 parent 1: classid 1:1 htb rate 1mbit; exit 5";
    let mut screen = OnTerminal::start(&mut top("--interval 0.1", script)?, 80, 24)?;
    screen.see("quits")?;
    screen.press("\x03")?;
    let (finished, shown) = screen.finish()?;
    finished.expect(5)?;
    assert!(shown.contains("ended"), "{shown:?}");
    Ok(())
}

pub(crate) fn a_signal_gives_the_terminal_back() -> Result<(), Failed> {
    shaped()?;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let script = until(&path("stop"), &path("mark"));
        let mut screen = OnTerminal::start(&mut top("--interval 0.1", &script)?, 80, 24)?;
        screen.see("tc")?;
        screen.running.signal(signal)?;
        screen.finish()?.0.expect(0)?;
        fs::write(path("stop"), "")?;
        runs_on(folder.path())?;
    }
    Ok(())
}

/// The window is closed: there is nobody for whom to go on, and nothing to read but the end, again and again.
pub(crate) fn a_terminal_that_hangs_up_ends_it() -> Result<(), Failed> {
    let mut screen = OnTerminal::start(qdiscope("top --interval 0.1")?.arg("--by=type"), 80, 24)?;
    screen.see("everybody")?;
    let finished = screen.hang_up()?;
    assert!([0, 3].contains(&finished.code), "{}\n{}", finished.code, finished.said());
    Ok(())
}
