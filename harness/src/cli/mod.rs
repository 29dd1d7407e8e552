//! The command line: one file a subcommand.

mod baseline;
mod bench;
mod bisect;
mod budget;
mod capacity;
mod compare;
mod disturb;
mod doctor;
#[cfg(feature = "fault-injection")]
mod fault;
mod followed;
mod gate;
mod generate;
mod history;
mod incidents;
mod investigate;
mod outputs;
mod overhead;
mod profile;
mod profiles;
mod progress;
mod regressions;
mod report;
mod scaling;
mod schema;
mod stats;
mod tc;
mod top;
mod trace;
mod trend;
mod turns;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::panic::catch_unwind;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::exit::{Exit, Failure};
use crate::load::{Stop, be_prompt};
use crate::spans::SpanRecorder;

const EXIT_CODES: &str = "Exit codes:
    0  every target holds, or warns at most
    1  internal error
    2  usage: the command line or a file given on it is wrong
    3  this environment cannot run it
    4  a target is violated: critical
    5  of `qdiscope compare --fail-on-regression` only: a figure became worse
    6  inconclusive: something that a target needs was not measured
  7-9  of `qdiscope tc` and `qdiscope gate` only: see their help
  130  interrupted; what was measured until then is saved";

/// An eBPF-backed traffic-control harness and profiler.
#[derive(Parser)]
#[command(name = "qdiscope", version, about, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Name the runs that are as it should be, for what comes later to be held against
    #[command(subcommand, after_help = baseline::AFTER_HELP)]
    Baseline(baseline::Command),
    /// Drive HTB under concurrent load in a network namespace of its own, and hold the result against a budget
    #[command(after_help = EXIT_CODES)]
    Bench(bench::Arguments),
    /// Look for the commit that made something slower, by git bisect and runs in turns, and stop when that is sure
    ///
    /// Good and bad are measured in turns first; then each commit that git bisect proposes, against good: bad is whose change lies above half of the
    /// whole change with all of its interval, good whose lies below, and others are measured more often (--runs up to --max-runs), and
    /// skipped if that does not help. What was found is measured again, against its parent. All intervals hold together with 95 % confidence.
    ///
    /// The repository is only read: everything happens in two private clones among temporary files (TMPDIR), which share its objects. Changes that
    /// are not committed play no part. What a build leaves in ignored files stays in its clone from commit to commit, everything else is
    /// reset; submodules are not checked out.
    #[command(after_help = bisect::AFTER_HELP)]
    Bisect(bisect::Arguments),
    /// Write a budget, say what it asks for, or hold a saved run against it; without root
    #[command(subcommand)]
    Budget(budget::Command),
    /// Look for the highest rate that holds the budget
    #[command(after_help = capacity::AFTER_HELP)]
    Capacity(capacity::Arguments),
    /// Say what became better or worse between two sides of several runs, with interval, test and effect size; or run two commands in turns and compare them
    ///
    /// A row a metric and workload: both medians, the change with its confidence interval, the probability of chance, the effect size, and the
    /// verdict: regression, improvement, no-change or inconclusive. A row alarms where all of these agree, with all rows counted (Holm), and the
    /// change is beyond its threshold: latency 15 % (critical from 25 %), throughput 10 (20), errors 5 (10), memory and CPU 10 (20).
    ///
    /// Runs of different machines, probes, settings or loads are not compared, unless by --force, and then have no verdict. Five runs a side
    /// are the least for the metrics of one workload, and ten are better. Measured in turns (--interleave) they prove more than one side
    /// after the other.
    #[command(after_help = compare::AFTER_HELP)]
    Compare(compare::Arguments),
    /// End a command with its descendants, for `compare` and `bisect`
    #[command(hide = true)]
    GroupKeeper,
    /// Run a command while something stands in its way: another process that holds RTNL
    #[command(subcommand)]
    Disturb(disturb::Command),
    /// Hold RTNL, for `disturb` and profiles
    #[command(hide = true)]
    RtnlHolder(disturb::HolderArguments),
    /// Make a cgroup and remove it, for profiles
    #[command(hide = true)]
    CgroupKeeper(disturb::KeeperArguments),
    /// Say what this machine can measure, and what to do about the rest
    #[command(after_help = "Exit codes:\n    0  `bench` can run here\n    3  it cannot, see the arrows")]
    Doctor(doctor::Arguments),
    /// Let a deployment go on or not: checks before it, a fresh run after it, a new tree on trial
    #[command(subcommand)]
    Gate(gate::Command),
    /// Write what runs qdiscope elsewhere
    #[command(subcommand)]
    Generate(generate::Command),
    /// What was measured before: list, show, label, export and import runs
    #[command(subcommand, after_help = history::AFTER_HELP)]
    History(history::Command),
    /// Say what became worse in the history, how soon that was known, and how soon mended
    #[command(after_help = incidents::AFTER_HELP)]
    Incidents(incidents::Arguments),
    /// Say why a saved run was slow: a folder with a page that leads from the verdict to the phase to the stack
    #[command(
        after_help = "Exit codes:\n    0  written\n    1  internal error\n    2  usage: no such run\n    3  the folder cannot be written"
    )]
    Investigate(investigate::Arguments),
    /// Measure what watching costs: the same load with and without the probes and other tools, interleaved
    #[command(after_help = "Exit codes:\n    0  measured\n    1  internal error\n    2  usage\n    \
                            3  this environment cannot run it\n    4  below --min-ratio, or --check-goals and a goal is missed\n    \
                            6  --check-goals and a goal is undecided\n  130  interrupted")]
    Overhead(overhead::Arguments),
    /// Run the loads of `overhead`
    #[command(hide = true)]
    OverheadLoad(overhead::LoadArguments),
    /// Say what any program's requests for traffic control cost, where the time went, and behind whom they waited
    ///
    /// Of a command, of a process with all that it starts, or of everybody: latencies and phases by message type, what was refused and why,
    /// who held RTNL and what it did; and, with --out, flamegraphs of user mode and kernel: what ran, where requests left the CPU, where
    /// they waited for RTNL, and where the slow ones spent their time.
    ///
    /// The programs need not cooperate; nothing of them is changed, and they outlive the profile. Stacks in user mode are walked by frame
    /// pointers: they end where code without them begins, as that of most distributions' C library. Process ids are those of the
    /// initial PID namespace. With tracepoints one request is one system call.
    #[command(after_help = profile::AFTER_HELP)]
    Profile(profile::Arguments),
    /// List, show and write the load profiles of `bench --profile`
    #[command(subcommand, after_help = profiles::AFTER_HELP)]
    Profiles(profiles::Command),
    /// Say what became worse in the history, and with which commit
    #[command(after_help = regressions::AFTER_HELP)]
    Regressions(regressions::Arguments),
    /// Show a saved run again, and write it for CI: JUnit, Markdown, GitHub annotations, github-action-benchmark
    #[command(
        after_help = "Exit codes:\n    0  shown, whatever the run's verdict\n    1  internal error\n    2  usage: no such run\n    3  a file cannot be written"
    )]
    Report(report::Arguments),
    /// Say how latency grows with the number of classes or of callers, by which law, and which kernel function it is
    #[command(
        after_help = "Exit codes:\n    0  measured, and each law found\n    1  internal error\n    2  usage\n    \
                            3  this environment cannot run it\n    6  measured, and inconclusive which law holds\n  \
                            130  interrupted; what was measured until then is shown, and saved with --out"
    )]
    Scaling(scaling::Arguments),
    /// Answer other programs' questions with the statistics of `qdiscope`: where a series changes, whether one side is slower
    #[command(subcommand, after_help = stats::AFTER_HELP)]
    Stats(stats::Command),
    /// Bring a tree of qdiscs, classes and filters about, or say how the kernel differs from it
    #[command(subcommand)]
    Tc(tc::Command),
    /// Show who keeps traffic control busy, and behind whom others wait for RTNL, live
    ///
    /// A row for each process, message type or command: requests a second, errors, latencies, waits for RTNL and who held it; below, the
    /// latencies and the holders of the selected row or of all. What is lost is counted, and shown.
    ///
    /// The screen is ours alone: what COMMAND would read from the terminal or write to it is dropped, and what it writes to a file or a
    /// pipe is not. With --headless its standard output goes to standard error. Quitting leaves COMMAND running.
    #[command(after_help = top::AFTER_HELP)]
    Top(top::Arguments),
    /// Show what any program asks of traffic control, a line for each request, live
    ///
    /// Of a command, of a process with all that it starts, or of everybody: when, who, what, how long it took, where it waited and
    /// behind whom, and what the kernel said.
    ///
    /// The programs need not cooperate and may work in any network namespace; nothing of them is changed, and they outlive the trace.
    /// What comes faster than it can be shown is lost, and counted at the end: nobody is slowed. Process ids are those of the initial
    /// PID namespace. Of a list (a dump) only its first part is seen; the others are made while it is read. With tracepoints one
    /// line stands for one system call, also where that sends several messages; a result that nobody asked for is not known (`?`).
    #[command(after_help = trace::AFTER_HELP)]
    Trace(trace::Arguments),
    /// Show the history of a figure: where it stepped, with the commits, and whether it drifts
    #[command(after_help = trend::AFTER_HELP)]
    Trend(trend::Arguments),
    /// Print the JSON Schema of result.json, or of another document
    Schema(schema::Arguments),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let said = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_filter(EnvFilter::try_from_env("RUST_LOG").unwrap_or_else(|_| EnvFilter::new("warn")));
    // Only a run has somewhere to save them.
    let saves = matches!(cli.command, Command::Bench(_) | Command::Gate(gate::Command::Post(_)));
    let spans = saves.then(SpanRecorder::default);
    let steps = spans.clone().map(|spans| {
        spans.with_filter(filter_fn(SpanRecorder::wants).with_max_level_hint(LevelFilter::INFO))
    });
    tracing_subscriber::registry().with(said).with(steps).init();
    #[cfg(feature = "fault-injection")]
    fault::warn();
    let outcome = catch_unwind(|| match cli.command {
        Command::Baseline(command) => baseline::run(&command),
        Command::Bench(arguments) => bench::run(arguments, &spans.unwrap_or_default()),
        Command::Bisect(arguments) => bisect::run(&arguments),
        Command::Budget(command) => budget::run(&command),
        Command::Capacity(arguments) => capacity::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::GroupKeeper => Ok(turns::keep()),
        Command::Disturb(command) => disturb::run(command),
        Command::RtnlHolder(arguments) => disturb::hold(&arguments),
        Command::CgroupKeeper(arguments) => Ok(disturb::keep(&arguments)),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Gate(command) => gate::run(&command, &spans.unwrap_or_default()),
        Command::Generate(command) => generate::run(&command),
        Command::History(command) => history::run(&command),
        Command::Incidents(arguments) => incidents::run(&arguments),
        Command::Investigate(arguments) => investigate::run(&arguments),
        Command::Overhead(arguments) => overhead::run(&arguments),
        Command::OverheadLoad(arguments) => overhead::serve(&arguments),
        Command::Profile(arguments) => profile::run(&arguments),
        Command::Profiles(command) => profiles::run(&command),
        Command::Regressions(arguments) => regressions::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Scaling(arguments) => scaling::run(&arguments),
        Command::Stats(command) => stats::run(&command),
        Command::Tc(command) => tc::run(&command),
        Command::Top(arguments) => top::run(&arguments),
        Command::Trace(arguments) => trace::run(&arguments),
        Command::Trend(arguments) => trend::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
    })
    // The panic's own message is on stderr already.
    .unwrap_or_else(|_| {
        Err(Failure::internal("this is a defect of qdiscope; please report the lines above"))
    });
    let exit = outcome.unwrap_or_else(|failure| {
        let _ = writeln!(io::stderr(), "qdiscope: {failure}");
        failure.exit
    });
    exit.into()
}

/// Nobody writes a longer budget or load profile.
const FILE_BYTES: u64 = 1 << 20;

/// The text of a file that a person wrote.
fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(FILE_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > FILE_BYTES {
        return Err(io::Error::other(format!("larger than {FILE_BYTES} bytes")));
    }
    Ok(text)
}

/// Prints to stdout; a reader that has gone (`| head`) is no error.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::environment(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// What a run does when it is stopped.
const SAVED: &str = "what was measured will be saved";

/// tokio with as many threads as help: requests are serial in the kernel.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("qdiscope-worker")
        .on_thread_start(be_prompt)
        .enable_all()
        .build()
        .map_err(|error| Failure::environment(format!("start threads: {error}")))
}

/// The first SIGINT, SIGTERM or SIGHUP asks to stop in good order, which `promise` describes; the second ends the process at once.
fn stop_on_signal(stop: &Stop, promise: &'static str) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: io::Error| Failure::internal(format!("listen for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;
    let stop = stop.clone();
    tokio::spawn(async move {
        // Not whether it is stopping: a run may do that by itself, and be saved.
        let mut asked = false;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            if std::mem::replace(&mut asked, true) {
                std::process::exit(i32::from(Exit::Interrupted as u8));
            }
            let _ = writeln!(io::stderr(), "qdiscope: stopping; {promise}");
            stop.set();
        }
    });
    Ok(())
}
