//! `qdiscope bench`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

use super::progress::Progress;
use super::{SAVED, print, runtime, stop_on_signal};
use crate::budget::{Budget, judge};
use crate::environment::Before;
use crate::exit::{Exit, Failure};
use crate::isolation;
use crate::load::Stop;
use crate::memory;
use crate::plan::{Load, Plan, Workload};
use crate::probes::{self, Attached, Choice};
use crate::profile::{ProfileError, ReadyProfiler, UserProfile, UserProfiler};
use crate::report::explain::explain;
use crate::report::model::{RunResult, SCHEMA_VERSION, Settings, State};
use crate::report::terminal;
use crate::session::{Kept, Measured, Session, check_htb};
use crate::store::RunDir;
use crate::workload::{Kind, Weights};

/// More do not fit on the most devices; far fewer already take the kernel hours.
pub(super) const MOST_CLASSES: u64 = 65_535_000;

/// Nobody writes a longer budget.
const BUDGET_BYTES: u64 = 1 << 20;

/// Without `--workload`: the capacity of each workload, then the target load.
#[derive(Args)]
#[command(next_line_help = false)]
pub(super) struct Arguments {
    /// Run only this workload (may be repeated); by default all, and then the target load
    #[arg(long, value_enum)]
    workload: Vec<Kind>,
    /// Concurrent callers
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    workers: u32,
    /// Offer operations at this rate (open loop, latency from the intended start) instead of as fast as they are
    /// answered (closed loop)
    #[arg(long, value_name = "OPS_PER_S", value_parser = parse_rate)]
    rate: Option<f64>,
    /// How long each workload is measured, in seconds or as 500ms, 30s, 2m [default: 10s; 3s for htb-class, which
    /// repeats whole fills; 30s for the target load]
    #[arg(long, value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Veth devices that carry HTB
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    devices: u32,
    /// htb-class: classes that a fill creates
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=MOST_CLASSES))]
    classes: u64,
    /// lifecycle: classes held in the kernel
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=MOST_CLASSES))]
    population: u64,
    /// lifecycle: how often each operation is chosen, as far as the constant population allows: creating and deleting
    /// even out
    #[arg(long, value_name = "NAME=N,…", default_value_t = Weights::default())]
    weights: Weights,
    /// Seed of every random choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Operations of each workload that are sent before measuring begins; htb-class: in each fill
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(..=MOST_CLASSES))]
    warmup: u64,
    /// Requests that wait at the same time and may travel in one system call. With more than one, only probes that tell the messages
    /// of a packet apart (fexit, kprobe) can watch the kernel's side
    #[arg(long, value_name = "N", default_value_t = NonZeroU16::MIN, value_parser = parse_messages)]
    messages_per_packet: NonZeroU16,
    /// Who watches the kernel's side
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    probes: Choice,
    /// Targets, as a TOML file [default: built in, see README]
    #[arg(long, value_name = "FILE")]
    budget: Option<PathBuf>,
    /// Folder for the saved run; an earlier run's files in it are replaced
    /// [default: target/qdiscope/<UTC time>-<id>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Some 15 seconds instead of a minute: to see that everything works
    #[arg(long)]
    quick: bool,
}

fn parse_messages(text: &str) -> Result<NonZeroU16, String> {
    text.parse().map_err(|_| format!("give a number from 1 to {}", u16::MAX))
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 && rate <= 1e7 => Ok(rate),
        _ => Err("give operations per second, a number above 0 and at most 10000000, as in 1000".into()),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" => 60.0,
        "h" => 3_600.0,
        other => return Err(format!("`{other}` is none of the units ms, s, m and h")),
    };
    match digits.parse::<f64>() {
        Ok(value) if (1e-3..=86_400.0).contains(&(value * unit)) => Ok(Duration::from_secs_f64(value * unit)),
        _ => Err("give a time from 1ms to a day, as in 30s".into()),
    }
}

impl Arguments {
    fn plan(&self) -> Result<Plan, Failure> {
        let mut workloads = Vec::new();
        if self.workload.is_empty() {
            let kinds = [Kind::HtbQdisc, Kind::HtbClass, Kind::Lifecycle];
            if let Some(rate) = self.rate {
                workloads.extend(kinds.map(|kind| self.open(kind, rate)));
            } else {
                workloads.extend(kinds.map(|kind| self.closed(kind)));
                workloads.push(self.open(Kind::Lifecycle, 1_000.0));
            }
        } else {
            workloads.extend(self.workload.iter().map(|&kind| match self.rate {
                Some(rate) => self.open(kind, rate),
                None => self.closed(kind),
            }));
        }
        let plan = Plan {
            workloads,
            devices: self.devices,
            seed: self.seed,
            warmup: self.warmup,
            messages_per_packet: self.messages_per_packet,
        };
        plan.check().map_err(Failure::usage)?;
        Ok(plan)
    }

    fn closed(&self, kind: Kind) -> Workload {
        let seconds = match (kind, self.quick) {
            (Kind::HtbClass, _) => 3,
            (_, true) => 2,
            (_, false) => 10,
        };
        let duration = self.duration.unwrap_or(Duration::from_secs(seconds));
        self.workload(kind, Load::Closed { duration }, self.classes)
    }

    fn open(&self, kind: Kind, rate: f64) -> Workload {
        let duration = self.duration.unwrap_or(Duration::from_secs(if self.quick { 5 } else { 30 }));
        // A fill on a schedule needs as many classes as the schedule holds.
        let scheduled = crate::load::Schedule::new(rate, duration).count();
        self.workload(kind, Load::Open { rate, duration }, scheduled)
    }

    fn workload(&self, kind: Kind, load: Load, fill: u64) -> Workload {
        let classes = if kind == Kind::Lifecycle { self.population } else { fill };
        Workload { kind, load, workers: self.workers, classes, weights: self.weights }
    }

    fn budget(&self) -> Result<Budget, Failure> {
        let Some(path) = &self.budget else { return Ok(Budget::built_in()) };
        let refused =
            |error: &dyn std::fmt::Display| Failure::usage(format!("--budget {}: {error}", path.display()));
        let mut text = String::new();
        let file = File::open(path).map_err(|error| refused(&error))?;
        let read = file.take(BUDGET_BYTES + 1).read_to_string(&mut text).map_err(|error| refused(&error))?;
        if read as u64 > BUDGET_BYTES {
            return Err(refused(&format!("larger than {BUDGET_BYTES} bytes")));
        }
        Budget::parse(&text).map_err(|error| refused(&error))
    }

    fn settings(&self) -> Settings {
        Settings {
            seed: self.seed,
            warmup_operations: self.warmup,
            devices: self.devices,
            probes: self.probes.name().into(),
            messages_per_packet: self.messages_per_packet.get(),
            budget: self
                .budget
                .as_deref()
                .map_or_else(|| "default".into(), |path| path.display().to_string()),
        }
    }
}

/// Measures, judges, saves, reports.
#[expect(clippy::needless_pass_by_value, reason = "the command line is used up here")]
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let plan = arguments.plan()?;
    let budget = arguments.budget()?;
    check_out(arguments.out.as_deref())?;
    // Before anything else has a thread: what a process observes of the host, and its way out of it.
    let before = Before::observe();
    isolation::enter()?;
    let started = Timestamp::now();
    let mut dir = RunDir::create(arguments.out.as_deref(), run_id(started))?;

    let profiler = ReadyProfiler::new();
    let runtime = runtime()?;
    let (measured, attached, profiler, interrupted) =
        runtime.block_on(measure(&plan, arguments.probes, profiler))?;
    let mut run = RunResult {
        schema_version: SCHEMA_VERSION,
        run_id: dir.run_id().into(),
        started_at: started.to_string(),
        qdiscope_version: env!("CARGO_PKG_VERSION").into(),
        verdict: State::Inconclusive,
        interrupted,
        settings: arguments.settings(),
        environment: before.finish(attached),
        workloads: measured.workloads,
        resources: measured.resources,
        budget: Vec::new(),
        not_judged: Vec::new(),
        explanations: Vec::new(),
        artifacts: BTreeMap::new(),
    };
    let judged = judge(&budget, &run);
    (run.budget, run.not_judged, run.verdict) = (judged.judgements, judged.not_judged, judged.verdict);
    run.explanations = explain(&run);
    let saved = save(&mut dir, &mut run, &measured.kept, profiler);
    // What was measured is shown, also where it could not be saved.
    report(&run, saved.is_ok().then(|| dir.path()))?;
    saved.map(|()| exit(&run))
}

fn exit(run: &RunResult) -> Exit {
    match run.verdict {
        _ if run.interrupted => Exit::Interrupted,
        State::Pass => Exit::Pass,
        State::Fail => Exit::BudgetViolated,
        State::Inconclusive => Exit::Inconclusive,
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

type Outcome = (Measured, crate::report::model::Probes, Result<UserProfiler, ProfileError>, bool);

async fn measure(
    plan: &Plan,
    choice: Choice,
    profiler: Result<ReadyProfiler, ProfileError>,
) -> Result<Outcome, Failure> {
    let stop = Stop::default();
    stop_on_signal(&stop, SAVED)?;
    let devices = isolation::create_devices(plan.devices_needed()).await?;
    check_htb(devices[0]).await?;
    let Attached { collector, report } = probes::attach(choice, plan.messages_per_packet)?;
    let profiler = profiler.and_then(ReadyProfiler::start);
    memory::give_back();
    let progress = Progress::new();
    let session =
        Session { devices: &devices, collector: collector.as_ref(), stop: &stop, observer: &progress };
    let measured = session.run(plan).await?;
    Ok((measured, report, profiler, stop.is_set()))
}

/// `result.json` comes last: who finds it finds the rest.
fn save(
    dir: &mut RunDir,
    run: &mut RunResult,
    kept: &Kept,
    profiler: Result<UserProfiler, ProfileError>,
) -> Result<(), Failure> {
    let mut files: Vec<(&str, &str, Vec<u8>)> = vec![("latency", "latency.hdr", kept.hdr.bytes().to_vec())];
    if !kept.slowest.is_empty() {
        files.push(("slowest_requests", "slowest.json", json(&kept.slowest)?));
    }
    let kernel = &kept.kernel_profile;
    match profiler.and_then(|profiler| profiler.finish("qdiscope: its own CPU time")) {
        Ok(UserProfile { protobuf, flamegraph }) => {
            files.push(("user_profile", "cpu.pb.gz", gzip(&protobuf)?));
            files.push(("user_flamegraph", "user.svg", flamegraph));
        }
        Err(error) => run.explanations.push(format!("No profile of user space: {error}.")),
    }
    if !kernel.is_empty() {
        match kernel.folded().and_then(|folded| Ok((kernel.flamegraph(&folded)?, folded))) {
            Ok((flamegraph, folded)) => {
                files.push(("kernel_flamegraph", "kernel.svg", flamegraph));
                files.push(("kernel_stacks", "kernel.folded", folded.into_bytes()));
            }
            Err(error) => run.explanations.push(format!("No kernel flamegraph: {error}.")),
        }
    }
    dir.clear()?;
    for (role, name, bytes) in files {
        dir.write(name, &bytes)?;
        run.artifacts.insert(role.into(), name.into());
    }
    dir.write("result.json", &json(run)?)?;
    dir.finish();
    Ok(())
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

fn report(run: &RunResult, saved: Option<&Path>) -> Result<(), Failure> {
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
    print(&text)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::report::model::Mode;

    #[derive(Parser)]
    struct Wrapper {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn plan(line: &str) -> Result<Plan, Failure> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Wrapper::try_parse_from(words).map_err(|error| Failure::usage(error.to_string()))?.arguments.plan()
    }

    #[test]
    fn without_arguments_capacity_comes_first_and_the_target_load_last() {
        let plan = plan("").unwrap();
        let names: Vec<_> =
            plan.workloads.iter().map(|workload| (workload.kind.name(), workload.load.mode())).collect();
        assert_eq!(
            names,
            [
                ("htb-qdisc", Mode::Closed),
                ("htb-class", Mode::Closed),
                ("lifecycle", Mode::Closed),
                ("lifecycle", Mode::Open)
            ]
        );
        let target = plan.workloads.last().unwrap();
        assert_eq!(target.load, Load::Open { rate: 1_000.0, duration: Duration::from_secs(30) });
        assert_eq!(target.classes, 1_000);
        assert_eq!(plan.workloads[1].classes, 10_000);
    }

    #[test]
    fn nonsense_is_refused_before_anything_runs() {
        for line in [
            "--workers 0",
            "--rate fast",
            "--rate 0",
            "--rate -5",
            "--rate nan",
            "--duration 0",
            "--duration 5y",
            "--devices 0",
            "--weights read=0",
            "--workload htb-class --devices 1 --classes 70000",
            "--workload htb-class --devices 1 --rate 10000 --duration 1m",
        ] {
            let failure = plan(line).expect_err(line);
            assert_eq!(failure.exit, Exit::Usage, "{line}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("1.5"), Ok(Duration::from_millis(1_500)));
    }
}
