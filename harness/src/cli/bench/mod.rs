//! `qdiscope bench`.

mod arguments;
mod dashboard;
mod stacks;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use tracing::{Instrument as _, info_span};

use arguments::Order;
pub(super) use arguments::{Arguments, load_profile, parse_rate, read_budget};
use dashboard::Dashboard;
use stacks::Named;

use super::progress::Progress;
use super::{SAVED, print, runtime, stop_on_signal};
use crate::budget::{Budget, judge};
use crate::environment::Before;
use crate::exit::{Exit, Failure};
use crate::history::Kept as KeptRun;
use crate::isolation;
use crate::load::Stop;
use crate::memory;
use crate::probes::{self, Attached};
use crate::profile::heap::{Allocations, HeapProfile, HeapProfiler};
use crate::profile::{ProfileError, ReadyProfiler, Symbols, UserProfile, UserProfiler};
use crate::record::Stacks;
use crate::report::explain::explain;
use crate::report::model::{RunResources, RunResult, SCHEMA_VERSION, SlowRequest, State};
use crate::report::sheet::Sheet;
use crate::report::{terminal, timeline};
use crate::session::{Kept, Measured, Session, check_htb};
use crate::spans::{STEP, SpanRecorder};
use crate::store::RunDir;

/// Measures, judges, saves, reports.
#[expect(clippy::needless_pass_by_value, reason = "the command line is used up here")]
pub(super) fn run(arguments: Arguments, spans: &SpanRecorder) -> Result<Exit, Failure> {
    arguments.outputs.check()?;
    let Fresh { run, saved, kept } = fresh(&arguments, spans)?;
    // What was measured is shown, also where it could not be saved.
    report(&run, saved.as_deref().ok(), kept.as_ref())?;
    arguments.outputs.write(&Sheet::of_run(&run))?;
    saved.map(|_| exit(&run))
}

/// A run that was measured now.
pub(super) struct Fresh {
    pub(super) run: RunResult,
    /// Its folder, or why it could not be saved.
    pub(super) saved: Result<PathBuf, Failure>,
    /// What became of it in the history. `None` where it is to be in none, or was not saved.
    pub(super) kept: Option<KeptRun>,
}

/// Measures, judges, saves, and puts it into the history. Ends in namespaces of its own.
pub(super) fn fresh(arguments: &Arguments, spans: &SpanRecorder) -> Result<Fresh, Failure> {
    let order = arguments.order()?;
    let budget = arguments.budget()?;
    check_out(arguments.out.as_deref())?;
    // Before anything else has a thread: what a process observes of the host, and its way out of it.
    let before = Before::observe();
    let keeper = arguments.keeper()?;
    isolation::enter()?;
    let started = Timestamp::now();
    let mut dir = RunDir::create(arguments.out.as_deref(), run_id(started))?;

    let profiler = info_span!(target: STEP, "make pprof ready").in_scope(ReadyProfiler::new);
    let runtime = runtime()?;
    let sampled = arguments.stacks.then(|| stacks::order(&budget));
    let mut run = RunResult {
        schema_version: SCHEMA_VERSION,
        run_id: dir.run_id().into(),
        started_at: started.to_string(),
        qdiscope_version: env!("CARGO_PKG_VERSION").into(),
        verdict: State::Inconclusive,
        interrupted: true,
        settings: arguments.settings(&order),
        environment: before.finish(probes::off("the run is not over")),
        profile: None,
        workloads: Vec::new(),
        resources: RunResources::default(),
        budget: Vec::new(),
        not_judged: Vec::new(),
        explanations: Vec::new(),
        traffic: None,
        artifacts: BTreeMap::new(),
    };
    if let Order::Profile(_, profile) = &order {
        run.profile = Some(profile.clone());
    }
    let work = Work { order: &order, arguments, budget: &budget, before: &before };
    let Outcome { mut measured, attached, symbols, profiles, interrupted, aborted } =
        runtime.block_on(measure(&work, &mut dir, &run, sampled, profiler))?;
    let mut slowest = measured.kept.slowest();
    let named = sampled.map(|order| {
        info_span!(target: STEP, "name stacks").in_scope(|| {
            stacks::name(&mut measured.kept, order, &symbols, &mut measured.workloads, &mut slowest)
        })
    });
    run.interrupted = interrupted;
    run.environment = before.finish(attached);
    run.workloads = measured.workloads;
    run.resources = measured.resources;
    run.traffic = measured.kept.traffic.take();
    if let Some(profile) = &mut run.profile {
        profile.aborted = aborted;
        profile.disturbances = std::mem::take(&mut measured.kept.disturbances);
    }
    let judged = judge(&budget, &run);
    (run.budget, run.not_judged, run.verdict) = (judged.judgements, judged.not_judged, judged.verdict);
    run.explanations = explain(&run);
    let finished = Finished { kept: measured.kept, slowest: &slowest, symbols: &symbols, profiles, named };
    let saved = save(&mut dir, &mut run, finished, spans).map(|()| dir.path().to_owned());
    let kept = keeper.as_ref().zip(saved.as_deref().ok()).map(|(keeper, folder)| keeper.keep(folder));
    if let Some(kept) = &kept {
        warn_of(kept);
    }
    Ok(Fresh { run, saved, kept })
}

/// What did not go as it should. The run is saved, whatever became of it in the history, so its exit code stays.
fn warn_of(kept: &KeptRun) {
    match kept {
        KeptRun::Stored { notes, .. } => notes.iter().for_each(|note| tracing::warn!("history: {note}")),
        KeptRun::Waiting { file, reason } => tracing::warn!(
            "the run is not in the history: {reason}; it waits in {} and is sent with the next one, or by `qdiscope history send`",
            file.display()
        ),
        KeptRun::Lost { reason } => tracing::warn!(
            "the run is in no history: {reason}; `qdiscope history import` takes it from its folder"
        ),
    }
}

fn exit(run: &RunResult) -> Exit {
    match run.verdict {
        _ if run.interrupted => Exit::Interrupted,
        verdict => Exit::of(verdict),
    }
}

/// A wrong `--out` is wrong with or without root.
fn check_out(out: Option<&Path>) -> Result<(), Failure> {
    match out {
        Some(out) if out.exists() && !out.is_dir() => {
            Err(Failure::usage(format!("--out {}: is a file; name a folder", out.display())))
        }
        _ => Ok(()),
    }
}

/// Sortable by time, and two runs within a second differ.
fn run_id(started: Timestamp) -> String {
    format!(
        "{}-{:08x}",
        started.strftime("%Y%m%dT%H%M%SZ"),
        started.subsec_nanosecond() ^ std::process::id().cast_signed() << 8
    )
}

struct Outcome {
    measured: Measured,
    attached: crate::report::model::Probes,
    /// The kernel's, with those of the probes.
    symbols: Symbols,
    profiles: Profiles,
    interrupted: bool,
    /// Why a profile was given up.
    aborted: Option<String>,
}

/// What is to be done, and what it is judged by.
struct Work<'a> {
    order: &'a Order,
    arguments: &'a Arguments,
    budget: &'a Budget,
    before: &'a Before,
}

/// Of our own process.
struct Profiles {
    cpu: Result<UserProfiler, ProfileError>,
    /// Where it was asked for.
    heap: Option<Result<Allocations, ProfileError>>,
}

/// `skeleton` is the result before there are figures: of a profile, what is there after each stage is saved into `dir` as one.
async fn measure(
    work: &Work<'_>,
    dir: &mut RunDir,
    skeleton: &RunResult,
    stacks: Option<Stacks>,
    profiler: Result<ReadyProfiler, ProfileError>,
) -> Result<Outcome, Failure> {
    let Work { order, arguments, budget, before } = *work;
    let stop = Stop::default();
    stop_on_signal(&stop, SAVED)?;
    let devices = async {
        let devices = isolation::create_devices(order.devices_needed()).await?;
        check_htb(devices[0]).await?;
        Ok::<_, Failure>(devices)
    };
    let devices = devices.instrument(info_span!(target: STEP, "create devices")).await?;
    let Attached { collector, report } = info_span!(target: STEP, "attach probes")
        .in_scope(|| probes::attach(arguments.probes, order.messages_per_packet(), stacks))?;
    let cpu = info_span!(target: STEP, "start pprof").in_scope(|| profiler.and_then(ReadyProfiler::start));
    memory::give_back();
    // Last: making pprof and the probes ready allocates a hundred megabytes, which would hide what the load does.
    let heap = arguments.heap.map(HeapProfiler::start);
    let progress = Progress::new();
    let session =
        Session { devices: &devices, collector: collector.as_ref(), stop: &stop, observer: &progress };
    let (measured, aborted) = match order {
        Order::Workloads(plan) => (session.run(plan).await?, None),
        Order::Profile(profile, _) => {
            let mut skeleton = skeleton.clone();
            skeleton.environment = before.finish(report.clone());
            let dashboard = Dashboard::new(profile, budget, skeleton, dir);
            session.run_stages(profile, &dashboard).await?
        }
    };
    let heap = heap.map(|started| started.map(HeapProfiler::stop));
    // As long as the probes are attached.
    let symbols = if collector.is_some() { Symbols::read() } else { Symbols::default() };
    Ok(Outcome {
        measured,
        attached: report,
        symbols,
        profiles: Profiles { cpu, heap },
        // What gives a profile up stops it in the same way.
        interrupted: stop.is_set() && aborted.is_none(),
        aborted,
    })
}

/// What is saved beside the result, before it is files.
struct Finished<'a> {
    kept: Kept,
    slowest: &'a BTreeMap<String, Vec<SlowRequest>>,
    symbols: &'a Symbols,
    profiles: Profiles,
    /// Where stacks were asked for.
    named: Option<Result<Named, ProfileError>>,
}

/// `result.json` comes last: who finds it finds the rest.
fn save(
    dir: &mut RunDir,
    run: &mut RunResult,
    finished: Finished<'_>,
    spans: &SpanRecorder,
) -> Result<(), Failure> {
    let files = info_span!(target: STEP, "finish profiles").in_scope(|| files(run, finished))?;
    info_span!(target: STEP, "write files").in_scope(|| {
        dir.clear()?;
        for (role, name, bytes) in files {
            dir.write(name, &bytes)?;
            run.artifacts.insert(role.into(), name.into());
        }
        Ok::<_, Failure>(())
    })?;
    dir.write("spans.json", &json(&spans.take())?)?;
    run.artifacts.insert("spans".into(), "spans.json".into());
    dir.write("result.json", &json(run)?)?;
    dir.finish();
    Ok(())
}

/// What is saved beside the result: role, name and content.
type Files = Vec<(&'static str, &'static str, Vec<u8>)>;

fn files(run: &mut RunResult, finished: Finished<'_>) -> Result<Files, Failure> {
    let Finished { mut kept, slowest, symbols, profiles: Profiles { cpu, heap }, named } = finished;
    let mut files: Files = Vec::new();
    match kept.hdr.bytes() {
        Ok(log) => files.push(("latency", "latency.hdr", log)),
        Err(error) => run.explanations.push(format!("No log of latencies: {error}.")),
    }
    if !slowest.is_empty() {
        files.push(("slowest_requests", "slowest.json", json(slowest)?));
    }
    if !kept.timeline.is_empty() {
        files.push(("timeline", "timeline.json", json(&kept.timeline)?));
        match timeline::svg(&kept.timeline, run) {
            Ok(svg) => files.push(("timeline_chart", "timeline.svg", svg.into_bytes())),
            Err(error) => run.explanations.push(format!("No chart of the time line: {error}.")),
        }
    }
    if !kept.samples.is_empty() {
        files.push(("growth", "growth.json", json(&kept.samples)?));
    }
    let mut kernel = kept.kernel_profile;
    match named {
        None => {}
        Some(Ok(named)) => {
            kernel = named.kernel;
            // Each is what its name says.
            files.extend(named.files.into_iter().map(|(name, bytes)| (name, name, bytes)));
        }
        Some(Err(error)) => run.explanations.push(format!("No stacks: {error}.")),
    }
    match cpu.and_then(|profiler| profiler.finish("qdiscope: its own CPU time")) {
        Ok(UserProfile { protobuf, flamegraph }) => {
            files.push(("user_profile", "cpu.pb.gz", gzip(&protobuf)?));
            files.push(("user_flamegraph", "user.svg", flamegraph));
        }
        Err(error) => run.explanations.push(format!("No profile of user space: {error}.")),
    }
    match heap.map(|allocations| allocations.and_then(|allocations| allocations.profile())) {
        None => {}
        Some(Ok(HeapProfile { protobuf, flamegraph })) => {
            files.push(("heap_profile", "heap.pb.gz", gzip(&protobuf)?));
            files.push(("heap_flamegraph", "heap.svg", flamegraph));
        }
        Some(Err(error)) => run.explanations.push(format!("No profile of allocations: {error}.")),
    }
    if !kernel.is_empty() {
        match kernel.folded(symbols).and_then(|folded| Ok((kernel.flamegraph(&folded)?, folded))) {
            Ok((flamegraph, folded)) => {
                files.push(("kernel_flamegraph", "kernel.svg", flamegraph));
                files.push(("kernel_stacks", "kernel.folded", folded.into_bytes()));
            }
            Err(error) => run.explanations.push(format!("No kernel flamegraph: {error}.")),
        }
    }
    Ok(files)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes)
        .and_then(|()| gzip.finish())
        .map_err(|error| Failure::internal(format!("compress a profile: {error}")))
}

fn json(document: &impl serde::Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec_pretty(document)
        .map_err(|error| Failure::internal(format!("encode the result: {error}")))
}

fn report(run: &RunResult, saved: Option<&Path>, kept: Option<&KeptRun>) -> Result<(), Failure> {
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut text = terminal::render(run, color);
    for line in terminal::violations(run) {
        text.push_str(&line);
        text.push('\n');
    }
    if let Some(dir) = saved {
        let _ = writeln!(text, "saved: {}", dir.display());
        for name in run.artifacts.values() {
            let _ = writeln!(text, "       {}", dir.join(name).display());
        }
    }
    if let Some(KeptRun::Stored { location, sent, renewed, .. }) = kept {
        let waited = if *sent > 0 { format!(", with {sent} that had waited") } else { String::new() };
        let _ = writeln!(text, "kept:  {location}{waited}");
        for renewed in renewed {
            let _ = writeln!(text, "       renewed: {renewed}");
        }
    }
    print(&text)
}
