//! `result.json`: complete, true to itself, and as its schema says.

use std::fs;

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::figures::{at, count, errors, number, object, sum_of_counts};
use crate::qdiscope::{Finished, QUICK, Saved, files, qdiscope};
use crate::runs;

const PERCENTILES: [&str; 6] = ["p50", "p90", "p95", "p99", "p99_9", "max"];

/// What scripts may count on.
const FIELDS: [&str; 27] = [
    "/schema_version",
    "/verdict",
    "/interrupted",
    "/environment/kernel",
    "/environment/cpu",
    "/environment/cores",
    "/environment/virtualised",
    "/environment/probes/kind",
    "/environment/probes/reason",
    "/environment/foreign_htb_classes",
    "/environment/load_average_before",
    "/environment/load_average_after",
    "/environment/steal_percent",
    "/workloads/0/name",
    "/workloads/0/mode",
    "/workloads/0/workers",
    "/workloads/0/rate",
    "/workloads/0/operations",
    "/workloads/0/errors",
    "/workloads/0/throughput_ops_per_s/mean",
    "/workloads/0/throughput_ops_per_s/worst_second",
    "/workloads/0/lost_events",
    "/resources/peak_rss_bytes",
    "/resources/cpu_percent_of_one_core",
    "/resources/fds_before",
    "/resources/fds_after",
    "/budget/0/metric",
];

pub(crate) fn every_field_is_there() -> Result<(), Failed> {
    for run in [runs::open()?, runs::closed()?, runs::unwatched()?] {
        for field in FIELDS {
            at(&run.result, field)?;
        }
        for judgement in at(&run.result, "/budget")?.as_array().ok_or("`budget` is no list")? {
            for field in ["/metric", "/limit", "/value", "/state"] {
                at(judgement, field)?;
            }
        }
        for workload in run.workloads()? {
            for latency in object(workload, "/latency_us")?.values() {
                for field in PERCENTILES.iter().chain(&["mean", "count"]) {
                    number(latency, &format!("/{field}"))?;
                }
            }
        }
    }
    Ok(())
}

/// Nothing is counted twice, and nothing is forgotten.
pub(crate) fn operations_are_accounted_for() -> Result<(), Failed> {
    for workload in runs::open()?.workloads()?.iter().chain(runs::closed()?.workloads()?) {
        let (name, operations) = (&workload["name"], count(workload, "/operations")?);
        assert!(operations > 100, "{name}: {operations} operations");
        let succeeded = operations - errors(workload)?;
        assert_eq!(
            sum_of_counts(workload, "/latency_us", "/count")?,
            succeeded,
            "{name}: latency by operation"
        );
        assert_eq!(count(workload, "/latency_all_us/count")?, succeeded, "{name}: latency over all");
        let timeline = at(workload, "/timeline_ops")?.as_array().ok_or("no timeline")?;
        let in_whole_seconds: u64 = timeline.iter().filter_map(Value::as_u64).sum();
        assert!(in_whole_seconds <= succeeded, "{name}: {in_whole_seconds} of {succeeded} in whole seconds");
        let worst = timeline.iter().filter_map(Value::as_f64).reduce(f64::min);
        assert_eq!(workload["throughput_ops_per_s"]["worst_second"].as_f64(), worst, "{name}");
        let mean = number(workload, "/throughput_ops_per_s/mean")?;
        let expected = succeeded as f64 / number(workload, "/measured_seconds")?;
        assert!((mean / expected - 1.0).abs() < 1e-9, "{name}: mean {mean}, expected {expected}");
    }
    Ok(())
}

pub(crate) fn kernel_counts_are_the_operations() -> Result<(), Failed> {
    for workload in runs::open()?.workloads()?.iter().chain(runs::closed()?.workloads()?) {
        let (name, operations) = (&workload["name"], count(workload, "/operations")?);
        let seen = sum_of_counts(workload, "/kernel_us", "/request/count")?;
        let lost = count(workload, "/lost_events")?;
        assert_eq!(seen + lost, operations, "{name}: seen {seen}, lost {lost}");
        assert!(lost <= count(workload, "/lost_events_accounted")?, "{name}: {lost} vanished uncounted");
        if lost > 0 || errors(workload)? > 0 {
            continue;
        }
        // Without losses and errors, each message type must be the operations that it carries.
        for (message, operations) in [
            ("RTM_NEWTCLASS", &["class-create", "class-change"][..]),
            ("RTM_DELTCLASS", &["class-delete"]),
            ("RTM_GETTCLASS", &["class-read"]),
            ("RTM_NEWQDISC", &["qdisc-create"]),
            ("RTM_DELQDISC", &["qdisc-delete"]),
        ] {
            let asked: u64 = operations
                .iter()
                .filter_map(|operation| workload["latency_us"][operation]["count"].as_u64())
                .sum();
            let seen = workload["kernel_us"][message]["request"]["count"].as_u64().unwrap_or(0);
            assert_eq!(seen, asked, "{name}: {message}");
        }
    }
    Ok(())
}

pub(crate) fn kernel_phases_add_up() -> Result<(), Failed> {
    for workload in runs::open()?.workloads()?.iter().chain(runs::closed()?.workloads()?) {
        for (message, phases) in object(workload, "/kernel_us")? {
            let place = format!("{} {message}: {phases}", workload["name"]);
            let mean = |phase: &str| number(phases, &format!("/{phase}/mean"));
            let (request, wait, off) = (mean("request")?, mean("rtnl_wait")?, mean("off_cpu")?);
            // Each histogram keeps three digits.
            assert!(request >= (wait + off) * 0.998, "{place}");
            let sum = wait + off + mean("on_cpu")?;
            assert!((sum / request - 1.0).abs() < 0.005, "{sum} in phases of {request}: {place}");
            for phase in ["request", "rtnl_wait", "off_cpu", "on_cpu"] {
                ascends(&phases[phase])?;
                assert_eq!(phases[phase]["count"], phases["request"]["count"], "{place}");
            }
            // The kind that sees system calls says so, and no other claims to.
            let kind = &runs::open()?.result["environment"]["probes"]["kind"];
            let expected = if kind == "tracepoint" { &phases["request"] } else { &Value::Null };
            assert_eq!(&phases["syscall"], expected, "{place}");
            assert!(number(phases, "/request/p50")? > 0.0, "{place}");
        }
    }
    Ok(())
}

const PHASES: [&str; 8] =
    ["schedule_lag", "encode", "queue", "entry", "rtnl_wait", "on_cpu", "off_cpu", "reply"];

/// The largest share of the median request that no phase may cover; percent. Tracepoints see the least, and a kprobe's own time is
/// nobody's.
fn most_unattributed(probes: &Value) -> f64 {
    if probes["kind"] == "fexit" { 5.0 } else { 15.0 }
}

pub(crate) fn phases_add_up_from_end_to_end() -> Result<(), Failed> {
    let mut worst = 0.0_f64;
    for run in [runs::open()?, runs::closed()?] {
        let most = most_unattributed(&run.result["environment"]["probes"]);
        for workload in run.workloads()? {
            for (operation, latency) in object(workload, "/latency_us")? {
                let phases = at(workload, &format!("/phases_us/{operation}"))?;
                let place = format!("{} {operation}: {phases}", workload["name"]);
                // Every answered request is there, and took as long as its caller says.
                assert_eq!(phases["total"], *latency, "{place}");
                let mut sum = number(phases, "/unattributed/mean")?;
                for phase in PHASES {
                    ascends(&phases[phase])?;
                    sum += number(phases, &format!("/{phase}/mean"))?;
                }
                // Each histogram keeps three digits.
                let total = number(latency, "/mean")?;
                assert!((sum / total - 1.0).abs() < 0.005, "{sum} in phases of {total}: {place}");
                let unattributed = number(phases, "/unattributed/p50")? / number(latency, "/p50")? * 100.0;
                assert!(unattributed < most, "{unattributed} % of {most} %: {place}");
                worst = worst.max(unattributed);
                // A closed loop has no schedule: what is there is the time between two looks at the clock, tens of microseconds where
                // an emulated CPU is taken away in between.
                let lag = number(phases, "/schedule_lag/p50")?;
                let little = lag < 50.0 || lag < number(latency, "/p50")? * 0.05;
                assert!(workload["mode"] == "open" || little, "a closed loop has a lag of {lag} µs: {place}");
            }
            assert_eq!(at(workload, "/phases_all_us/total")?, at(workload, "/latency_all_us")?);
        }
    }
    println!("at most {worst:.2} % of an operation's median is in no phase");
    Ok(())
}

pub(crate) fn the_slowest_requests_are_kept_whole() -> Result<(), Failed> {
    for run in [runs::open()?, runs::closed()?] {
        let slowest: Value = serde_json::from_str(run.text("slowest.json")?)?;
        assert_eq!(run.result["artifacts"]["slowest_requests"], "slowest.json");
        for workload in run.workloads()? {
            let name = |field: &str| workload[field].as_str().unwrap_or_default().to_owned();
            let slowest = at(&slowest, &format!("/{}-{}", name("name"), name("mode")))?;
            let slowest = slowest.as_array().ok_or("no list")?;
            assert_eq!(
                slowest.len() as u64,
                count(workload, "/operations")?.min(100),
                "{}",
                workload["name"]
            );
            let totals: Vec<f64> =
                slowest.iter().map(|slow| number(slow, "/total_us")).collect::<Result<_, _>>()?;
            assert!(totals.is_sorted_by(|one, next| one >= next), "{totals:?}");
            // The histogram keeps three digits, the request all.
            let max = number(workload, "/latency_all_us/max")?;
            assert!((totals[0] / max - 1.0).abs() < 0.002, "{} of {max}", totals[0]);
            for slow in slowest {
                let phases = object(slow, "/phases_us")?;
                let sum: f64 = phases.values().filter_map(Value::as_f64).sum();
                let whole = sum + number(slow, "/unattributed_us")?;
                // A clock's reading lies between two events.
                assert!((whole - number(slow, "/total_us")?).abs() < 1.0, "{slow}");
            }
        }
    }
    Ok(())
}

pub(crate) fn percentiles_ascend() -> Result<(), Failed> {
    for workload in runs::open()?.workloads()?.iter().chain(runs::closed()?.workloads()?) {
        ascends(at(workload, "/latency_all_us")?)?;
        for latency in object(workload, "/latency_us")?.values() {
            ascends(latency)?;
            // No request is answered before the kernel has handled it.
            assert!(number(latency, "/p50")? > 0.0, "{latency}");
        }
    }
    Ok(())
}

fn ascends(percentiles: &Value) -> Result<(), Failed> {
    let values: Vec<f64> =
        PERCENTILES.iter().map(|name| number(percentiles, &format!("/{name}"))).collect::<Result<_, _>>()?;
    assert!(values.is_sorted(), "{percentiles}");
    let (mean, max) = (number(percentiles, "/mean")?, values[values.len() - 1]);
    assert!(mean >= 0.0 && mean <= max, "{percentiles}");
    Ok(())
}

pub(crate) fn nothing_leaks() -> Result<(), Failed> {
    for run in [runs::open()?, runs::closed()?, runs::unwatched()?] {
        for kind in ["fds", "sockets"] {
            let before = count(&run.result, &format!("/resources/{kind}_before"))?;
            let after = count(&run.result, &format!("/resources/{kind}_after"))?;
            assert_eq!(after, before, "{kind}: {}", run.result["resources"]);
        }
        for workload in run.workloads()? {
            assert_eq!(count(workload, "/left_after_teardown")?, 0, "{}", workload["name"]);
            let fds = count(workload, "/resources/fds_max")?;
            assert!(fds > count(workload, "/resources/sockets_max")?, "{}", workload["resources"]);
        }
        assert!(number(&run.result, "/resources/peak_rss_bytes")? > 1e6, "{}", run.result["resources"]);
        assert!(number(&run.result, "/resources/cpu_percent_of_one_core")? > 0.0);
    }
    Ok(())
}

pub(crate) fn an_open_loop_offers_its_rate() -> Result<(), Failed> {
    let run = runs::open()?;
    let [workload] = run.workloads()? else { return Err("not one workload".into()) };
    assert_eq!((&workload["mode"], &workload["rate"]), (&json!("open"), &json!(500.0)));
    assert_eq!(count(workload, "/operations")? + count(workload, "/unsent")?, 1_500);
    assert!(number(workload, "/measured_seconds")? >= 2.99, "{}", workload["measured_seconds"]);
    assert_eq!(run.result["resources"]["cpu_measured_at"], "target load");
    Ok(())
}

pub(crate) fn a_closed_loop_has_no_rate() -> Result<(), Failed> {
    let workloads = runs::closed()?.workloads()?;
    let names: Vec<&Value> = workloads.iter().map(|workload| &workload["name"]).collect();
    assert_eq!(names, ["lifecycle", "htb-class", "htb-qdisc"]);
    for workload in workloads {
        assert_eq!((&workload["mode"], at(workload, "/rate")?), (&json!("closed"), &Value::Null));
        assert_eq!(workload["workers"], 8);
        assert!(number(workload, "/measured_seconds")? > 2.9, "{}", workload["measured_seconds"]);
    }
    Ok(())
}

pub(crate) fn the_seed_decides_what_is_asked() -> Result<(), Failed> {
    let operations = |arguments: &str| -> Result<Value, Failed> {
        let run = Saved::by(arguments)?;
        let counts = object(&run.workloads()?[0], "/latency_us")?.iter();
        Ok(counts.map(|(operation, latency)| (operation.clone(), latency["count"].clone())).collect())
    };
    let mix =
        |seed| operations(&format!("bench --workload lifecycle --rate 800 --duration 1s --seed {seed}"));
    let one = mix(1)?;
    assert_eq!(mix(1)?, one);
    assert_ne!(mix(2)?, one, "another seed asks for something else");
    let fill = "bench --workload htb-class --classes 1500 --duration 1ms --seed 3";
    assert_eq!(operations(fill)?, json!({ "class-create": 1_500 }));
    assert_eq!(operations(fill)?, json!({ "class-create": 1_500 }));
    Ok(())
}

/// A worst second needs a whole second; without one the target is open, which is not a pass.
pub(crate) fn less_than_a_second_has_no_worst_second() -> Result<(), Failed> {
    let run = Saved::by(QUICK)?;
    let throughput = &run.workloads()?[0]["throughput_ops_per_s"];
    assert_eq!(at(throughput, "/worst_second")?, &Value::Null);
    assert!(number(throughput, "/mean")? > 0.0);
    let target = at(&run.result, "/budget")?
        .as_array()
        .and_then(|budget| {
            budget.iter().find(|target| target["metric"] == "throughput_worst_second_ops_per_s")
        })
        .ok_or("the target is not judged")?;
    assert_eq!((&target["state"], &target["value"]), (&json!("inconclusive"), &Value::Null));
    assert_eq!(run.result["verdict"], "inconclusive");
    run.finished.expect(6).map(drop)
}

pub(crate) fn without_probes_nothing_is_claimed() -> Result<(), Failed> {
    let run = runs::unwatched()?;
    assert_eq!(run.result["environment"]["probes"]["kind"], "off");
    for workload in run.workloads()? {
        for absent in ["kernel_us", "phases_us", "phases_all_us", "time_at", "rtnl_waits"] {
            assert_eq!(workload.get(absent), None, "{absent}: absent, not zero");
        }
        assert_eq!(at(workload, "/lost_events")?, &Value::Null);
    }
    assert!(!run.files.contains_key("kernel.svg") && !run.files.contains_key("kernel.folded"));
    let artifacts = object(&run.result, "/artifacts")?;
    assert!(artifacts.keys().all(|role| !role.starts_with("kernel")), "{artifacts:?}");
    let stdout = &run.finished.stdout;
    assert!(stdout.contains("No kernel figures: --probes off"), "{stdout}");
    assert!(!stdout.contains("RTNL wait"), "{stdout}");
    // Nothing is open for want of probes; what a busy machine leaves open is.
    let noise =
        |line: &str| line.contains("the harness itself began") || line.contains("the hypervisor took");
    assert!(stdout.lines().all(|line| !line.starts_with("inconclusive: ") || noise(line)), "{stdout}");
    assert!(
        [0, 4, 6].contains(&run.finished.code),
        "exit code {}\n{}",
        run.finished.code,
        run.finished.said()
    );
    Ok(())
}

/// Without `--out`: a folder of the run's name, and a link to it.
pub(crate) fn runs_are_kept_by_time() -> Result<(), Failed> {
    let target = tempfile::tempdir()?;
    let finished = Finished::of(qdiscope(QUICK)?.env("QDISCOPE_TARGET_DIR", target.path()))?;
    let latest = target.path().join("qdiscope/latest");
    let link = fs::read_link(&latest).map_err(|error| format!("latest: {error}\n{}", finished.said()))?;
    let run = Saved::read(finished, &latest)?;
    assert_eq!(run.result["run_id"].as_str(), link.to_str(), "the link names the run");
    let again = Finished::of(qdiscope(QUICK)?.env("QDISCOPE_TARGET_DIR", target.path()))?;
    assert_ne!(fs::read_link(&latest)?, link, "the link moves on\n{}", again.said());
    assert!(
        files(&target.path().join("qdiscope").join(link))?.contains_key("result.json"),
        "the first stays"
    );
    Ok(())
}

/// Also where neither the warm-up nor the schedule is a multiple of the workers, and where a second has only one request.
pub(crate) fn a_schedule_is_kept_to_its_end() -> Result<(), Failed> {
    let run = Saved::by("bench --workload htb-class --rate 501 --duration 1s --workers 8")?;
    let workload = &run.workloads()?[0];
    assert_eq!((count(workload, "/operations")?, count(workload, "/unsent")?), (501, 0));
    let sparse = Saved::by("bench --workload lifecycle --rate 1 --duration 2s --population 100")?;
    let workload = &sparse.workloads()?[0];
    assert_eq!((count(workload, "/operations")?, count(workload, "/unsent")?), (2, 0));
    assert!((1.9..2.5).contains(&number(workload, "/measured_seconds")?), "{workload}");
    // Over one second only, it would be twice as much.
    assert!(number(workload, "/resources/cpu_percent_of_one_core")? < 60.0, "{}", workload["resources"]);
    Ok(())
}
