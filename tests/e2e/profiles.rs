//! The files beside `result.json`: whole, readable by others' tools, and about what was asked.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use libtest_mimic::Failed;
use pprof::protos::{Message as _, Profile};

use crate::figures::{count, number, object};
use crate::investigate;
use crate::qdiscope::Saved;
use crate::runs;

pub(crate) fn artifacts_are_there() -> Result<(), Failed> {
    for run in [runs::open()?, runs::closed()?, runs::unwatched()?] {
        let mut named: Vec<&str> =
            object(&run.result, "/artifacts")?.values().filter_map(|name| name.as_str()).collect();
        for name in &named {
            assert!(!run.file(name)?.is_empty(), "{name} is empty");
            assert!(run.finished.stdout.contains(name), "{name} is not told");
        }
        named.push("result.json");
        named.sort_unstable();
        let found: Vec<&str> = run.files.keys().map(String::as_str).collect();
        assert_eq!(found, named, "what is in the folder is what the result names");
        for name in ["latency.hdr", "cpu.pb.gz", "user.svg"] {
            assert!(named.contains(&name), "{name}: {named:?}");
        }
    }
    for name in ["kernel.svg", "kernel.folded"] {
        assert_eq!(runs::open()?.files.contains_key(name), runs::watched()?, "{name}");
    }
    Ok(())
}

/// The log holds every latency that the result speaks of, second by second.
pub(crate) fn the_latency_log_reads_back() -> Result<(), Failed> {
    for run in [runs::open()?, runs::closed()?] {
        let mut logged: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
        for entry in IntervalLogIterator::new(run.file("latency.hdr")?) {
            let LogEntry::Interval(interval) = entry.map_err(|error| format!("latency.hdr: {error:?}"))?
            else {
                continue;
            };
            let tag = interval.tag().ok_or("an interval without a tag")?.as_str().to_owned();
            let raw = STANDARD.decode(interval.encoded_histogram())?;
            let histogram: Histogram<u64> = Deserializer::new()
                .deserialize(&mut raw.as_slice())
                .map_err(|error| format!("{tag}: {error:?}"))?;
            let sum = logged.entry(tag).or_insert_with(|| {
                let mut empty = Histogram::new(3).expect("three digits are allowed");
                empty.auto(true);
                empty
            });
            sum.add(histogram)?;
        }
        let mut expected = 0;
        for workload in run.workloads()? {
            let (name, mode) = (workload["name"].as_str(), workload["mode"].as_str());
            let load = format!("{}-{}", name.unwrap_or_default(), mode.unwrap_or_default());
            for (operation, latency) in object(workload, "/latency_us")? {
                let tag = format!("{load}:{operation}");
                let log = logged.get(&tag).ok_or_else(|| format!("no {tag} in latency.hdr"))?;
                assert_eq!(log.len(), count(latency, "/count")?, "{tag}");
                for (name, quantile) in [("p50", 0.5), ("p95", 0.95), ("p99_9", 0.999), ("max", 1.0)] {
                    let (said, held) =
                        (number(latency, &format!("/{name}"))?, log.value_at_quantile(quantile));
                    assert!(
                        (held as f64 / 1e3 / said - 1.0).abs() < 0.002,
                        "{tag} {name}: {said} µs, {held} ns"
                    );
                }
                expected += 1;
            }
        }
        assert_eq!(logged.len(), expected, "{:?}", logged.keys());
    }
    Ok(())
}

pub(crate) fn kernel_stacks_are_folded() -> Result<(), Failed> {
    let run = runs::closed()?;
    let mut samples = 0;
    let mut workloads: Vec<&str> = Vec::new();
    for line in run.text("kernel.folded")?.lines() {
        let (stack, weight) = line.rsplit_once(' ').ok_or_else(|| format!("no count: {line}"))?;
        let weight: u64 = weight.parse().map_err(|error| format!("{line}: {error}"))?;
        assert!(weight > 0, "{line}");
        samples += weight;
        let mut frames = stack.split(';');
        workloads.extend(frames.next());
        assert!(frames.clone().next().is_some() && frames.all(|frame| !frame.is_empty()), "{line}");
    }
    workloads.dedup();
    assert_eq!(
        workloads,
        ["htb-class-closed", "htb-qdisc-closed", "lifecycle-closed"],
        "sorted, and all there"
    );
    assert!(samples > 300, "{samples} samples of nine seconds");
    Ok(())
}

/// Where a class's creation and change go through.
pub(crate) fn the_kernel_flamegraph_names_htb() -> Result<(), Failed> {
    let titles = titles(runs::closed()?, "kernel.svg")?;
    for function in ["htb_change_class", "tc_ctl_tclass"] {
        assert!(titles.iter().any(|title| title.starts_with(function)), "no {function} in kernel.svg");
    }
    Ok(())
}

/// Encoding is cheap, so that a short run may not meet it: the run is repeated, longer, before that is a failure.
pub(crate) fn the_user_flamegraph_names_the_encoder() -> Result<(), Failed> {
    let encodes = |run: &Saved| -> Result<bool, Failed> {
        Ok(titles(run, "user.svg")?
            .iter()
            .any(|title| title.contains("tc_adapter") && title.contains("encode")))
    };
    let mut found = encodes(runs::closed()?)?;
    for seconds in [5, 10] {
        if !found {
            let busy = format!(
                "bench --workload lifecycle --weights create=1,change=98,delete=1 --duration {seconds}s"
            );
            found = encodes(&Saved::by(&busy)?)?;
        }
    }
    assert!(found, "no frame of tc_adapter's encode");
    Ok(())
}

/// The titles of a flamegraph's frames. Fails where it is no whole SVG.
fn titles<'a>(run: &'a Saved, name: &str) -> Result<Vec<&'a str>, Failed> {
    let svg = run.text(name)?.trim();
    assert!(svg.starts_with("<?xml") || svg.starts_with("<svg"), "{name} begins with {svg:.40}");
    assert!(svg.ends_with("</svg>"), "{name} does not end");
    let titles: Vec<&str> =
        svg.split("<title>").skip(1).filter_map(|rest| rest.split("</title>").next()).collect();
    assert!(titles.len() > 10, "{name}: {} frames", titles.len());
    Ok(titles)
}

/// A profile, as `go tool pprof` reads it.
fn profile(run: &Saved, name: &str) -> Result<Profile, Failed> {
    let file = run.file(name)?;
    assert!(file.starts_with(&[0x1f, 0x8b]), "{name}: no gzip: {:?}", &file[..2]);
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
    Ok(Profile::decode(bytes.as_slice()).map_err(|error| format!("{name}: {error}"))?)
}

/// It is pprof's protocol buffer, and its string table names our crates.
pub(crate) fn the_cpu_profile_names_our_code() -> Result<(), Failed> {
    let profile = profile(runs::closed()?, "cpu.pb.gz")?;
    for string in ["nanoseconds", "tc_adapter", "qdiscope::session"] {
        let found = profile.string_table.iter().any(|known| known.contains(string));
        assert!(found, "no `{string}` among {} strings", profile.string_table.len());
    }
    Ok(())
}

/// The kernel takes samples when its clock ticks: a profile that believed its own frequency would show a quarter of the time.
pub(crate) fn the_cpu_profile_accounts_for_the_cpu_time() -> Result<(), Failed> {
    let run = runs::closed()?;
    let profile = profile(run, "cpu.pb.gz")?;
    let unit = |name: &str| profile.string_table.iter().position(|known| known == name);
    let nanoseconds = unit("nanoseconds").ok_or("no nanoseconds")?;
    let column = profile
        .sample_type
        .iter()
        .position(|kind| usize::try_from(kind.unit).is_ok_and(|unit| unit == nanoseconds))
        .ok_or("no column of nanoseconds")?;
    let sampled = profile.sample.iter().map(|sample| sample.value[column]).sum::<i64>() as f64 / 1e9;
    let mut used = 0.0;
    for workload in run.workloads()? {
        used += number(workload, "/measured_seconds")?
            * number(workload, "/resources/cpu_percent_of_one_core")?
            / 100.0;
    }
    // Set-up and tear-down are in the profile, too; samples that meet on two CPUs at once are not.
    assert!((0.6..2.0).contains(&(sampled / used)), "{sampled} s in samples, {used} s used");
    Ok(())
}

/// With every allocation sampled, under pprof's signals: the recording neither waits for itself nor loses count.
pub(crate) fn the_heap_profile_accounts_for_allocations() -> Result<(), Failed> {
    let run = Saved::by("bench --workload lifecycle --duration 2s --heap=1")?;
    assert_eq!(run.result["settings"]["heap_sampled_every_bytes"], 1);
    let heap = heap(&run)?;
    assert_eq!(heap.period, 1);
    let text = |index: i64| heap.string_table[usize::try_from(index).unwrap_or(usize::MAX)].as_str();
    for sample in &heap.sample {
        let &[allocated, space, live, in_use] = sample.value.as_slice() else {
            return Err(format!("{:?}", sample.value).into());
        };
        assert!(allocated > 0 && allocated >= live && space >= in_use && in_use >= 0, "{:?}", sample.value);
        let size = sample.label.iter().find(|label| text(label.key) == "bytes").ok_or("no size")?.num;
        assert_eq!((space, in_use), (allocated * size, live * size), "exact: every one was sampled");
    }
    let freed = heap.sample.iter().map(|sample| sample.value[0] - sample.value[2]).sum::<i64>();
    assert!(freed > 0, "nothing was ever freed");
    for name in ["qdiscope::load::Crew", "tokio::runtime"] {
        assert!(heap.function.iter().any(|function| text(function.name).contains(name)), "no {name}");
    }
    let ours = heap.function.iter().filter(|function| text(function.name).starts_with("qdiscope::"));
    assert!(
        ours.clone().count() > 5 && ours.clone().all(|function| function.filename > 0),
        "with their files"
    );
    let recording = |name: &str| name.contains("SampledAllocator") || name.starts_with("backtrace::");
    assert!(!heap.function.iter().any(|function| recording(text(function.name))), "how it was recorded");
    assert!(
        titles(&run, "heap.svg")?
            .iter()
            .any(|title| title.contains("qdiscope::load") && title.contains("bytes"))
    );
    Ok(())
}

/// As people use it.
pub(crate) fn allocations_are_sampled_where_that_is_asked_for() -> Result<(), Failed> {
    let run = Saved::by("bench --workload lifecycle --duration 2s --heap")?;
    let heap = heap(&run)?;
    assert_eq!(heap.period, 512 << 10);
    let total = |column: usize| heap.sample.iter().map(|sample| sample.value[column]).sum::<i64>();
    assert!(total(1) > 0 && total(0) >= total(2) && total(1) >= total(3), "{} of {}", total(3), total(1));
    let artifacts = object(&run.result, "/artifacts")?;
    assert_eq!(
        (artifacts["heap_profile"].as_str(), artifacts["heap_flamegraph"].as_str()),
        (Some("heap.pb.gz"), Some("heap.svg"))
    );
    let folder = investigate::folder(&run)?;
    investigate::investigate(folder.path(), "")?.expect(0)?;
    let page = fs::read_to_string(folder.path().join("investigation/index.html"))?;
    assert!(page.contains("What it allocated"), "the page does not show it");
    for unasked in [runs::open()?, runs::closed()?, runs::unwatched()?] {
        assert!(!unasked.files.keys().any(|name| name.starts_with("heap")), "{:?}", unasked.files.keys());
        assert!(unasked.result["settings"]["heap_sampled_every_bytes"].is_null());
    }
    Ok(())
}

/// The allocation profile, with the columns of Go's.
fn heap(run: &Saved) -> Result<Profile, Failed> {
    let heap = profile(run, "heap.pb.gz")?;
    let text = |index: i64| heap.string_table[usize::try_from(index).unwrap_or(usize::MAX)].as_str();
    let columns: Vec<_> = heap.sample_type.iter().map(|kind| (text(kind.ty), text(kind.unit))).collect();
    let expected = [
        ("alloc_objects", "count"),
        ("alloc_space", "bytes"),
        ("inuse_objects", "count"),
        ("inuse_space", "bytes"),
    ];
    assert_eq!(columns, expected);
    Ok(heap)
}
