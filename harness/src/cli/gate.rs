//! `qdiscope gate`.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;

use super::outputs::Outputs;
use super::{bench, doctor, print, runtime, stop_on_signal, tc};
use crate::duration;
use crate::environment::{self, Before};
use crate::exit::{Exit, Failure};
use crate::gate::canary::{self, CanaryError, Place, Settings, Sides};
use crate::gate::compare::{Side, differences};
use crate::gate::model::{Check, GateResult, Kind};
use crate::gate::seconds::{self, Seconds};
use crate::gate::{post, pre};
use crate::isolation;
use crate::load::Stop;
use crate::report::sheet::Verdict;
use crate::session::check_htb;
use crate::spans::SpanRecorder;
use crate::store::SavedRun;

const EXIT_CODES: &str = "Exit codes:
    0  the deployment may go on (with warnings, too)
    1  internal error
    2  usage: the command line or a file given on it is wrong
    3  this environment cannot run it
    4  critical: it must not go on
    6  inconclusive: it could not be told
  130  interrupted";

const CANARY_EXIT_CODES: &str = "Exit codes:
    0  the new tree may be deployed (with warnings, too)
    1  internal error
    2  usage: the command line or a file given on it is wrong
    3  this environment cannot run it, or does not even take the old tree
    4  critical, and the new tree stands on the canary's device
    6  inconclusive: it could not be told
    8  critical, and the old tree stands there again: the kernel was asked
    9  critical, and the old tree could not be restored; what stands is said
  130  interrupted";

/// `qdiscope gate …`
#[derive(Subcommand)]
pub(super) enum Command {
    /// Before a deployment: is this host fit to be measured, and does the kernel have what it is to have?
    ///
    /// Looks at what a run needs, the load, the hypervisor's steal, other HTB classes, how long requests wait for RTNL, and with --device and
    /// --tree whether the device has what the file says. Nothing is changed.
    #[command(after_help = EXIT_CODES)]
    Pre(Pre),
    /// After a deployment: a fresh run of a load profile, held against a budget and against a saved run
    ///
    /// Against the saved run a change counts that is beyond its threshold (latency 15 % warning, 25 % critical; throughput 10 and 20 %;
    /// errors 5 and 10 %; memory and CPU 10 and 20 %) and whose seconds are told apart from those before by the rank-sum test. Beyond, and not told apart, is
    /// inconclusive; so are runs of different machines, probes, settings or loads.
    #[command(after_help = EXIT_CODES)]
    Post(Post),
    /// A new tree on one device against the old one on another, with packets flowing through the classes of both
    ///
    /// In a network namespace of its own. The old tree is built on both devices, the new one rolled out on the canary's; then both are built,
    /// changed and read in pairs of blocks, in random order. Judged are refusals, packets lost and reordered, the number of classes, the
    /// budget's latencies and error rate, and new against old: 15 % more is a warning, 25 % critical, if the interval over the pairs
    /// excludes no change.
    #[command(after_help = CANARY_EXIT_CODES)]
    Canary(Canary),
}

/// What every gate takes.
#[derive(Args)]
struct Common {
    /// Print the result as JSON (`qdiscope schema gate`) instead of lines
    #[arg(long, conflicts_with = "github")]
    json: bool,
    #[command(flatten)]
    outputs: Outputs,
}

#[derive(Args)]
pub(super) struct Pre {
    /// A device of this network namespace that is to have what --tree says; it is only read
    #[arg(long, value_name = "NAME", requires = "tree")]
    device: Option<String>,
    /// What it is to have: a file as `qdiscope tc apply` reads it, of that device only
    #[arg(long, value_name = "FILE", requires = "device")]
    tree: Option<PathBuf>,
    /// How long RTNL and the hypervisor are watched
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::parse_or_seconds)]
    watch: Duration,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub(super) struct Post {
    /// Targets, as a TOML or JSON file [default: built in, see README]
    #[arg(long, value_name = "FILE")]
    budget: Option<PathBuf>,
    /// A saved run of the same load on the same machine, to compare with: its folder, or its result.json
    #[arg(long, value_name = "RUN")]
    baseline: Option<PathBuf>,
    /// The load profile that is run, as of `bench --profile`
    #[arg(long, value_name = "NAME|FILE", default_value = "smoke")]
    profile: String,
    /// Multiply all times of the profile, as of `bench --time-scale`
    #[arg(long, value_name = "FACTOR")]
    time_scale: Option<f64>,
    /// Folder for the fresh run [default: target/qdiscope/<UTC time>-<id>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub(super) struct Canary {
    /// The tree that is deployed: a file as `qdiscope tc apply` reads it, of one device
    #[arg(long, value_name = "FILE")]
    old: PathBuf,
    /// The tree on trial
    #[arg(long, value_name = "FILE")]
    new: PathBuf,
    /// Targets for single requests (latencies, error rate), as a TOML or JSON file [default: built in, see README]
    #[arg(long, value_name = "FILE")]
    budget: Option<PathBuf>,
    /// Where the verdict is critical, bring the old tree back on the canary's device while packets flow, and ask the kernel whether it
    /// stands. What the kernel refuses is taken back without it, too
    #[arg(long)]
    rollback: bool,
    /// Pairs of blocks; fewer than six give no interval, and so no verdict on small changes
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    pairs: u32,
    /// Classes that packets go through, at most, spread evenly over the tree's leaves
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    streams: u32,
    /// Packets a second through each of them
    #[arg(long, value_name = "PACKETS_PER_S", default_value_t = 20.0, value_parser = parse_rate)]
    packets: f64,
    /// Changes and reads of single classes in each block
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    requests: u32,
    /// Seed of the blocks' order and of the choice of classes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    common: Common,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e5 => Ok(rate),
        _ => Err("give packets a second, a number above 0 and at most 100000, as in 20".into()),
    }
}

pub(super) fn run(command: &Command, spans: &SpanRecorder) -> Result<Exit, Failure> {
    let common = match command {
        Command::Pre(Pre { common, .. })
        | Command::Post(Post { common, .. })
        | Command::Canary(Canary { common, .. }) => common,
    };
    common.outputs.without_figures()?;
    common.outputs.check()?;
    let (gate, exit) = match command {
        Command::Pre(arguments) => before(arguments)?,
        Command::Post(arguments) => after(arguments, spans)?,
        Command::Canary(arguments) => on_trial(arguments)?,
    };
    print(&if common.json {
        let json = serde_json::to_string_pretty(&gate)
            .map_err(|error| Failure::internal(format!("encode the result: {error}")))?;
        json + "\n"
    } else {
        gate.lines()
    })?;
    common.outputs.write(&gate.sheet())?;
    Ok(exit)
}

fn exit(gate: &GateResult) -> Exit {
    match gate.verdict {
        _ if gate.interrupted => Exit::Interrupted,
        Verdict::Pass | Verdict::Warning => Exit::Pass,
        Verdict::Critical => Exit::BudgetViolated,
        Verdict::Inconclusive => Exit::Inconclusive,
    }
}

fn begin(kind: Kind) -> GateResult {
    let environment = format!(
        "Linux {}, {}, {} cores",
        environment::kernel_release(),
        environment::cpu_model().as_deref().unwrap_or("an unnamed CPU"),
        cores()
    );
    GateResult::begin(kind, Timestamp::now().to_string(), environment)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn before(arguments: &Pre) -> Result<(GateResult, Exit), Failure> {
    let mut gate = begin(Kind::Pre);
    // First what only the host's namespace shows.
    let tree = arguments.tree.as_ref().zip(arguments.device.as_ref());
    let tree = tree.map(|(file, device)| {
        let tree = tc::read_tree(file)?;
        if tree.devices.keys().any(|name| name != device) {
            let names: Vec<_> = tree.devices.keys().map(String::as_str).collect();
            return Err(Failure::usage(format!(
                "{}: it describes {}, and --device says {device}",
                file.display(),
                names.join(", ")
            )));
        }
        tc::plan(&tree)
    });
    let plan = tree.transpose()?;
    gate.checks.push(pre::load(environment::load_average(), cores()));
    let foreign = Before::observe();
    let steal = std::thread::spawn({
        let time = arguments.watch;
        move || environment::steal_during(time)
    });
    let rtnl = pre::Rtnl::watch(arguments.watch);
    // A thread that panicked has told nothing.
    gate.checks.push(pre::steal(steal.join().ok().flatten()));
    gate.checks.push(pre::foreign_classes(foreign.foreign_htb_classes()));
    gate.checks.push(pre::rtnl(rtnl.as_ref()));
    gate.checks.extend(plan.as_ref().map(pre::tree));
    let required = doctor::required()?;
    let able = required.iter().all(|(_, there, _)| *there);
    gate.checks.extend(required.into_iter().map(|(name, there, detail)| {
        let verdict = if there { Verdict::Pass } else { Verdict::Inconclusive };
        Check::new("needed", name, verdict, detail)
    }));
    gate.judge();
    let exit = if able || gate.verdict == Verdict::Critical { exit(&gate) } else { Exit::Environment };
    Ok((gate, exit))
}

/// The fresh run's command line.
#[derive(Parser)]
struct Fresh {
    #[command(flatten)]
    bench: bench::Arguments,
}

impl Post {
    /// What is run afresh: the one line that says which load it is.
    fn fresh(&self) -> Result<bench::Arguments, Failure> {
        let mut words: Vec<std::ffi::OsString> =
            ["bench", "--profile", &self.profile].map(Into::into).to_vec();
        if let Some(budget) = &self.budget {
            words.extend(["--budget".into(), budget.into()]);
        }
        if let Some(factor) = self.time_scale {
            words.extend(["--time-scale".into(), factor.to_string().into()]);
        }
        if let Some(out) = &self.out {
            words.extend(["--out".into(), out.into()]);
        }
        let parsed = Fresh::try_parse_from(words).map_err(|error| Failure::usage(error.to_string()))?;
        Ok(parsed.bench)
    }
}

/// A run's seconds. Without them its latencies are not told apart from others', which is said.
fn seconds_of(folder: &std::path::Path, notes: &mut Vec<String>) -> Seconds {
    let file = folder.join("latency.hdr");
    let read = fs::read(&file).map_err(|error| error.to_string());
    read.and_then(|log| seconds::read(&log).map_err(|error| error.to_string())).unwrap_or_else(|error| {
        notes.push(format!("{}: {error}: latencies are not compared second by second", file.display()));
        Seconds::default()
    })
}

fn after(arguments: &Post, spans: &SpanRecorder) -> Result<(GateResult, Exit), Failure> {
    let mut notes = Vec::new();
    // Before anything is measured: a wrong name is told at once.
    let baseline = arguments
        .baseline
        .as_ref()
        .map(|path| {
            SavedRun::read(path).map_err(|error| {
                Failure::usage(format!("--baseline {error}; name the folder of a saved run"))
            })
        })
        .transpose()?;
    let bench::Fresh { run, saved, .. } = bench::fresh(&arguments.fresh()?, spans)?;
    let folder = saved.or_else(|failure| {
        // What was measured is shown, also where it could not be saved.
        let seconds = Seconds::default();
        print(&post::judge(Side { run: &run, seconds: &seconds }, String::new(), None).lines())?;
        Err(failure)
    })?;
    let seconds = seconds_of(&folder, &mut notes);
    let fresh = Side { run: &run, seconds: &seconds };
    let before_seconds = baseline.as_ref().map(|baseline| {
        let alike = differences(&baseline.result, &run).is_empty();
        if alike { seconds_of(&baseline.path, &mut notes) } else { Seconds::default() }
    });
    let before = baseline.as_ref().zip(before_seconds.as_ref()).map(|(baseline, seconds)| {
        (Side { run: &baseline.result, seconds }, baseline.path.display().to_string())
    });
    let mut gate = post::judge(fresh, folder.display().to_string(), before);
    gate.notes.extend(notes);
    let exit = exit(&gate);
    Ok((gate, exit))
}

fn on_trial(arguments: &Canary) -> Result<(GateResult, Exit), Failure> {
    let [old, new] = [&arguments.old, &arguments.new].map(|file| tc::read_tree(file));
    let (old, new) = (old?, new?);
    let budget = bench::read_budget(arguments.budget.as_deref())?;
    let settings = Settings {
        pairs: arguments.pairs,
        streams: arguments.streams as usize,
        rate: arguments.packets,
        requests: arguments.requests,
        seed: arguments.seed,
        rollback: arguments.rollback,
    };
    let mut gate = begin(Kind::Canary);
    isolation::enter()?;
    let (stop, runtime) = (Stop::default(), runtime()?);
    runtime.block_on(async {
        stop_on_signal(&stop, "what was measured will be shown")?;
        // Every second one is up.
        let devices = isolation::create_devices(3).await?;
        check_htb(devices[0]).await
    })?;
    let place = |name: &str| {
        Place::by_name(name, &format!("{name}p")).map_err(|error| Failure::internal(error.to_string()))
    };
    let (control, canary) = (place("qd0")?, place("qd2")?);
    let put = |tree, file: &PathBuf, place: &Place| {
        canary::put_on(tree, &place.name)
            .map_err(|reason| Failure::usage(format!("{}: {reason}", file.display())))
    };
    let old = put(&old, &arguments.old, &control)?;
    let new = put(&new, &arguments.new, &canary)?;
    let sides = Sides { control: &control, canary: &canary, old: &old, new: &new };
    let say = |line: &str| {
        let _ = writeln!(std::io::stderr(), "{line}");
    };
    canary::run(sides, &budget, settings, &stop, &mut gate, &say).map_err(|error| {
        let message = error.to_string();
        let line = message.lines().next().unwrap_or_default();
        match error {
            CanaryError::New(_) => Failure::usage(format!("{}: {line}", arguments.new.display())),
            CanaryError::Old(_) => Failure::environment(format!("{}: {line}", arguments.old.display())),
            _ => Failure::environment(line.to_owned()),
        }
    })?;
    let restoration = gate.canary.as_ref().and_then(|report| report.restoration.as_ref());
    let exit = match (gate.verdict, restoration) {
        (Verdict::Critical, Some(restoration)) if !gate.interrupted => {
            if restoration.verified {
                Exit::Refused
            } else {
                Exit::HalfApplied
            }
        }
        _ => exit(&gate),
    };
    Ok((gate, exit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser)]
    struct Wrapper {
        #[command(subcommand)]
        command: Command,
    }

    fn parsed(line: &str) -> Result<Command, clap::Error> {
        Wrapper::try_parse_from(std::iter::once("gate").chain(line.split(' '))).map(|parsed| parsed.command)
    }

    #[test]
    fn the_fresh_run_is_a_command_line_of_bench() {
        for line in ["post", "post --budget b.toml --baseline run --time-scale 0.5 --profile spike --out o"] {
            let Ok(Command::Post(post)) = parsed(line) else { panic!("{line}") };
            post.fresh().unwrap();
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "pre --device v0",
            "pre --tree x.tc",
            "canary --old a.tc",
            "canary --old a.tc --new b.tc --pairs 0",
            "canary --old a.tc --new b.tc --packets nan",
            "post --duration 3",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
