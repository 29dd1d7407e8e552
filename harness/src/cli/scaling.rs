//! `qdiscope scaling`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::{print, runtime, stop_on_signal};
use crate::environment::{Before, foreign_htb_classes};
use crate::exit::{Exit, Failure};
use crate::isolation;
use crate::load::Stop;
use crate::probes::Choice;
use crate::report::model::Environment;
use crate::scaling::model::{Axis, FORMAT, Scaling, Settings};
use crate::scaling::plan::{CLASSES_OF_A_DEVICE, Classes, Operation, Workers, parse_sizes, stages};
use crate::scaling::{self, Folder, Measurement, Plan, Watcher};
use crate::session::check_htb;

/// More callers than that only wait for each other.
const MOST_WORKERS: u64 = 256;

/// More say nothing new, and the time that resampling takes grows with their square.
const MOST_SIZES: usize = 40;

/// As many devices as `bench` makes.
const MOST_SHARDS: i64 = 1_000;

/// Workloads that can grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// HTB classes below the root qdisc of each device
    HtbClass,
}

/// Builds HTB classes in a network namespace of its own, measures adds, changes and deletes at several numbers of them, and says by which
/// law latency grows and which kernel function it is. With --workers: the same for concurrent callers.
#[derive(Args)]
pub(super) struct Arguments {
    /// What grows
    #[arg(long, value_enum, default_value_t = Workload::HtbClass)]
    workload: Workload,
    /// Classes at the largest stage [default: 20000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "workers")]
    to: Option<u64>,
    /// Sizes up to --to, closer where they are small; a law needs five at least
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=40), conflicts_with = "workers")]
    stages: u32,
    /// Spread the classes over N devices; with a list, as 1,20, each is measured and they are compared
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u32).range(1..=MOST_SHARDS))]
    shards: Vec<u32>,
    /// Measure against the number of concurrent callers instead: a range as 1..16, or a list as 1,2,4,8
    #[arg(long, value_name = "SIZES", value_parser = parse_workers)]
    workers: Option<Sizes>,
    /// Classes that stand while callers are measured [default: 1000]
    #[arg(long, value_name = "N", requires = "workers", value_parser = clap::value_parser!(u64).range(0..))]
    population: Option<u64>,
    /// How long each number of callers is measured in a round; ms
    #[arg(long, value_name = "MS", default_value_t = 500, requires = "workers", value_parser = clap::value_parser!(u64).range(10..=60_000))]
    window: u64,
    /// What is measured: a list [default: add,change,delete; with --workers add,delete, which take turns]
    #[arg(long, value_enum, value_name = "OPERATION", value_delimiter = ',')]
    operation: Vec<Operation>,
    /// How often each operation is measured at each stage, in each round
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with = "workers")]
    samples: u32,
    /// How often everything is built and measured: what differs between rounds is what confidence is about
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Measure no longer than so many seconds: what is left out then is said, and a round that would not be over is not begun
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    budget_seconds: u64,
    /// Seed of every random choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Who watches the kernel's side
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    probes: Choice,
    /// Folder for scaling.json and scaling.svg
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print scaling.json instead of the tables
    #[arg(long)]
    json: bool,
}

/// Numbers of workers. A list of its own type, so that clap does not take it for many values.
#[derive(Debug, Clone)]
struct Sizes(Vec<u64>);

fn parse_workers(text: &str) -> Result<Sizes, String> {
    let sizes = parse_sizes(text, MOST_WORKERS)?;
    if sizes.len() > MOST_SIZES {
        return Err(format!("{} sizes are more than {MOST_SIZES}; give a list as 1,2,4,8", sizes.len()));
    }
    Ok(Sizes(sizes))
}

impl Arguments {
    fn plan(&self) -> Result<Plan, Failure> {
        let limit = Duration::from_secs(self.budget_seconds);
        let mut shards = self.shards.clone();
        shards.sort_unstable();
        shards.dedup();
        let Some(Sizes(sizes)) = &self.workers else {
            let to = self.to.unwrap_or(20_000);
            check_room(to, &shards, "--to")?;
            return Ok(Plan::Classes(Classes {
                sizes: stages(to, self.stages),
                shards,
                operations: self.operations(&[Operation::Add, Operation::Change, Operation::Delete]),
                samples: self.samples,
                rounds: self.rounds,
                limit,
                seed: self.seed,
            }));
        };
        let [shards] = shards.as_slice() else {
            return Err(Failure::usage("--shards: with --workers give one number of devices"));
        };
        let operations = self.operations(&[Operation::Add, Operation::Delete]);
        if operations.contains(&Operation::Change) && operations.len() > 1 {
            return Err(Failure::usage(
                "--operation: with --workers it is either change, or add and delete, which take turns",
            ));
        }
        let population = self.population.unwrap_or(1_000);
        if operations.contains(&Operation::Change) && population == 0 {
            return Err(Failure::usage("--population 0 leaves no class to change; give at least 1"));
        }
        let most = sizes.iter().copied().max().unwrap_or_default();
        check_room(population.saturating_add(most), &[*shards], "--population")?;
        Ok(Plan::Workers(Workers {
            sizes: sizes.clone(),
            shards: *shards,
            operations,
            population,
            window: Duration::from_millis(self.window),
            rounds: self.rounds,
            limit,
            seed: self.seed,
        }))
    }

    fn operations(&self, default: &[Operation]) -> Vec<Operation> {
        let asked = if self.operation.is_empty() { default } else { &self.operation };
        asked.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn settings(&self, plan: &Plan) -> Settings {
        let workload =
            self.workload.to_possible_value().map_or_else(String::new, |value| value.get_name().into());
        let settings = Settings {
            workload,
            axis: Axis::Classes,
            sizes: Vec::new(),
            rounds: self.rounds,
            samples: None,
            window_ms: None,
            population: None,
            seed: self.seed,
        };
        match plan {
            Plan::Classes(plan) => {
                Settings { sizes: plan.sizes.clone(), samples: Some(plan.samples), ..settings }
            }
            Plan::Workers(plan) => Settings {
                axis: Axis::Workers,
                sizes: plan.sizes.clone(),
                window_ms: Some(self.window),
                population: Some(plan.population),
                ..settings
            },
        }
    }
}

/// A device's minors are 16 bits.
fn check_room(classes: u64, shards: &[u32], option: &str) -> Result<(), Failure> {
    let fewest = shards.iter().copied().min().unwrap_or(1);
    if classes.div_ceil(u64::from(fewest)) <= CLASSES_OF_A_DEVICE {
        return Ok(());
    }
    let enough = classes.div_ceil(CLASSES_OF_A_DEVICE);
    let advice = if enough <= MOST_SHARDS.unsigned_abs() {
        format!("give at least --shards {enough}, or fewer classes")
    } else {
        "give fewer classes".into()
    };
    Err(Failure::usage(format!(
        "{option}: {classes} classes on {fewest} device{} are too many: a qdisc has at most {CLASSES_OF_A_DEVICE}; {advice}",
        if fewest == 1 { "" } else { "s" }
    )))
}

/// Lines on stderr.
struct Lines;

impl Watcher for Lines {
    fn says(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let plan = arguments.plan()?;
    arguments.out.as_deref().map_or(Ok(()), Folder::check)?;
    let before = Before::observe();
    isolation::enter()?;
    let folder = arguments.out.as_deref().map(Folder::prepare).transpose()?;
    let started_at = Timestamp::now().to_string();
    let runtime = runtime()?;
    let stop = Stop::default();
    runtime.block_on(async { stop_on_signal(&stop, "what was measured will be shown") })?;
    let devices = runtime.block_on(async {
        let devices = isolation::create_devices(plan.devices_needed()).await?;
        check_htb(devices[0]).await.map(|()| devices)
    })?;
    let (measured, probes) = scaling::measure(&plan, &devices, arguments.probes, &stop, &Lines)?;
    let environment = before.finish(probes);
    // The run's own are gone by now.
    let foreign_after = foreign_htb_classes();
    let scaling = result(arguments, &plan, started_at, environment, foreign_after, measured);
    let svg = scaling::svg(&scaling)?;
    // What was measured is shown, also where it could not be saved.
    let text = if arguments.json {
        serde_json::to_string_pretty(&scaling)
            .map_err(|error| Failure::internal(format!("encode the measurement: {error}")))?
            + "\n"
    } else {
        scaling::render(&scaling, &scaling::terminal(&scaling))
    };
    let saved = folder.map(|folder| folder.save(&scaling, &svg)).transpose();
    print(&text)?;
    for file in saved?.iter().flatten() {
        // Beside the JSON document it would be no JSON.
        if !arguments.json {
            print(&format!("saved: {}\n", file.display()))?;
        }
    }
    Ok(exit(&scaling, &stop))
}

fn result(
    arguments: &Arguments,
    plan: &Plan,
    started_at: String,
    environment: Environment,
    foreign_after: Option<u64>,
    measured: Measurement,
) -> Scaling {
    let mut remarks = measured.remarks;
    remarks.extend(doubts(&environment, foreign_after));
    let errors: u64 =
        measured.series.iter().flat_map(|series| &series.stages).map(|stage| stage.errors).sum();
    if errors > 0 {
        remarks.push(format!("{errors} operations were refused by the kernel, and are not in the figures."));
    }
    let kernel =
        || measured.series.iter().flat_map(|series| &series.stages).filter_map(|stage| stage.kernel_us);
    let (seen, lost) = kernel().fold((0, 0), |(seen, lost), kernel| (seen + kernel.seen, lost + kernel.lost));
    if lost > 0 {
        remarks.push(format!(
            "The probes lost {lost} of {} requests: the kernel's figures are those of the others.",
            seen + lost
        ));
    }
    let mut scaling = Scaling {
        format: FORMAT,
        started_at,
        qdiscope_version: env!("CARGO_PKG_VERSION").into(),
        complete: !measured.incomplete,
        settings: arguments.settings(plan),
        environment,
        remarks,
        series: measured.series,
        findings: Vec::new(),
    };
    scaling.findings = scaling::findings(&scaling);
    scaling
}

/// What others on the machine may have done to the figures.
fn doubts(environment: &Environment, foreign_after: Option<u64>) -> Vec<String> {
    /// So many make an add a microsecond slower, by 80 to 140 ns for ten of them.
    const FOREIGN: u64 = 100;
    let mut doubts = Vec::new();
    if let (Some(before), Some(after)) = (environment.foreign_htb_classes, foreign_after)
        && before.abs_diff(after) >= FOREIGN
    {
        doubts.push(format!(
            "Others on this machine had {before} HTB classes before and {after} after: as each add looks at them, too, that may bend the curve of adds."
        ));
    }
    match environment.foreign_htb_classes {
        Some(foreign) if foreign >= FOREIGN => doubts.push(format!(
            "Others on this machine have {foreign} HTB classes: each add looks at them, too (flow_indr_dev_setup_offload), and is slower by that."
        )),
        Some(_) => {}
        None => doubts.push("Whether others on this machine have HTB classes, which slow each add, cannot be told.".into()),
    }
    if let Some(load) = environment.load_average_before
        && load > environment.cores as f64
    {
        doubts.push(format!(
            "The machine was busy before (load {load:.1} on {} cores): p95 and p99 tell of that, too.",
            environment.cores
        ));
    }
    doubts
}

fn exit(scaling: &Scaling, stop: &Stop) -> Exit {
    let judged = |series: &scaling::model::Series| {
        let p50 = series.growth.get("latency_p50_us");
        p50.is_some_and(|judgement| judgement.law.is_some())
    };
    match scaling.series.is_empty() || !scaling.series.iter().all(judged) {
        _ if stop.is_set() => Exit::Interrupted,
        true => Exit::Inconclusive,
        false => Exit::Pass,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Wrapper {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn plan(line: &str) -> Result<Plan, Failure> {
        let words = std::iter::once("scaling").chain(line.split_whitespace());
        Wrapper::try_parse_from(words).map_err(|error| Failure::usage(error.to_string()))?.arguments.plan()
    }

    #[test]
    fn without_arguments_twenty_thousand_classes_are_built_three_times() {
        let Plan::Classes(plan) = plan("").unwrap() else { panic!() };
        assert_eq!((plan.sizes.len(), plan.sizes[11], plan.rounds), (12, 20_000, 3));
        assert_eq!(plan.operations, [Operation::Add, Operation::Change, Operation::Delete]);
        assert_eq!(plan.shards, [1]);
    }

    #[test]
    fn workers_add_and_delete_unless_they_change() {
        let Plan::Workers(plan) = plan("--workers 1..16").unwrap() else { panic!() };
        assert_eq!((plan.sizes.len(), plan.population), (16, 1_000));
        assert_eq!(plan.operations, [Operation::Add, Operation::Delete]);
    }

    #[test]
    fn nonsense_is_refused_before_anything_runs() {
        for line in [
            "--to 0",
            "--to 65536",
            "--to 200000 --shards 2,10",
            "--workers 0",
            "--workers 4..1",
            "--workers 1..100000",
            "--workers 1..50",
            "--workers 2 --to 5",
            "--workers 2 --shards 1,2",
            "--workers 2 --operation add,change",
            "--workers 2 --operation change --population 0",
            "--workers 2 --population 65535",
            "--rounds 0",
            "--stages 0",
            "--samples 0",
            "--shards 0",
            "--population 5",
            "--operation replace",
            "--workload lifecycle",
            "--budget-seconds 0",
        ] {
            assert_eq!(plan(line).expect_err(line).exit, Exit::Usage, "{line}");
        }
        assert!(plan("--to 65535").is_ok());
        assert!(plan("--to 100000 --shards 10,2").is_ok());
    }
}
