//! `qdiscope investigate`: from a saved run to a page that is read without a network.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use libtest_mimic::Failed;
use serde_json::Value;
use tempfile::TempDir;

use crate::qdiscope::{Finished, Saved, files, plain, qdiscope};
use crate::{runs, trace_events};

/// The run in a folder again.
pub(crate) fn folder(run: &Saved) -> Result<TempDir, Failed> {
    let folder = tempfile::tempdir()?;
    for (name, bytes) in &run.files {
        fs::write(folder.path().join(name), bytes)?;
    }
    Ok(folder)
}

pub(crate) fn investigate(run: &Path, more: &str) -> Result<Finished, Failed> {
    Finished::of(plain(&mut qdiscope(&format!("investigate {} {more}", run.display()))?))
}

pub(crate) fn a_run_becomes_a_page() -> Result<(), Failed> {
    let run = folder(runs::closed()?)?;
    let other = folder(runs::open()?)?;
    let finished = investigate(run.path(), &format!("--against {}", other.path().display()))?.expect(0)?;
    let written = files(&run.path().join("investigation"))?;
    let page = String::from_utf8(written["index.html"].clone())?;
    assert!(finished.stdout.contains("index.html"), "{}", finished.stdout);
    for workload in ["htb-class (closed)", "htb-qdisc (closed)", "lifecycle (closed)"] {
        assert!(page.contains(workload), "{workload}");
    }
    // Another load is another run: nothing is said of the change.
    assert!(page.contains("Not comparable:") || !page.contains("lifecycle (open)"), "compared");
    assert_eq!(written.contains_key("kernel.svg"), runs::closed()?.files.contains_key("kernel.svg"));
    for reference in ["src=\"http", "href=\"http", "url(http", "@import"] {
        assert!(!page.contains(reference), "the page wants the network: {reference}");
    }
    Ok(())
}

pub(crate) fn the_slowest_requests_are_a_trace() -> Result<(), Failed> {
    let run = folder(runs::closed()?)?;
    let out = run.path().join("elsewhere");
    investigate(run.path(), &format!("--out {}", out.display()))?.expect(0)?;
    let trace: Value = serde_json::from_slice(&fs::read(out.join("trace.json"))?)?;
    let events = trace["traceEvents"].as_array().ok_or("no events")?;
    let requests = events.iter().filter(|event| event["ph"] == "X" && event["args"]["tid"].is_u64()).count();
    assert_eq!(requests, 300, "a hundred of each of three workloads");
    let in_kernel = events.iter().filter(|event| event["cat"] == "kernel").count();
    assert!(in_kernel > 100, "{in_kernel} slices on the threads that sent them");
    trace_events::check(events)
}

/// Without probes, too: then they are all there is.
pub(crate) fn steps_are_in_the_trace() -> Result<(), Failed> {
    for run in [runs::closed()?, runs::unwatched()?] {
        let run = folder(run)?;
        investigate(run.path(), "")?.expect(0)?;
        let trace: Value = serde_json::from_slice(&fs::read(run.path().join("investigation/trace.json"))?)?;
        let events = trace["traceEvents"].as_array().ok_or("no events")?;
        trace_events::check(events)?;
        let steps: BTreeMap<&str, &Value> = events
            .iter()
            .filter(|event| event["cat"] == "step")
            .filter_map(|event| Some((event["name"].as_str()?, event)))
            .collect();
        for name in
            ["attach probes", "workload", "round", "set up", "warm up", "measure", "tear down", "write files"]
        {
            assert!(steps.contains_key(name), "no step `{name}`: {:?}", steps.keys());
        }
        // One clock: what was slow was so while it was measured.
        let times =
            |event: &Value| Some((event["ts"].as_f64()?, event["ts"].as_f64()? + event["dur"].as_f64()?));
        let measured: Vec<_> =
            events.iter().filter(|event| event["name"] == "measure").filter_map(times).collect();
        for request in events.iter().filter(|event| event["args"]["tid"].is_u64()) {
            let (begin, end) = times(request).ok_or("no times")?;
            let within = measured.iter().any(|&(first, last)| first <= begin && end <= last);
            assert!(within, "{begin} to {end} in none of {measured:?}");
        }
    }
    Ok(())
}

pub(crate) fn what_is_no_run_is_refused() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    investigate(&folder.path().join("absent"), "")?.expect(2)?.one_line()?;
    fs::write(folder.path().join("result.json"), "{\"schema_version\": 1, \"run_id\"")?;
    let refused = investigate(folder.path(), "")?.expect(2)?;
    assert!(refused.one_line()?.contains("no saved run"), "{}", refused.said());
    let run = self::folder(runs::unwatched()?)?;
    let file = folder.path().join("result.json");
    investigate(run.path(), &format!("--out {}", file.display()))?.expect(2)?.one_line()?;
    investigate(run.path(), "--out /proc/nowhere")?.expect(3)?.one_line()?;
    // Without probes there is less to show, and that is said.
    investigate(run.path(), "")?.expect(0)?;
    let page = fs::read_to_string(run.path().join("investigation/index.html"))?;
    assert!(page.contains("no probes watched the kernel") && page.contains("no kernel stacks were sampled"));
    Ok(())
}
