//! Ctrl-C and its relatives.

use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::figures::{at, count};
use crate::qdiscope::{Running, Saved, qdiscope};

const LONG: &str = "bench --workload lifecycle --duration 40s";

/// Takes half a minute to prepare: the kernel walks all classes of a qdisc for each one more.
const CROWDED: &str = "bench --workload lifecycle --devices 1 --population 20000 --duration 40s";

/// Starts a run that would last, and lets it come some way.
fn start(arguments: &str, begins: &str) -> Result<(Running, TempDir), Failed> {
    let folder = tempfile::tempdir()?;
    let mut run = Running::start(qdiscope(arguments)?.arg("--out").arg(folder.path()))?;
    run.hear(begins)?;
    thread::sleep(Duration::from_millis(1_200));
    Ok((run, folder))
}

fn is_saved_and_marked(run: Running, folder: &TempDir) -> Result<Saved, Failed> {
    let finished = run.finish_within(Duration::from_secs(15))?.expect(130)?;
    let saved = Saved::read(finished, folder.path())?;
    assert_eq!(saved.result["interrupted"], true);
    assert_eq!(saved.workloads()?[0]["interrupted"], true);
    assert_ne!(saved.result["verdict"], "pass", "a part of a run passes nothing");
    assert!(count(&saved.workloads()?[0], "/operations")? > 10, "what was measured until then");
    assert_eq!(count(&saved.workloads()?[0], "/left_after_teardown")?, 0);
    assert!(saved.finished.stdout.contains("interrupted"), "{}", saved.finished.stdout);
    Ok(saved)
}

pub(crate) fn interrupt_saves_what_was_measured() -> Result<(), Failed> {
    let (run, folder) = start(&format!("{LONG} --rate 500"), "lifecycle (open)")?;
    run.signal(Signal::SIGINT)?;
    let saved = is_saved_and_marked(run, &folder)?;
    let workload = &saved.workloads()?[0];
    assert!(count(workload, "/operations")? < 10_000, "half of what was asked");
    assert_eq!(at(workload, "/rate")?.as_f64(), Some(500.0));
    Ok(())
}

/// Workloads that were never begun are absent, and no target speaks of them as passed.
pub(crate) fn terminate_saves_what_was_measured() -> Result<(), Failed> {
    let (run, folder) = start(&format!("{LONG} --workload htb-qdisc"), "lifecycle (closed)")?;
    run.signal(Signal::SIGTERM)?;
    let saved = is_saved_and_marked(run, &folder)?;
    assert_eq!(saved.workloads()?.len(), 1);
    assert_eq!(
        saved.result["budget"].as_array().into_iter().flatten().find(|t| t["state"] == Value::Null),
        None
    );
    Ok(())
}

/// The terminal goes away.
pub(crate) fn hanging_up_saves_what_was_measured() -> Result<(), Failed> {
    let (run, folder) = start(LONG, "lifecycle (closed)")?;
    run.signal(Signal::SIGHUP)?;
    is_saved_and_marked(run, &folder).map(drop)
}

pub(crate) fn interrupt_is_heard_during_preparation() -> Result<(), Failed> {
    let (mut run, folder) = start(CROWDED, "lifecycle (closed)")?;
    run.signal(Signal::SIGINT)?;
    run.hear("stopping")?;
    let finished = run.finish_within(Duration::from_secs(8))?.expect(130)?;
    if folder.path().join("result.json").exists() {
        assert_eq!(Saved::read(finished, folder.path())?.result["interrupted"], true);
    }
    Ok(())
}

/// Also where the first is not obeyed at once.
pub(crate) fn the_second_interrupt_ends_at_once() -> Result<(), Failed> {
    for arguments in [LONG, CROWDED] {
        let (mut run, folder) = start(arguments, "lifecycle (closed)")?;
        run.signal(Signal::SIGINT)?;
        run.hear("stopping")?;
        run.signal(Signal::SIGINT)?;
        let finished = run.finish_within(Duration::from_secs(3))?.expect(130)?;
        // It may have saved just before; half of it is what must never be there.
        if folder.path().join("result.json").exists() {
            Saved::read(finished, folder.path())?;
        }
    }
    Ok(())
}
