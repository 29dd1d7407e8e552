//! Load profiles: stages of virtual users or of a rate, from the file to the result.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::figures::{count, number};
use crate::host::Namespaces;
use crate::qdiscope::{Finished, Running, Saved, qdiscope};
use crate::schema;

/// As many virtual users as `spike` has must fit in it, with everything that watches them.
const MOST_MEMORY: u64 = 100_000_000;

/// A profile's file in a folder of its own.
struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn new(text: &str) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("profile.toml");
        fs::write(
            &path,
            format!("schema_version = 1\nname = \"test\"\ndevices = 2\npopulation = 100\n{text}"),
        )?;
        Ok(Self { _folder: folder, path })
    }

    fn run(&self) -> Result<Saved, Failed> {
        Saved::by(&format!("bench --profile {}", self.path.display()))
    }
}

fn stages(saved: &Saved) -> Result<Vec<String>, Failed> {
    let name = |workload: &Value| workload["stage"]["name"].as_str().unwrap_or("?").to_owned();
    Ok(saved.workloads()?.iter().map(name).collect())
}

/// Whatever the verdict, the run went through and was saved: 0, 4 (violated) or 6 (inconclusive).
fn went_through(saved: &Saved) {
    assert!([0, 4, 6].contains(&saved.finished.code), "{}\n{}", saved.finished.code, saved.finished.said());
    assert_eq!(saved.result["interrupted"], false);
}

pub(crate) fn each_profile_runs_shortened() -> Result<(), Failed> {
    for (name, scale, users) in [
        ("smoke", 0.05, 20),
        ("baseline", 0.01, 200),
        ("stress", 0.01, 1_000),
        ("spike", 0.03, 2_000),
        ("endurance", 0.002, 200),
    ] {
        let saved = Saved::by(&format!("bench --profile {name} --time-scale {scale}"))?;
        went_through(&saved);
        let profile = &saved.result["profile"];
        assert_eq!((&profile["name"], &profile["shortened"]), (&name.into(), &true.into()));
        assert!((number(profile, "/time_scale")? - scale).abs() < 1e-9);
        let workloads = saved.workloads()?;
        assert_eq!(workloads.len() as u64, count(profile, "/stages_planned")?, "{name}");
        for workload in workloads {
            let stage = &workload["stage"];
            let offered = number(stage, "/users/0")? + number(stage, "/users/1")?;
            assert!(offered > 0.0 && count(workload, "/operations")? > 0, "{name}: {stage}");
            assert_eq!(
                workload["errors"].as_array().map(Vec::len),
                Some(0),
                "{name}: {}",
                workload["errors"]
            );
            // Every user's first request was due at a moment.
            assert!(count(workload, "/schedule_lag_us/count")? > 0, "{name}: {stage}");
            let memory = count(workload, "/resources/peak_rss_bytes")?;
            assert!(memory < MOST_MEMORY, "{name}: {stage}: {memory} bytes for {users} users");
        }
        assert!(workloads.iter().any(|workload| workload["workers"] == users), "{name}");
        let timeline: Vec<Value> = serde_json::from_str(saved.text("timeline.json")?)?;
        assert!(timeline.len() >= workloads.len(), "{name}");
        let counted: u64 = timeline.iter().map(|second| second["operations"].as_u64().unwrap_or(0)).sum();
        let operations: u64 =
            workloads.iter().map(|workload| workload["operations"].as_u64().unwrap_or(0)).sum();
        assert_eq!(counted, operations, "{name}: each operation is in one second");
        assert!(saved.text("timeline.svg")?.contains("schedule lag"), "{name}");
    }
    Ok(())
}

pub(crate) fn users_come_think_and_go() -> Result<(), Failed> {
    let file = File::new(
        "[[stage]]\nname = \"up\"\nduration = \"1s\"\nexecutor = \"closed\"\nusers = { from = 0, to = 20 }\nthink_time = \"20ms\"\n\
         [[stage]]\nname = \"hold\"\nduration = \"3s\"\nexecutor = \"closed\"\nusers = 20\nthink_time = \"20ms\"\nthink = \"constant\"",
    )?;
    let saved = file.run()?;
    went_through(&saved);
    assert_eq!(stages(&saved)?, ["up", "hold"]);
    let [up, hold] = saved.workloads()? else { return Err("two stages".into()) };
    // 20 users that think for 20 ms cannot send more than 1,000 a second; half of them are there on average while they come.
    for (workload, most) in [(up, 520), (hold, 3_020)] {
        let operations = count(workload, "/operations")?;
        assert!(operations <= most && operations > most / 10, "{operations} of at most {most}");
    }
    assert_eq!((&up["stage"]["judged"], &hold["stage"]["judged"]), (&false.into(), &true.into()));
    let judged = |workload: &str| {
        saved.result["budget"].as_array().into_iter().flatten().any(|target| target["workload"] == workload)
    };
    assert!(judged("hold") && !judged("up"), "{}", saved.result["budget"]);
    Ok(())
}

pub(crate) fn an_open_stage_offers_its_rate() -> Result<(), Failed> {
    let file = File::new(
        "[[stage]]\nname = \"rise\"\nduration = \"2s\"\nexecutor = \"open\"\nrate = { from = 0, to = 400 }\nusers = 8\n\
         [[stage]]\nname = \"bursts\"\nstart = \"3s\"\nduration = \"2s\"\nexecutor = \"open\"\nrate = 300\narrivals = \"poisson\"\nusers = 8",
    )?;
    let saved = file.run()?;
    went_through(&saved);
    let [rise, bursts] = saved.workloads()? else { return Err("two stages".into()) };
    assert_eq!(count(rise, "/operations")? + count(rise, "/unsent")?, 400, "the area below the rate");
    // Within five standard deviations of 600.
    let sent = count(bursts, "/operations")? + count(bursts, "/unsent")?;
    assert!(sent.abs_diff(600) < 123, "{sent}");
    assert!((number(bursts, "/stage/start_seconds")? - 3.0).abs() < 1e-9);
    Ok(())
}

/// The same rate, all of a burst due at once: it is in the saved run, in what `profiles show` says, and in the requests.
pub(crate) fn bursts_are_due_at_one_moment() -> Result<(), Failed> {
    let file = File::new(
        "[[stage]]\nname = \"even\"\nduration = \"1s\"\nexecutor = \"open\"\nrate = 300\nusers = 8\n\
         [[stage]]\nname = \"bursts\"\nduration = \"4s\"\nexecutor = \"open\"\nrate = 50\narrivals = \"bursts\"\nburst = 150\nusers = 8",
    )?;
    let shown = Finished::of(&mut qdiscope(&format!("profiles show {}", file.path.display()))?)?.expect(0)?;
    assert!(shown.stdout.contains("50 a second (bursts of 150), 8 at a time"), "{}", shown.said());
    assert!(shown.stdout.contains("300 a second (constant)"), "{}", shown.said());
    let saved = file.run()?;
    went_through(&saved);
    assert!(saved.finished.stdout.contains("50/s in bursts of 150"), "{}", saved.finished.said());
    let [even, bursts] = saved.workloads()? else { return Err("two stages".into()) };
    assert!(even["stage"].get("burst").is_none(), "{}", even["stage"]);
    assert_eq!((&bursts["stage"]["arrivals"], &bursts["stage"]["burst"]), (&"bursts".into(), &150.into()));
    assert_eq!(count(bursts, "/operations")? + count(bursts, "/unsent")?, 200, "the rate stays");
    // Nothing is sent before it is due: of an even rate the first second could not have more than 51, and here a burst is due in it.
    let first = count(bursts, "/timeline_ops/0")?;
    assert!((52..=150).contains(&first), "{}", bursts["timeline_ops"]);
    Ok(())
}

/// What the kernel is to refuse is counted by what it said, and apart from what it should not have refused.
pub(crate) fn refusals_that_are_asked_for_are_no_errors() -> Result<(), Failed> {
    let file = File::new(
        "[mix]\nread = 1\ndump = 1\nfilter-create = 2\nfilter-delete = 1\nfilter-dump = 1\nerror-exists = 1\nerror-missing = 1\n\
         error-invalid = 1\nerror-no-device = 1\n[[stage]]\nduration = \"1s\"\nexecutor = \"open\"\nrate = 300\nusers = 4",
    )?;
    let saved = file.run()?;
    went_through(&saved);
    let [stage] = saved.workloads()? else { return Err("one stage".into()) };
    assert_eq!(stage["errors"].as_array().map(Vec::len), Some(0), "{}", stage["errors"]);
    let expected = stage["expected_errors"].as_array().ok_or("no expected errors")?;
    for errno in [nix::libc::EEXIST, nix::libc::ENOENT, nix::libc::EINVAL, nix::libc::ENODEV] {
        assert!(expected.iter().any(|error| error["errno"] == errno), "{errno}: {expected:?}");
    }
    let refused: u64 = expected.iter().filter_map(|error| error["count"].as_u64()).sum();
    let by_operation = stage["latency_us"].as_object().ok_or("no latencies")?;
    let of_errors: u64 = by_operation
        .iter()
        .filter(|(name, _)| name.starts_with("error-"))
        .filter_map(|(_, latency)| latency["count"].as_u64())
        .sum();
    assert_eq!(refused, of_errors);
    for operation in ["class-dump", "filter-create", "filter-delete", "filter-dump", "class-read"] {
        assert!(by_operation.contains_key(operation), "{operation}: {:?}", by_operation.keys());
    }
    Ok(())
}

/// The same lists on the run's socket and on new ones: each counted as what it is, by us and by the probes, and nothing left open.
pub(crate) fn cold_lists_stand_beside_warm_ones() -> Result<(), Failed> {
    let file = File::new(
        "[mix]\nread = 1\ndump = 1\ndump-cold = 1\nfilter-create = 1\nfilter-dump = 1\nfilter-dump-cold = 1\n\
         [[stage]]\nname = \"closed\"\nduration = \"1s\"\nexecutor = \"closed\"\nusers = 4\nthink_time = \"10ms\"\n\
         [[stage]]\nname = \"open\"\nduration = \"1s\"\nexecutor = \"open\"\nrate = 300\nusers = 4",
    )?;
    let saved = file.run()?;
    went_through(&saved);
    let watched = saved.result["environment"]["probes"]["kind"] != "off";
    for stage in saved.workloads()? {
        assert_eq!(stage["errors"].as_array().map(Vec::len), Some(0), "{}", stage["errors"]);
        let of = |operation: &str| count(stage, &format!("/latency_us/{operation}/count"));
        for operation in ["class-dump", "class-dump-cold", "filter-dump", "filter-dump-cold", "class-read"] {
            assert!(of(operation)? > 0, "{operation}: {}", stage["latency_us"]);
            assert!(saved.finished.stdout.contains(operation), "{operation} is not shown");
        }
        if watched {
            let lost = count(stage, "/lost_events_accounted")?;
            for (message, operations) in [
                ("RTM_GETTCLASS", of("class-dump")? + of("class-dump-cold")? + of("class-read")?),
                ("RTM_GETTFILTER", of("filter-dump")? + of("filter-dump-cold")?),
            ] {
                let seen = count(stage, &format!("/kernel_us/{message}/request/count"))?;
                assert!(seen <= operations, "{message}: {seen} seen of {operations} that were sent");
                assert!(seen + lost >= operations, "{message}: {seen} seen, {lost} lost of {operations}");
            }
        }
    }
    let resources = &saved.result["resources"];
    for what in ["sockets", "fds"] {
        let at = |when: &str| count(resources, &format!("/{what}_{when}"));
        assert!(at("after")? <= at("before")?, "{what} are left open: {resources}");
    }
    Ok(())
}

/// Runs a profile with traffic against a budget of its packets.
fn traffic(table: &str, stage: &str) -> Result<Saved, Failed> {
    let file = File::new(&format!("[traffic]\n{table}\n[[stage]]\n{stage}"))?;
    let budget = file.path.with_file_name("budget.toml");
    fs::write(
        &budget,
        "schema_version = 1\n[[target]]\nmetric = \"packet_loss_percent\"\nat_most = 0\n\
         [[target]]\nmetric = \"packets_reordered\"\nat_most = 0",
    )?;
    Saved::by(&format!("bench --profile {} --budget {}", file.path.display(), budget.display()))
}

/// Subscribers' packets come, all and in order, while others are created, changed and deleted, and they themselves are changed.
pub(crate) fn packets_flow_while_classes_are_changed() -> Result<(), Failed> {
    let saved = traffic(
        "packets_per_second = 100\nstreams = 4",
        "duration = \"3s\"\nexecutor = \"closed\"\nusers = 4\nthink_time = \"5ms\"",
    )?;
    let run = &saved.result["traffic"];
    let of = |what: &str| count(run, &format!("/{what}"));
    let sent = of("sent")?;
    assert_eq!((of("lost")?, of("received")?, of("reordered")?, of("duplicated")?), (0, sent, 0, 0), "{run}");
    let due = number(run, "/seconds")? * 400.0;
    assert!(sent > 0 && sent as f64 <= due + 1.0, "{sent} sent, {due} due");
    assert!(number(run, "/seconds")? >= 3.0, "over all of it: {run}");
    assert!((number(run, "/loss_percent")?).abs() < 1e-9, "{run}");
    let streams = run["streams"].as_array().ok_or("no streams")?;
    assert_eq!(streams.len(), 4);
    for stream in streams {
        assert!(count(stream, "/received")? > 0, "{stream}");
    }
    // Each stood on two legs: it was changed itself, and so were others.
    let changes = of("class_changes")?;
    let [stage] = saved.workloads()? else { return Err("one stage".into()) };
    assert_eq!(stage["errors"].as_array().map(Vec::len), Some(0), "{}", stage["errors"]);
    let all = count(stage, "/latency_us/class-change/count")?;
    assert!(changes > 0 && changes < all, "{changes} of {all} changes");
    for operation in ["class-create", "class-delete"] {
        assert!(count(stage, &format!("/latency_us/{operation}/count"))? > 0, "{operation}");
    }
    let text = &saved.finished.stdout;
    assert!(text.contains("Packets through classes") && text.contains("4 streams of 100/s"), "{text}");
    for target in saved.result["budget"].as_array().into_iter().flatten() {
        // Where the machine could not send what was due, that is said; nothing was violated.
        assert_ne!(target["state"], "fail", "{target}");
        let kept = number(run, "/rate_held_percent")? >= 90.0;
        assert_eq!(target["state"] == "pass", kept, "{target}");
    }
    assert_eq!(saved.result["resources"]["sockets_before"], saved.result["resources"]["sockets_after"]);
    Ok(())
}

/// A class that lets 16 packets a second through, of a thousand: its queue is full after a second, and the rest is lost.
pub(crate) fn classes_too_narrow_for_their_packets_lose_them() -> Result<(), Failed> {
    let saved = traffic(
        "packets_per_second = 1000\nstreams = 2\nrate = \"8kbit\"",
        "duration = \"3s\"\nexecutor = \"open\"\nrate = 100\nusers = 4",
    )?;
    let saved = Saved { finished: saved.finished.expect(4)?, ..saved };
    let run = &saved.result["traffic"];
    let of = |what: &str| count(run, &format!("/{what}"));
    let (sent, received, lost) = (of("sent")?, of("received")?, of("lost")?);
    assert_eq!(received + lost, sent, "{run}");
    assert!(lost > of("queued_at_end")? && of("refused")? > 0, "{run}");
    let judged = saved.result["budget"].as_array().ok_or("no budget")?;
    let target =
        judged.iter().find(|judged| judged["metric"] == "packet_loss_percent").ok_or("not judged")?;
    assert_eq!(
        (&target["state"], &target["value"], &target["workload"]),
        (&"fail".into(), &run["loss_percent"], &"run".into())
    );
    assert!(saved.finished.stdout.contains("packet_loss_percent"), "{}", saved.finished.said());
    Ok(())
}

pub(crate) fn a_violation_that_lasts_ends_it() -> Result<(), Failed> {
    // Half of the requests fail, which no noise excuses.
    let file = File::new(
        "[abort]\ngrace = \"1s\"\n[[disturbance]]\nkind = \"device-gone\"\ndevice = 0\nat = \"0s\"\n\
         [[stage]]\nname = \"broken\"\nduration = \"20s\"\nexecutor = \"closed\"\nusers = 2\nthink_time = \"5ms\"\n\
         [[stage]]\nname = \"never\"\nduration = \"20s\"\nexecutor = \"closed\"\nusers = 1",
    )?;
    let began = Instant::now();
    let saved = file.run()?;
    let saved = Saved { finished: saved.finished.expect(4)?, ..saved };
    assert!(began.elapsed() < Duration::from_secs(20));
    let why = saved.result["profile"]["aborted"].as_str().ok_or("it was not given up")?;
    assert!(why.contains("broken") && why.contains("is"), "{why}");
    assert_eq!(saved.result["interrupted"], false);
    assert_eq!(saved.result["workloads"].as_array().map(Vec::len), Some(1));
    let judged = saved.result["budget"].as_array().ok_or("no budget")?;
    assert!(
        judged.iter().any(|target| target["metric"] == "error_rate_percent" && target["state"] == "fail")
    );
    Ok(())
}

pub(crate) fn bad_profiles_are_refused() -> Result<(), Failed> {
    let closed = "duration = \"1s\"\nexecutor = \"closed\"\nusers = 1";
    for (text, word) in [
        (format!("[[stage]]\n{closed}\n[[stage]]\nstart = \"500ms\"\n{closed}"), "overlaps"),
        (format!("[[stage]]\n{closed}\nspeed = 3"), "line 9"),
        ("[[stage]]\nduration = \"1s\"\nexecutor = \"closed\"\nusers = nan".to_owned(), "whole number"),
        (String::new(), "no [[stage]]"),
        (format!("[[stage]]\n{closed}\nburst = 5"), "`burst` is of"),
        (format!("[traffic]\npackets_per_second = 10\nstreams = 0\n[[stage]]\n{closed}"), "streams = 0"),
        (format!("[traffic]\npackets_per_second = 1e6\n[[stage]]\n{closed}"), "500000 together at most"),
        (
            "[[stage]]\nduration = \"1s\"\nexecutor = \"open\"\nrate = 50\narrivals = \"bursts\"\nburst = 51"
                .to_owned(),
            "50 requests in all",
        ),
    ] {
        let path = File::new(&text)?;
        let finished =
            Finished::of(&mut qdiscope(&format!("bench --profile {}", path.path.display()))?)?.expect(2)?;
        assert!(finished.one_line()?.contains(word), "{}", finished.said());
    }
    for (arguments, word) in [
        ("bench --profile smokee", "none of smoke"),
        ("bench --profile smoke --time-scale 2", "0.001 to 1"),
        ("bench --time-scale 0.5", "--profile"),
        ("bench --profile smoke --workers 3", "cannot be used with"),
        ("profiles show smokee", "none of smoke"),
        ("profiles init smokee", "profiles list"),
    ] {
        let finished = Finished::of(&mut qdiscope(arguments)?)?.expect(2)?;
        assert!(finished.stderr.contains(word), "{}", finished.said());
    }
    Ok(())
}

pub(crate) fn built_in_profiles_are_files() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let init = format!("profiles init --out {}", folder.path().display());
    let written = Finished::of(&mut qdiscope(&init)?)?.expect(0)?;
    assert_eq!(written.stdout.lines().count(), 5, "{}", written.said());
    for name in ["smoke", "baseline", "stress", "spike", "endurance"] {
        let shown = Finished::of(&mut qdiscope(&format!("profiles show {name}"))?)?.expect(0)?;
        let file = folder.path().join(format!("{name}.toml"));
        assert_eq!(shown.stdout, fs::read_to_string(&file)?);
        let stages = Finished::of(&mut qdiscope(&format!("profiles show {}", file.display()))?)?.expect(0)?;
        assert!(stages.stdout.contains("users, think time"), "{}", stages.said());
    }
    let again = Finished::of(&mut qdiscope(&init)?)?.expect(2)?;
    assert!(again.one_line()?.contains("not overwritten"), "{}", again.said());
    Ok(())
}

/// Ten moments, from before the first stage to the last: what is in the folder is a whole run or none, and no namespace is left.
pub(crate) fn killed_at_any_moment_it_leaves_whole_files() -> Result<(), Failed> {
    let stage = "duration = \"600ms\"\nexecutor = \"closed\"\nusers = 4\nthink_time = \"5ms\"\n";
    let file = File::new(&format!("[[stage]]\n{stage}").repeat(6))?;
    let mut finished_stages = Vec::new();
    for round in 0_u64..10 {
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("run");
        let mut command = qdiscope(&format!("bench --profile {}", file.path.display()))?;
        let mut run = Running::start(command.arg("--out").arg(&out))?;
        run.hear("stage 1")?;
        // Seven is prime to the length of a stage: no moment is like another.
        thread::sleep(Duration::from_millis(70 + round * 370 + u64::from(run.id()) % 97));
        let namespaces = Namespaces::of(&PathBuf::from(format!("/proc/{}", run.id())))?;
        run.signal(Signal::SIGKILL)?;
        let killed = run.finish()?;
        assert_eq!(killed.code, 128 + Signal::SIGKILL as i32, "{}", killed.said());
        let deadline = Instant::now() + Duration::from_secs(15);
        while namespaces.in_use() {
            assert!(Instant::now() < deadline, "a namespace is left");
            thread::sleep(Duration::from_millis(20));
        }
        finished_stages.push(whole(&out)?);
    }
    // The moments were early and late.
    assert!(finished_stages.iter().any(|stages| *stages > 0), "{finished_stages:?}");
    Ok(())
}

/// How many stages the saved run has; 0 where there is none.
fn whole(out: &Path) -> Result<u64, Failed> {
    let mut stages = 0;
    for entry in fs::read_dir(out)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let bytes = fs::read(&path)?;
        assert!(!bytes.is_empty(), "{name} is empty");
        match name.as_str() {
            "result.json" => {
                let result: Value = serde_json::from_slice(&bytes)?;
                schema::check(&result)?;
                assert_eq!(result["interrupted"], true, "what was killed is partial, and says so");
                assert_ne!(result["verdict"], "pass");
                stages = result["workloads"].as_array().map_or(0, Vec::len) as u64;
            }
            _ if path.extension().is_some_and(|extension| extension == "json") => {
                serde_json::from_slice::<Value>(&bytes).map_err(|error| format!("{name}: {error}"))?;
            }
            _ => {}
        }
    }
    Ok(stages)
}

pub(crate) fn capacity_is_found_between_its_bounds() -> Result<(), Failed> {
    let command =
        "capacity --least 200 --most 400 --duration 1s --confirmations 1 --devices 2 --population 100 --json";
    let finished = Finished::of(&mut qdiscope(command)?)?;
    assert!([0, 4, 6].contains(&finished.code), "{}", finished.said());
    let found: Value = serde_json::from_str(&finished.stdout)?;
    let trials = found["trials"].as_array().ok_or("no trials")?;
    assert!((200.0..201.0).contains(&number(&trials[0], "/rate")?), "{found}");
    match (finished.code, found["rate"].as_f64()) {
        (0, Some(rate)) => assert!((200.0..=400.0).contains(&rate), "{found}"),
        (0, None) => return Err(format!("exit code 0, and no rate: {found}").into()),
        // A noisy machine: then the reason is said.
        _ => assert!(trials.iter().any(|trial| trial["reason"].is_string()), "{found}"),
    }
    Finished::of(&mut qdiscope("capacity --least 20 --most 10")?)?.expect(2)?.one_line()?;
    Ok(())
}

/// RTNL is held for two seconds. An open loop charges that to each request that was due meanwhile; a closed one to the few that were on
/// their way.
pub(crate) fn a_stall_is_charged_to_whom_it_held_back() -> Result<(), Failed> {
    let stall = "[[disturbance]]\nkind = \"rtnl-hold\"\nat = \"2s\"\nfor = \"2s\"\n";
    let p99 = |stage: &str| -> Result<(f64, Saved), Failed> {
        let saved = File::new(&format!("{stall}[[stage]]\nduration = \"10s\"\n{stage}"))?.run()?;
        assert!([0, 4, 6].contains(&saved.finished.code), "{}", saved.finished.said());
        let held = &saved.result["profile"]["disturbances"][0];
        let longest = number(held, "/effect/held/longest_ns")?;
        assert!((2e9..3e9).contains(&longest), "{held}");
        Ok((number(&saved.result, "/workloads/0/latency_all_us/p99")?, saved))
    };
    let (open, saved) = p99("executor = \"open\"\nrate = 200\nusers = 16")?;
    assert!(open >= 1e6, "a fifth of all requests was due while nobody could be served: p99 {open} µs");
    let (closed, _) = p99("executor = \"closed\"\nusers = 4\nthink_time = \"2ms\"")?;
    assert!(closed < 1e6, "four of thousands waited: p99 {closed} µs");
    if let Some(waits) = saved.result["workloads"][0]["rtnl_waits"]["holders"].as_array() {
        assert!(waits.iter().any(|holder| holder["comm"] == "rtnl-holder"), "{waits:?}");
    }
    Ok(())
}

/// Devices that go, descriptors that run out, a receive buffer without room: errors that are counted, and an end.
pub(crate) fn what_exhausts_a_run_is_told_and_ends() -> Result<(), Failed> {
    let stage = "[[stage]]\nduration = \"2s\"\nexecutor = \"closed\"\nusers = 4\nthink_time = \"5ms\"";
    for (disturbance, errors) in [
        ("kind = \"device-gone\"\ndevice = 0\nat = \"1s\"", true),
        ("kind = \"descriptors\"\nlimit = 16\nat = \"500ms\"\nfor = \"1s\"", false),
        ("kind = \"receive-buffer\"\nbytes = 2304", false),
    ] {
        let saved = File::new(&format!("[[disturbance]]\n{disturbance}\n{stage}"))?.run()?;
        assert!([0, 4, 6].contains(&saved.finished.code), "{disturbance}: {}", saved.finished.said());
        let [workload] = saved.workloads()? else { return Err("one stage".into()) };
        assert!(count(workload, "/operations")? > 50, "{disturbance}: it went on");
        let told = workload["errors"].as_array().is_some_and(|errors| !errors.is_empty());
        assert_eq!(told, errors, "{disturbance}: {}", workload["errors"]);
        if errors {
            assert!(
                workload["errors"].to_string().contains(&format!("{}", nix::libc::ENODEV)),
                "{}",
                workload["errors"]
            );
            assert_ne!(saved.result["verdict"], "pass");
        }
    }
    Ok(())
}
