//! The command line of `qdiscope bench`, and the plan that it stands for.

use std::io;
use std::num::{NonZeroU16, NonZeroU64};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::budget::Budget;
use crate::cli::history::{Labels, StoreArgument};
use crate::cli::outputs::Outputs;
use crate::cli::tc::read_tree;
use crate::cli::{budget, read_file};
use crate::duration;
use crate::exit::Failure;
use crate::history::Keeper;
use crate::load_profile::{BUILT_IN, BuiltIn, LoadProfile};
use crate::plan::{Load, Plan, Workload};
use crate::probes::Choice;
use crate::report::model::{ProfileRun, Settings};
use crate::workload::{Kind, Mix};

/// More do not fit on the most devices; far fewer already take the kernel hours.
const MOST_CLASSES: u64 = 65_535_000;

/// [`SAMPLED_EVERY`] as clap wants it; a test holds them to each other.
const DEFAULT_HEAP: &str = "524288";

/// A sample in a gibibyte is none.
const MOST_HEAP: u64 = 1 << 30;

const SEED: u64 = 1;

/// Without `--workload`: the capacity of each workload, then the target load.
#[derive(Args)]
#[command(next_line_help = false)]
pub(in crate::cli) struct Arguments {
    /// Run only this workload (may be repeated); by default all, and then the target load
    #[arg(long, value_enum)]
    workload: Vec<Kind>,
    /// Run a load profile instead: stages of virtual users or of a rate; one of those of `qdiscope profiles list`, or a file, which may name
    /// a tree whose subscribers come and go (tree = "shaper.tc")
    #[arg(long, value_name = "NAME|FILE", conflicts_with_all = ["workload", "workers", "rate", "duration", "devices", "classes", "population", "weights", "warmup", "messages_per_packet", "quick"])]
    profile: Option<String>,
    /// Multiply the profile's lengths of time: 0.1 makes its stages a tenth as long. Rates, think times, and how long RTNL is held at a time
    /// stay. The result is marked as shortened
    #[arg(long, value_name = "FACTOR", requires = "profile", value_parser = parse_scale)]
    time_scale: Option<f64>,
    /// Concurrent callers
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    workers: u32,
    /// Offer operations at this rate (open loop, latency from the intended start) instead of as fast as they are
    /// answered (closed loop)
    #[arg(long, value_name = "OPS_PER_S", value_parser = parse_rate)]
    rate: Option<f64>,
    /// How long each workload is measured, in seconds or as 500ms, 30s, 2m [default: 10s; 3s for htb-class, which
    /// repeats whole fills; 30s for the target load]
    #[arg(long, value_parser = duration::parse_or_seconds)]
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
    #[arg(long, value_name = "NAME=N,…", default_value_t = Mix::default())]
    weights: Mix,
    /// Seed of every random choice [default: 1, or the profile's]
    #[arg(long)]
    seed: Option<u64>,
    /// Operations of each workload that are sent before measuring begins; htb-class: in each fill
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(..=MOST_CLASSES))]
    warmup: u64,
    /// Requests that wait at the same time and may travel in one system call. With more than one, only probes that tell the messages
    /// of a packet apart (fexit, kprobe) can watch the kernel's side
    #[arg(long, value_name = "N", default_value_t = NonZeroU16::MIN, value_parser = parse_messages)]
    messages_per_packet: NonZeroU16,
    /// Who watches the kernel's side
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    pub(super) probes: Choice,
    /// Look where threads are, in user mode and in the kernel: what runs, each wait of a request, and what whoever holds RTNL does
    /// meanwhile; flamegraphs of each and of the requests that the budget would not let pass, and the stacks of the slowest. Waits
    /// cost some microseconds more then
    #[arg(long)]
    pub(super) stacks: bool,
    /// Sample what qdiscope's own process allocates while it measures: heap.pb.gz, heap.svg. One allocation in so many bytes on average;
    /// 1 is every one [default if given without BYTES: 524288, as Go's heap profiles]
    #[arg(long, value_name = "BYTES", num_args = 0..=1, require_equals = true, default_missing_value = DEFAULT_HEAP, value_parser = parse_heap)]
    pub(super) heap: Option<NonZeroU64>,
    /// Targets, as a TOML or JSON file; see `qdiscope budget` [default: built in, see README]
    #[arg(long, value_name = "FILE")]
    budget: Option<PathBuf>,
    /// Folder for the saved run; an earlier run's files in it are replaced
    /// [default: target/qdiscope/<UTC time>-<id>]
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Some 15 seconds instead of a minute: to see that everything works
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    labels: Labels,
    #[command(flatten)]
    store: StoreArgument,
    #[command(flatten)]
    pub(super) outputs: Outputs,
}

fn parse_heap(text: &str) -> Result<NonZeroU64, String> {
    text.parse()
        .ok()
        .filter(|every: &NonZeroU64| every.get() <= MOST_HEAP)
        .ok_or_else(|| format!("give a number of bytes from 1 to {MOST_HEAP}"))
}

fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if (1e-3..=1.0).contains(&factor) => Ok(factor),
        _ => Err("give a number from 0.001 to 1, as 0.1".into()),
    }
}

fn parse_messages(text: &str) -> Result<NonZeroU16, String> {
    text.parse().map_err(|_| format!("give a number from 1 to {}", u16::MAX))
}

pub(in crate::cli) fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 && rate <= 1e7 => Ok(rate),
        _ => Err("give operations per second, a number above 0 and at most 10000000, as in 1000".into()),
    }
}

/// What is to be run.
pub(super) enum Order {
    /// Workloads, one after another.
    Workloads(Plan),
    /// A load profile, with what a result says of it.
    Profile(Box<LoadProfile>, ProfileRun),
}

impl Order {
    pub(super) fn devices_needed(&self) -> u32 {
        match self {
            Self::Workloads(plan) => plan.devices_needed(),
            Self::Profile(profile, _) => profile.devices,
        }
    }

    pub(super) fn messages_per_packet(&self) -> NonZeroU16 {
        match self {
            Self::Workloads(plan) => plan.messages_per_packet,
            Self::Profile(..) => NonZeroU16::MIN,
        }
    }
}

impl Arguments {
    /// Who puts the run into its history.
    pub(super) fn keeper(&self) -> Result<Option<Keeper>, Failure> {
        self.store.keeper(&self.labels)
    }

    pub(super) fn order(&self) -> Result<Order, Failure> {
        let Some(name) = &self.profile else { return self.plan().map(Order::Workloads) };
        let (mut profile, file) = load_profile(name)?;
        profile.seed = self.seed.unwrap_or(profile.seed);
        let time_scale = self.time_scale.unwrap_or(1.0);
        let run = ProfileRun {
            name: profile.name.clone(),
            file,
            tree: profile.tree.as_ref().map(|tree| tree.file().display().to_string()),
            time_scale,
            shortened: time_scale < 1.0,
            stages_planned: profile.stages.len(),
            aborted: None,
            disturbances: Vec::new(),
        };
        Ok(Order::Profile(Box::new(profile.scaled(time_scale)), run))
    }

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
            seed: self.seed.unwrap_or(SEED),
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

    pub(super) fn budget(&self) -> Result<Budget, Failure> {
        read_budget(self.budget.as_deref())
    }

    pub(super) fn settings(&self, order: &Order) -> Settings {
        let (seed, warmup, devices) = match order {
            Order::Workloads(plan) => (plan.seed, plan.warmup, plan.devices),
            Order::Profile(profile, _) => (profile.seed, profile.warmup, profile.devices),
        };
        Settings {
            seed,
            warmup_operations: warmup,
            devices,
            probes: self.probes.name().into(),
            messages_per_packet: order.messages_per_packet().get(),
            stacks: self.stacks,
            heap_sampled_every_bytes: self.heap.map(NonZeroU64::get),
            budget: self
                .budget
                .as_deref()
                .map_or_else(|| "default".into(), |path| path.display().to_string()),
        }
    }
}

/// The budget in that file; without one the built-in.
pub(in crate::cli) fn read_budget(path: Option<&Path>) -> Result<Budget, Failure> {
    budget::named(path).map(|(budget, _)| budget)
}

/// The profile that is built in under that name, or that a file holds; and which of the two.
pub(in crate::cli) fn load_profile(name: &str) -> Result<(LoadProfile, String), Failure> {
    if let Some(known) = BuiltIn::find(name) {
        return Ok((known.profile(), "built in".into()));
    }
    let path = Path::new(name);
    let refused = |error: &dyn std::fmt::Display| Failure::usage(format!("--profile {name}: {error}"));
    let text = match read_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let names: Vec<_> = BUILT_IN.iter().map(|profile| profile.name).collect();
            return Err(refused(&format!("no such file, and none of {}", names.join(", "))));
        }
        text => text.map_err(|error| refused(&error))?,
    };
    let mut profile = LoadProfile::parse(&text).map_err(|error| refused(&error))?;
    if let Some(tree) = &profile.tree {
        // What the profile's own folder has, wherever this was started.
        let file = path.parent().unwrap_or(Path::new("")).join(tree.file());
        let tree = read_tree(&file).map_err(|failure| {
            // TOML's errors show the place, on lines of their own.
            let words: Vec<_> = failure.to_string().split_whitespace().map(str::to_owned).collect();
            refused(&format!("tree {}", words.join(" ")))
        })?;
        profile = profile.with_tree(file, tree).map_err(|reason| refused(&reason))?;
    }
    Ok((profile, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::exit::Exit;
    use crate::profile::heap::SAMPLED_EVERY;
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
    fn allocations_are_sampled_where_that_is_asked_for() {
        let heap = |line: &str| Wrapper::try_parse_from(line.split(' ')).map(|parsed| parsed.arguments.heap);
        let every = |bytes| Some(NonZeroU64::new(bytes).unwrap());
        assert_eq!(heap("bench").unwrap(), None);
        assert_eq!(heap("bench --heap").unwrap(), every(SAMPLED_EVERY));
        assert_eq!(heap("bench --heap=1").unwrap(), every(1));
        assert!(heap("bench --heap=0").is_err() && heap("bench --heap=-1").is_err());
    }
}
