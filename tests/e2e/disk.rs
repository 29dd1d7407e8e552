//! Disks that are full, or become so: `result.json` is whole or absent.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use libtest_mimic::Failed;

use crate::mounts::{self, Tmpfs};
use crate::qdiscope::{Finished, QUICK, Running, Saved, files, qdiscope};

/// A folder with a small file system on it.
fn disk(folder: &Path, options: &str) -> Result<Tmpfs, Failed> {
    mounts::enter()?;
    Tmpfs::mount(folder, options)
}

pub(crate) fn a_full_disk_is_told_before_the_work() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let _disk = disk(folder.path(), "size=64k")?;
    for out in [folder.path().to_owned(), folder.path().join("run")] {
        let mut run = Running::start(qdiscope(QUICK)?.arg("--out").arg(&out))?;
        let heard = run.hear("free some space");
        let finished = run.finish()?.expect(3)?;
        heard?;
        // No workload was begun.
        let line = finished.one_line()?;
        assert!(line.contains(&out.display().to_string()), "{line}");
        let left = files(&out)?;
        assert!(left.is_empty(), "{:?}", left.keys());
        if out != folder.path() {
            fs::remove_dir(out)?;
        }
    }
    Ok(())
}

/// Room for a run is taken before it: what others write meanwhile does not cost the result.
pub(crate) fn a_disk_that_fills_up_does_not_cost_the_run() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let _disk = disk(folder.path(), "size=12m")?;
    let out = folder.path().join("run");
    let mut run = Running::start(
        qdiscope("bench --workload lifecycle --population 100 --duration 2s")?.arg("--out").arg(&out),
    )?;
    run.hear("lifecycle (closed)")?;
    let mut filler = File::create(folder.path().join("filler"))?;
    let full = loop {
        if let Err(error) = filler.write_all(&[1; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
    let saved = Saved::read(run.finish()?.expect(0)?, &out)?;
    assert_eq!(saved.result["interrupted"], false);
    assert!(saved.files.contains_key("user.svg"), "{:?}", saved.files.keys());
    Ok(())
}

/// A file system that runs out of inodes while the run is saved: each file, and at last `result.json`, meets it.
pub(crate) fn a_disk_that_is_full_at_the_end_leaves_no_half_result() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    mounts::enter()?;
    let mut failed = 0;
    // The root folder takes one, the room that is held in reserve another.
    for inodes in [2, 4, 6] {
        let _disk = Tmpfs::mount(folder.path(), &format!("size=64m,nr_inodes={inodes}"))?;
        let finished = Finished::of(qdiscope(QUICK)?.arg("--out").arg(folder.path()))?;
        let left = files(folder.path())?;
        if let Some(document) = left.get("result.json") {
            // Fewer files than inodes: then all of it must be there.
            let result: serde_json::Value = serde_json::from_slice(document)?;
            assert_eq!(result["artifacts"].as_object().map(serde_json::Map::len), Some(left.len() - 1));
            continue;
        }
        failed += 1;
        let finished = finished.expect(3)?;
        let line = finished.stderr.lines().last().unwrap_or_default();
        assert!(line.starts_with("qdiscope: ") && line.contains("free some space"), "{}", finished.said());
        assert!(finished.stdout.contains("verdict"), "what was measured is shown all the same");
        assert!(!finished.stdout.contains("saved:"), "{}", finished.stdout);
        let partial: Vec<_> = left.keys().filter(|name| name.starts_with('.')).collect();
        assert!(partial.is_empty(), "{partial:?}");
    }
    assert!(failed >= 2, "the disk was never full");
    Ok(())
}

/// Output that cannot be written is told, and no reason to panic or to lose the run.
pub(crate) fn a_full_stdout_is_told() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let full = File::options().write(true).open("/dev/full")?;
    let run = Running::start_with(qdiscope(QUICK)?.arg("--out").arg(folder.path()).stdout(full))?;
    let saved = Saved::read(run.finish()?.expect(3)?, folder.path())?;
    assert!(saved.finished.stderr.contains("standard output"), "{}", saved.finished.stderr);
    let full = File::options().write(true).open("/dev/full")?;
    Running::start_with(qdiscope("schema")?.stdout(full))?.finish()?.expect(3).map(drop)
}

/// Until there is something to put in its place, the run that is there stays.
pub(crate) fn an_earlier_run_outlives_one_that_fails() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let out = |arguments: &str| Finished::of(qdiscope(arguments)?.arg("--out").arg(folder.path()));
    out(QUICK)?.expect(6)?;
    let before = files(folder.path())?;
    mounts::enter()?;
    let _hidden = Tmpfs::mount(Path::new("/sys/kernel"), "size=64k,mode=755")?;
    out(&format!("{QUICK} --probes tracepoint"))?.expect(3)?;
    assert_eq!(files(folder.path())?, before);
    Ok(())
}
