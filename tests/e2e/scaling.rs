//! `qdiscope scaling`. How fast the kernel is, is no matter here; that adding a class takes it longer with each class, and changing one
//! does not, is so on every machine.

use std::fs::{self, File};
use std::process::Stdio;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::figures::{at, count, number};
use crate::mounts::{self, Tmpfs};
use crate::qdiscope::{Finished, Running, files, qdiscope};
use crate::schema;

/// A virtual machine without KVM takes a minute for what is seconds elsewhere.
const PATIENCE: Duration = Duration::from_mins(5);

/// Adds from a few microseconds to hundreds.
const GROWING: &str = "scaling --to 6000 --rounds 2 --samples 100 --operation add,change";

/// A measurement and what it left.
struct Measured {
    document: Value,
    svg: String,
    stdout: String,
}

/// [`GROWING`], made once, when the first test asks.
fn growing() -> Result<&'static Measured, Failed> {
    static RUN: OnceLock<Result<Measured, String>> = OnceLock::new();
    let run = RUN.get_or_init(|| {
        measured(GROWING).map_err(|failed| failed.message().unwrap_or("no message").to_owned())
    });
    run.as_ref().map_err(|message| message.clone().into())
}

/// A shared machine may disturb a run so much that it decides nothing, and says so.
fn measured(arguments: &str) -> Result<Measured, Failed> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("new/scaling");
    let finished = Running::start(qdiscope(arguments)?.arg("--out").arg(&out))?.finish_within(PATIENCE)?;
    if finished.code != 6 {
        return read(&finished.expect(0)?, &out);
    }
    read(&finished, &out)
}

fn read(finished: &Finished, out: &std::path::Path) -> Result<Measured, Failed> {
    let text = |name: &str| {
        fs::read_to_string(out.join(name)).map_err(|error| format!("{name}: {error}\n{}", finished.said()))
    };
    let document = serde_json::from_str(&text("scaling.json")?)?;
    schema::check_scaling(&document)?;
    Ok(Measured { document, svg: text("scaling.svg")?, stdout: finished.stdout.clone() })
}

fn series<'a>(document: &'a Value, operation: &str) -> Result<&'a Value, Failed> {
    let all = at(document, "/series")?.as_array().ok_or("`series` is no list")?;
    let found = all.iter().find(|series| series["operation"] == operation);
    Ok(found.ok_or_else(|| format!("no series of {operation} in {document}"))?)
}

fn stages(series: &Value) -> Result<&[Value], Failed> {
    Ok(at(series, "/stages")?.as_array().ok_or("`stages` is no list")?)
}

/// Inconclusive is an answer, but a wrong law is none; and of three measurements one has to find it.
pub(crate) fn adds_are_linear_and_changes_constant() -> Result<(), Failed> {
    let law = |document: &Value, operation: &str| -> Result<Value, Failed> {
        Ok(at(series(document, operation)?, "/growth/latency_p50_us/law")?.clone())
    };
    let mut found = (false, false);
    let first = growing()?;
    let mut document = first.document.clone();
    for _ in 0..3 {
        let (add, change) = (law(&document, "add")?, law(&document, "change")?);
        assert!(add == "linear" || add.is_null(), "adds are said to be {add}: {document}");
        assert!(change == "constant" || change.is_null(), "changes are said to be {change}: {document}");
        found = (found.0 || add == "linear", found.1 || change == "constant");
        if found == (true, true) {
            break;
        }
        document = measured(GROWING)?.document;
    }
    assert_eq!(found, (true, true), "of adds and of changes: {document}");
    let slope = number(series(&document, "add")?, "/growth/latency_p50_us/curve/slope")?;
    assert!(slope > 0.0, "{slope}");
    assert!(first.stdout.contains("Growth") && first.stdout.contains("adds"), "{}", first.stdout);
    Ok(())
}

pub(crate) fn the_walk_of_all_classes_is_named() -> Result<(), Failed> {
    let measured = growing()?;
    let add = series(&measured.document, "add")?;
    let Some(path) = add["functions"]["path"].as_array() else {
        let reason = at(add, "/functions_absent_because")?.as_str().unwrap_or_default();
        // Requests can be followed where stacks cannot be sampled.
        assert!(reason.contains("cannot be sampled"), "no functions: {reason}");
        return Ok(());
    };
    let names: Vec<&str> = path.iter().filter_map(|growing| growing["function"].as_str()).collect();
    assert!(names.iter().any(|name| ["tc_bind_tclass", "tc_ctl_tclass"].contains(name)), "{names:?}");
    assert!(names.iter().any(|name| name.contains("walk") || *name == "tc_bind_tclass"), "{names:?}");
    assert!(number(&path[0], "/share")? > 0.9, "the handler has nearly all of the growth: {}", path[0]);
    let own = at(add, "/functions/own")?.as_array().ok_or("`own` is no list")?;
    assert!(!own.is_empty() && own.iter().all(|growing| growing["caller"].is_string()), "{own:?}");
    assert!(measured.stdout.contains("of the growth on the CPU"), "{}", measured.stdout);
    Ok(())
}

pub(crate) fn every_request_is_seen_and_its_phases_add_up() -> Result<(), Failed> {
    let document = &growing()?.document;
    for operation in ["add", "change"] {
        for stage in stages(series(document, operation)?)? {
            let sent = count(stage, "/operations")? + count(stage, "/errors")?;
            assert_eq!(count(stage, "/kernel_us/seen")? + count(stage, "/kernel_us/lost")?, sent, "{stage}");
            assert_eq!(count(stage, "/errors")?, 0, "{stage}");
            let Some(on_cpu) = stage["kernel_us"]["on_cpu"].as_f64() else { continue };
            let sum = number(stage, "/kernel_us/rtnl_wait")? + number(stage, "/kernel_us/off_cpu")? + on_cpu;
            let request = number(stage, "/kernel_us/request")?;
            assert!((sum - request).abs() < 1e-3 * request, "{stage}");
            assert!(number(stage, "/latency_us/mean")? > request, "{stage}");
        }
    }
    Ok(())
}

pub(crate) fn the_document_is_as_its_schema_says() -> Result<(), Failed> {
    // What was saved has been held to it; what is printed must be the like.
    let finished = Finished::of(&mut qdiscope("scaling --to 200 --rounds 1 --stages 5 --json")?)?;
    let document: Value = serde_json::from_str(&finished.stdout)
        .map_err(|error| format!("not one JSON document: {error}\n{}", finished.said()))?;
    schema::check_scaling(&document)?;
    assert_eq!(at(&document, "/series")?.as_array().map(Vec::len), Some(3));
    for series in document["series"].as_array().into_iter().flatten() {
        assert_eq!(stages(series)?.len(), 5, "{series}");
        let sizes: Vec<f64> = stages(series)?.iter().filter_map(|stage| stage["n"].as_f64()).collect();
        assert!(sizes.is_sorted() && sizes[4] <= 200.0, "{sizes:?}");
    }
    let mut wrong = document.clone();
    wrong["series"][0]["stages"][0]["latency_us"]["p50"] = "fast".into();
    assert!(schema::check_scaling(&wrong).is_err(), "a schema that takes anything");
    Ok(())
}

pub(crate) fn the_picture_shows_every_series() -> Result<(), Failed> {
    let measured = growing()?;
    let svg = &measured.svg;
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{}", &svg[..svg.len().min(200)]);
    for words in ["add: ", "change: ", "median latency, µs", "classes in the kernel"] {
        assert!(svg.contains(words), "no `{words}` in the picture");
    }
    let points: usize = ["add", "change"]
        .iter()
        .map(|name| stages(series(&measured.document, name)?).map(<[Value]>::len))
        .sum::<Result<_, _>>()?;
    assert!(svg.matches("<circle").count() >= points, "fewer than {points} points");
    Ok(())
}

pub(crate) fn shards_are_compared() -> Result<(), Failed> {
    let measured = measured("scaling --to 2000 --rounds 1 --shards 4,1 --operation add --samples 100")?;
    let all = at(&measured.document, "/series")?.as_array().ok_or("`series` is no list")?;
    let shards: Vec<_> = all.iter().filter_map(|series| series["shards"].as_u64()).collect();
    assert_eq!(shards, [1, 4]);
    assert!(measured.stdout.contains(" µs on 1 device and "), "{}", measured.stdout);
    Ok(())
}

pub(crate) fn workers_are_compared() -> Result<(), Failed> {
    let measured = measured("scaling --workers 1..4 --window 50 --rounds 2 --population 100")?;
    for operation in ["add", "delete"] {
        let series = series(&measured.document, operation)?;
        let sizes: Vec<f64> = stages(series)?.iter().filter_map(|stage| stage["n"].as_f64()).collect();
        assert_eq!(sizes, [1.0, 2.0, 3.0, 4.0]);
        for stage in stages(series)? {
            assert!(count(stage, "/operations")? > 0 && count(stage, "/errors")? == 0, "{stage}");
            assert!(number(stage, "/ops_per_s")? > 0.0, "{stage}");
        }
    }
    assert!(measured.stdout.contains("4 workers have "), "{}", measured.stdout);
    assert!(measured.svg.contains("Throughput of all callers together"));
    Ok(())
}

pub(crate) fn without_probes_nothing_is_claimed() -> Result<(), Failed> {
    let measured = measured("scaling --to 1500 --rounds 1 --operation add --probes off")?;
    let add = series(&measured.document, "add")?;
    assert!(add["functions"].is_null(), "{add}");
    assert!(!at(add, "/functions_absent_because")?.as_str().unwrap_or_default().is_empty(), "{add}");
    for stage in stages(add)? {
        assert!(at(stage, "/kernel_us")?.is_null(), "{stage}");
    }
    assert!(!measured.stdout.contains("of the growth on the CPU"), "{}", measured.stdout);
    Ok(())
}

pub(crate) fn nonsense_is_refused() -> Result<(), Failed> {
    for arguments in [
        "--to 0",
        "--to 70000",
        "--workers 0",
        "--workers 8..1",
        "--workers 2 --to 100",
        "--workers 2 --operation add,change",
        "--shards 0",
        "--rounds 0",
        "--stages 0",
        "--operation replace",
        "--workload nothing",
    ] {
        let finished = Finished::of(&mut qdiscope(&format!("scaling {arguments}"))?)?.expect(2)?;
        assert!(
            !finished.stderr.is_empty() && finished.stdout.is_empty(),
            "{arguments}: {}",
            finished.said()
        );
    }
    let many = Finished::of(&mut qdiscope("scaling --to 70000")?)?.expect(2)?;
    assert!(many.one_line()?.contains("--shards 2"), "what to do: {}", many.stderr);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    fs::write(&file, "mine")?;
    let finished = Finished::of(qdiscope("scaling --to 100")?.arg("--out").arg(&file))?.expect(2)?;
    assert!(finished.one_line()?.contains("is a file"), "{}", finished.stderr);
    assert_eq!(fs::read_to_string(file)?, "mine");
    Ok(())
}

pub(crate) fn interrupting_saves_what_was_measured() -> Result<(), Failed> {
    for arguments in ["scaling --to 60000 --stages 30", "scaling --workers 1..16 --rounds 50"] {
        let folder = tempfile::tempdir()?;
        let mut run = Running::start(qdiscope(arguments)?.arg("--out").arg(folder.path()))?;
        run.hear("round 1")?;
        thread::sleep(Duration::from_secs(2));
        run.signal(Signal::SIGINT)?;
        run.hear("stopping")?;
        let finished = run.finish()?.expect(130)?;
        let measured = read(&finished, folder.path())?;
        assert_eq!(measured.document["complete"], false);
        assert!(measured.stdout.contains("Interrupted: "), "{}", measured.stdout);
    }
    Ok(())
}

pub(crate) fn the_time_limit_is_told() -> Result<(), Failed> {
    let measured = measured("scaling --to 60000 --stages 30 --rounds 5 --budget-seconds 1")?;
    assert_eq!(measured.document["complete"], false);
    assert!(measured.stdout.contains("The time limit came first"), "{}", measured.stdout);
    Ok(())
}

pub(crate) fn a_full_disk_is_told_before_the_work() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    mounts::enter()?;
    let _disk = Tmpfs::mount(folder.path(), "size=64k")?;
    let finished =
        Finished::of(qdiscope("scaling --to 500 --rounds 1")?.arg("--out").arg(folder.path()))?.expect(3)?;
    assert!(finished.one_line()?.contains("free some space"), "{}", finished.stderr);
    let left = files(folder.path())?;
    assert!(left.is_empty(), "{:?}", left.keys());
    Ok(())
}

pub(crate) fn a_reader_that_leaves_is_no_error() -> Result<(), Failed> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let mut command = qdiscope("scaling --to 100 --rounds 1 --samples 20")?;
    let finished = Running::start_with(command.stdout(writer))?.finish()?;
    assert!([0, 6, 141].contains(&finished.code), "{}", finished.said());
    let full = File::options().write(true).open("/dev/full")?;
    let mut command = qdiscope("scaling --to 100 --rounds 1 --samples 20")?;
    let told = Running::start_with(command.stdin(Stdio::null()).stdout(full))?.finish()?.expect(3)?;
    assert!(told.stderr.contains("standard output"), "{}", told.stderr);
    Ok(())
}
