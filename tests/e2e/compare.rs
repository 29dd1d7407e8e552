//! `qdiscope compare`: saved runs held against each other, and two commands in turns.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::qdiscope::{Finished, QUICK, Running, binary, qdiscope};
use crate::schema;

/// How runs differ by themselves.
const NOISE: [f64; 8] = [1.0, 1.03, 0.98, 1.01, 0.99, 1.04, 0.97, 1.02];

fn compare(arguments: &[&str]) -> Result<Command, Failed> {
    let mut command = qdiscope("compare")?;
    command.args(arguments);
    Ok(command)
}

/// The document that a comparison prints, held to its schema.
fn document(finished: &Finished) -> Result<Value, Failed> {
    let document = serde_json::from_str(&finished.stdout)
        .map_err(|error| format!("no document: {error}\n{}", finished.said()))?;
    schema::check_compare(&document)?;
    Ok(document)
}

fn row<'a>(document: &'a Value, metric: &str) -> Result<&'a Value, Failed> {
    let rows = document["rows"].as_array().ok_or("no rows")?;
    Ok(rows.iter().find(|row| row["metric"] == metric).ok_or_else(|| format!("no {metric}: {rows:#?}"))?)
}

/// A real run, which two commands in turns have made: what all saved runs of these tests are made of.
pub(crate) fn measured() -> Result<&'static Value, Failed> {
    static RUN: OnceLock<Result<Value, String>> = OnceLock::new();
    let run =
        RUN.get_or_init(|| in_turns().map_err(|failed| failed.message().unwrap_or("failed").to_owned()));
    run.as_ref().map_err(|message| message.clone().into())
}

/// `bench` twice, in turns: what it saves is compared, and kept.
fn in_turns() -> Result<Value, Failed> {
    let folder = TempDir::new()?;
    let keep = folder.path().join("kept");
    let bench = format!("{} {QUICK} --probes off", binary()?.display());
    let kept = keep.to_string_lossy();
    let arguments =
        ["--interleave", &bench, &bench, "--runs", "1", "--warm-up", "0", "--json", "-", "--keep", &kept];
    let finished = Finished::of(&mut compare(&arguments)?)?.expect(0)?;
    let compared = document(&finished)?;
    assert_eq!(compared["verdict"], "inconclusive", "one run a side");
    assert_eq!(compared["interleaved"]["blocks"], 1);
    let throughput = row(&compared, "throughput_mean_ops_per_s")?;
    assert!(throughput["change_percent"].is_f64(), "the change is shown: {throughput}");
    for side in ["a", "b"] {
        assert!(keep.join(side).join("1/latency.hdr").is_file(), "the run is kept whole");
    }
    let text = fs::read_to_string(keep.join("a/1/result.json"))?;
    let run: Value = serde_json::from_str(&text)?;
    assert_eq!(compared["baseline"]["runs"], json!([run["run_id"]]));
    Ok(run)
}

/// Runs of one side, as a folder of run folders: in the even or odd minutes, with latencies and throughput so many times the measured ones.
fn side(place: &Path, odd: bool, slower: f64) -> Result<(), Failed> {
    for (at, noise) in NOISE.iter().enumerate() {
        let minute = 2 * at + usize::from(odd);
        let mut run = measured()?.clone();
        run["run_id"] = json!(format!("run-{minute:02}"));
        run["started_at"] = json!(format!("2026-11-23T12:{minute:02}:00Z"));
        let workload = &mut run["workloads"][0];
        for percentile in ["p50", "p95", "p99"] {
            workload["latency_all_us"][percentile] = json!(noise * slower * 100.0);
        }
        workload["throughput_ops_per_s"]["mean"] = json!(noise * 10_000.0 / slower);
        save(&place.join(format!("run-{minute:02}")), &run)?;
    }
    Ok(())
}

fn save(place: &Path, run: &Value) -> Result<(), Failed> {
    fs::create_dir_all(place)?;
    Ok(fs::write(place.join("result.json"), run.to_string())?)
}

/// Two sides, the second so many times slower, and their names.
fn sides(slower: f64) -> Result<(TempDir, String, String), Failed> {
    let folder = TempDir::new()?;
    let [one, other] = ["before", "after"].map(|name| folder.path().join(name));
    side(&one, false, 1.0)?;
    side(&other, true, slower)?;
    let [one, other] = [one, other].map(|path| path.to_string_lossy().into_owned());
    Ok((folder, one, other))
}

pub(crate) fn saved_runs_are_compared() -> Result<(), Failed> {
    let (folder, before, after) = sides(1.3)?;
    let markdown = folder.path().join("compared.md");
    let name = markdown.to_string_lossy();
    let finished =
        Finished::of(&mut compare(&[&before, &after, "--json", "-", "--markdown", &name])?)?.expect(0)?;
    assert!(finished.stderr.is_empty(), "{}", finished.stderr);
    let compared = document(&finished)?;
    assert_eq!((&compared["verdict"], &compared["severity"]), (&json!("regression"), &json!("critical")));
    assert_eq!((&compared["in_turns"], &compared["alarm"]), (&json!(true), &json!(true)));
    assert_eq!(compared["baseline"]["runs"].as_array().map(Vec::len), Some(NOISE.len()));
    let latency = row(&compared, "latency_p95_us")?;
    let change = latency["change_percent"].as_f64().ok_or("no change")?;
    assert!((change - 30.0).abs() < 2.0, "{latency}");
    let throughput = row(&compared, "throughput_mean_ops_per_s")?;
    assert!(throughput["change_percent"].as_f64() < Some(-15.0), "{throughput}");
    assert_eq!(throughput["verdict"], "regression");
    assert_eq!(row(&compared, "peak_rss_bytes")?["verdict"], "no-change");
    let text = fs::read_to_string(markdown)?;
    assert!(
        text.starts_with("### qdiscope compare: regression\n") && text.contains("| lifecycle (closed) |"),
        "{text}"
    );

    let table = Finished::of(&mut compare(&[&before, &after, "--fail-on-regression"])?)?.expect(5)?.stdout;
    assert!(
        table.lines().any(|line| line.contains("latency_p50_us") && line.contains("regression, critical"))
    );
    assert!(
        table.lines().last().is_some_and(|line| line.starts_with("verdict: regression (critical): ")),
        "{table}"
    );
    assert!(!table.contains('\x1b'), "no colour where there is no terminal");
    // The other way round.
    let faster = Finished::of(&mut compare(&[&after, &before, "--fail-on-regression"])?)?.expect(0)?;
    assert!(faster.stdout.contains("verdict: improvement: "), "{}", faster.stdout);
    Ok(())
}

/// 5 % are found, and fail only where that was asked for.
pub(crate) fn what_fails_is_for_the_threshold_to_say() -> Result<(), Failed> {
    let (_folder, before, after) = sides(1.05)?;
    let line = [&*before, &*after, "--fail-on-regression", "--metric", "latency_p50_us"];
    let small = Finished::of(&mut compare(&line)?)?.expect(0)?;
    assert!(small.stdout.contains("verdict: regression (below the thresholds)"), "{}", small.stdout);
    Finished::of(compare(&line)?.args(["--threshold", "3"]))?.expect(5)?;
    // What cannot be told fails with another code.
    let unknown = Finished::of(compare(&line)?.args(["--metric", "rtnl_wait_p95_us"]))?.expect(6)?;
    assert!(unknown.stdout.contains("rtnl_wait_p95_us of run: not measured in"), "{}", unknown.stdout);
    Ok(())
}

pub(crate) fn a_run_against_itself_is_no_change() -> Result<(), Failed> {
    let (_folder, before, _) = sides(1.0)?;
    let one = format!("{before}/run-00");
    let by_document = format!("{one}/result.json");
    for (a, b) in [(&before, &before), (&one, &one), (&one, &by_document)] {
        let itself =
            Finished::of(&mut compare(&[a, b, "--fail-on-regression", "--json", "-"])?)?.expect(0)?;
        let itself = document(&itself)?;
        assert_eq!(itself["verdict"], "no-change", "{itself:#}");
        assert_eq!(itself["notes"], json!(["both sides are the same runs"]));
    }
    Ok(())
}

pub(crate) fn other_environments_are_refused_and_marked_by_force() -> Result<(), Failed> {
    let (folder, before, after) = sides(1.3)?;
    let place = folder.path().join("after/run-05");
    let mut run: Value = serde_json::from_str(&fs::read_to_string(place.join("result.json"))?)?;
    run["environment"]["kernel"] = json!("6.1.0-other");
    run["settings"]["devices"] = json!(3);
    save(&place, &run)?;
    let refused = Finished::of(&mut compare(&[&before, &after])?)?.expect(2)?;
    let line = refused.one_line()?;
    for part in ["environments differ: kernel: ", "6.1.0-other; devices: 2 and 3", "--force"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(refused.stdout.is_empty(), "{}", refused.stdout);
    let forced = [&*before, &*after, "--force", "--fail-on-regression"];
    let marked = Finished::of(&mut compare(&forced)?)?.expect(6)?.stdout;
    assert!(
        marked.contains("UNEQUAL ENVIRONMENTS") && marked.ends_with("verdict: inconclusive\n"),
        "{marked}"
    );
    let compared = document(&Finished::of(compare(&forced)?.args(["--json", "-"]))?.expect(6)?)?;
    assert_eq!(compared["differences"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        row(&compared, "latency_p95_us")?["verdict"],
        "regression",
        "the statistics say what they say"
    );
    Ok(())
}

pub(crate) fn what_cannot_be_compared_is_told_in_one_line() -> Result<(), Failed> {
    let (folder, before, after) = sides(1.0)?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    fs::create_dir(path("empty"))?;
    let mut broken = measured()?.clone();
    broken["workloads"] = json!("none");
    save(Path::new(&path("broken")), &broken)?;
    let mut interrupted = measured()?.clone();
    interrupted["interrupted"] = json!(true);
    save(Path::new(&path("interrupted/one")), &interrupted)?;
    for (b, options, code, words) in [
        (path("nothing"), &[][..], 2, "no such run"),
        (path("empty"), &[], 2, "no saved run in this folder"),
        (path("broken"), &[], 2, "invalid type"),
        (path("interrupted"), &[], 2, "the run was interrupted"),
        (after.clone(), &["--metric", "latency_p95_ms"], 2, "did you mean `latency_p95_us`?"),
        (after.clone(), &["--json", "/nowhere/x.json"], 3, "cannot write /nowhere/x.json"),
        (after.clone(), &["--json", "-", "--markdown", "-"], 2, "only one of them"),
    ] {
        let finished = Finished::of(compare(&[&before, &b])?.args(options))?.expect(code)?;
        let line = finished.one_line()?;
        assert!(line.contains(words) && finished.stdout.is_empty(), "{words}: {}", finished.said());
    }
    // Beside whole ones it is left out, and said.
    save(Path::new(&path("after/stopped")), &interrupted)?;
    let left_out = Finished::of(&mut compare(&[&before, &after])?)?.expect(0)?.stdout;
    assert!(left_out.contains("note: left out of B: ") && left_out.contains("(8 runs, "), "{left_out}");
    Ok(())
}

pub(crate) fn two_commands_take_turns() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let keep = folder.path().join("kept");
    let kept = keep.to_string_lossy();
    let first = folder.path().join("first.md").to_string_lossy().into_owned();
    let turns = ["--interleave", "sleep 0.02", "sleep 0.04", "--fail-on-regression", "--runs", "8"];
    let finished = Finished::of(compare(&turns)?.args([
        "--confirm",
        "--keep",
        &kept,
        "--json",
        "-",
        "--markdown",
        &first,
    ]))?
    .expect(5)?;
    let compared = document(&finished)?;
    let wall = row(&compared, "wall_time_us")?;
    let (change, p) = (wall["change_percent"].as_f64(), wall["p"].as_f64());
    assert!(change > Some(40.0) && change < Some(120.0) && p < Some(0.01), "{wall}");
    assert_eq!((&wall["verdict"], &compared["alarm"]), (&json!("regression"), &json!(true)));
    assert_eq!(compared["confirmation"]["alarm"], true, "fresh runs say the same");
    assert_eq!(
        compared["interleaved"],
        json!({"seed": 1, "blocks": 8, "blocks_asked": 8, "warm_up_blocks": 1})
    );
    assert_eq!(finished.stderr.lines().filter(|line| line.starts_with("block ")).count(), 16);
    // What was kept says the same again.
    let [a, b, again] = ["a", "b", "again.md"].map(|name| format!("{kept}/{name}"));
    Finished::of(&mut compare(&[&a, &b, "--markdown", &again])?)?.expect(0)?;
    let table = |file: &str| -> Result<Vec<String>, Failed> {
        let text = fs::read_to_string(file)?;
        // That of the first round: heads, a line below them, and three metrics.
        Ok(text.lines().filter(|line| line.starts_with('|')).take(5).map(str::to_owned).collect())
    };
    assert_eq!(table(&first)?, table(&again)?);
    assert!(table(&again)?.len() == 5 && fs::read_to_string(&again)?.contains("measured in turns"));
    let mixed = Finished::of(&mut compare(&[&turns[..], &["--keep", &kept]].concat())?)?.expect(2)?;
    assert!(mixed.one_line()?.contains("it has runs already"), "{}", mixed.stderr);
    Ok(())
}

/// A command that is slow for a while and not any more.
pub(crate) fn an_alarm_that_fresh_runs_do_not_share_is_none() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let count = folder.path().join("count");
    let slow_at_first =
        format!("echo >>{0}; test $(wc -l <{0}) -gt 6 && sleep 0.01 || sleep 0.03", count.display());
    let as_long = "sh -c true; sh -c true; sleep 0.01";
    let line = ["--interleave", as_long, &slow_at_first, "--runs", "6", "--warm-up", "0"];
    let options =
        ["--confirm", "--fail-on-regression", "--json", "-", "--metric", "wall_time_us", "--threshold", "60"];
    let finished = Finished::of(compare(&line)?.args(options))?.expect(0)?;
    let compared = document(&finished)?;
    assert_eq!(row(&compared, "wall_time_us")?["verdict"], "regression", "the first round");
    let fresh = &compared["confirmation"];
    assert_eq!((&fresh["alarm"], &compared["alarm"]), (&json!(false), &json!(false)), "{compared:#}");
    assert_eq!(compared["verdict"], fresh["verdict"]);
    Ok(())
}

pub(crate) fn a_command_that_fails_ends_it() -> Result<(), Failed> {
    let failing = "echo first >&2; echo the last word >&2; exit 7";
    let finished = Finished::of(&mut compare(&["--interleave", "true", failing])?)?.expect(3)?;
    assert_eq!(finished.one_line()?, format!("qdiscope: `{failing}` ended with 7: the last word"));
    // A run that was saved is one, whatever the budget says; but not beside a command that saves none.
    let folder = TempDir::new()?;
    save(folder.path(), measured()?)?;
    let saves = format!(
        "mkdir -p $QDISCOPE_TARGET_DIR/qdiscope/x && cp {}/result.json $QDISCOPE_TARGET_DIR/qdiscope/x && exit 4",
        folder.path().display()
    );
    let mixed =
        Finished::of(&mut compare(&["--interleave", "true", &saves, "--warm-up", "0"])?)?.expect(2)?;
    assert!(mixed.one_line()?.contains("no metric in common"), "{}", mixed.stderr);
    let alike = ["--interleave", &saves, &saves, "--warm-up", "0", "--runs", "2", "--json", "-"];
    let alike = document(&Finished::of(&mut compare(&alike)?)?.expect(0)?)?;
    assert_eq!(alike["verdict"], "no-change", "the same run over and over: {alike:#}");
    Ok(())
}

pub(crate) fn interrupting_compares_what_there_is() -> Result<(), Failed> {
    let line =
        ["--interleave", "sleep 0.01", "sleep 0.01; test -z \"$WAIT\" || sleep 98765", "--runs", "1000"];
    let mut running = Running::start(&mut compare(&line)?)?;
    running.hear("block 4 of 1000")?;
    running.signal(Signal::SIGINT)?;
    let finished = running.finish()?.expect(130)?;
    for part in
        [" of 1000 blocks in random order", "wall_time_us", "interrupted: these are the runs until then"]
    {
        assert!(finished.stdout.contains(part), "{part}: {}", finished.said());
    }
    // Who is waited for is ended.
    let running = Running::start(compare(&line)?.env("WAIT", "1"))?;
    wait_for("98765", true)?;
    running.signal(Signal::SIGTERM)?;
    let finished = running.finish()?.expect(130)?;
    assert!(
        finished.stdout.is_empty() && finished.stderr.contains("interrupted before"),
        "{}",
        finished.said()
    );
    wait_for("98765", false)
}

/// The shell's children, too, of whom `PR_SET_PDEATHSIG` knows nothing.
pub(crate) fn killing_it_ends_what_it_started() -> Result<(), Failed> {
    let waits = "sh -c 'sleep 87654; true' & sleep 87654; true";
    let running = Running::start(&mut compare(&["--interleave", waits, waits])?)?;
    wait_for("87654", true)?;
    running.signal(Signal::SIGKILL)?;
    assert_eq!(running.finish()?.code, 137);
    wait_for("87654", false)
}

/// Waits until there is, or no longer is, a `sleep` of so many seconds.
pub(crate) fn wait_for(seconds: &str, there: bool) -> Result<(), Failed> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let line = format!("sleep\0{seconds}\0").into_bytes();
    loop {
        let processes = fs::read_dir("/proc")?.flatten();
        let mut found = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        if found.any(|found| found == line) == there {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("sleep {seconds}: expected it to be there: {there}").into());
        }
        thread::sleep(Duration::from_millis(10));
    }
}
