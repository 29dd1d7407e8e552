//! `qdiscope overhead`: what watching costs.

mod comparison;
mod htb_class;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use comparison::Destination;

use super::{runtime, stop_on_signal};
use crate::exit::{Exit, Failure};
use crate::isolation;
use crate::load::Stop;
use crate::overhead::{self, Load};
use crate::plan::Plan;
use crate::session::check_htb;

/// Runs loads alternately with nothing attached (A) and with a contestant (B): A B A B …, so that a machine whose speed drifts takes
/// both along. Contestants are each kind of our probes, with and without sampling of kernel stacks, and other tools that do
/// the like: bpftrace, perf and strace, where they are installed.
///
/// Without arguments: every load and every contestant as a table, with the goals, and then `htb-class`, which together takes five minutes. With
/// --classes, --workers, --devices or --min-ratio and no --load: `htb-class` only.
#[derive(Args)]
pub(super) struct Arguments {
    /// Pairs of runs [default: 5; with --quick 1, which decides no goal]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// A look, not a measurement: windows of 100 ms instead of 300 ms
    #[arg(long)]
    quick: bool,
    /// A load to run; may be repeated [default: all]
    #[arg(long = "load", value_name = "LOAD")]
    loads: Vec<Selected>,
    /// A contestant to measure; may be repeated [default: all]: nothing; fexit, kprobe, tracepoint; each of them with -stacks (samples
    /// kernel stacks too, as `bench` does), -trace and -profile (as the subcommands of these names attach them), the first two with
    /// -whole (does not tell a request's parts apart); bpftrace-empty, bpftrace, perf-trace, perf-trace-all, perf-record, strace
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Write the measurement as JSON to FILE, or to standard output instead of the table. Not with htb-class, which has none
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// Exit with 4 when a goal is missed, and with 6 when one is undecided
    #[arg(long)]
    check_goals: bool,
    /// htb-class: classes that a run creates [default: 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=500_000))]
    classes: Option<u64>,
    /// htb-class: concurrent callers [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    workers: Option<u32>,
    /// htb-class: veth devices that carry HTB [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    devices: Option<u32>,
    /// htb-class: exit with 4 when the median ratio is below this
    #[arg(long, value_name = "RATIO", value_parser = parse_ratio)]
    min_ratio: Option<f64>,
}

/// Arguments of the process that runs the loads.
#[derive(Args)]
pub(super) struct LoadArguments {
    /// Index of the device that carries the classes
    device: Option<u32>,
}

/// `--load`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Selected {
    /// One whose cost is compared.
    Compared(Load),
    /// The product's own workload.
    HtbClass,
}

impl ValueEnum for Selected {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Compared(Load::Change),
            Self::Compared(Load::Add),
            Self::Compared(Load::Concurrent),
            Self::Compared(Load::Syscall),
            Self::Compared(Load::Rate),
            Self::HtbClass,
        ]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        match self {
            Self::Compared(load) => load.to_possible_value(),
            Self::HtbClass => Some(
                clap::builder::PossibleValue::new("htb-class")
                    .help("`qdiscope bench --workload htb-class` with and without probes"),
            ),
        }
    }
}

fn parse_ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio.is_finite() && ratio > 0.0 => Ok(ratio),
        _ => Err("give a number above 0, as in 0.95".into()),
    }
}

impl Arguments {
    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 5 })
    }

    /// Scripts knew these before there were other loads.
    fn is_about_htb_class(&self) -> bool {
        self.classes.is_some() || self.workers.is_some() || self.devices.is_some() || self.min_ratio.is_some()
    }

    fn loads(&self) -> Result<Vec<Selected>, Failure> {
        let asked: Vec<Selected> =
            Selected::value_variants().iter().copied().filter(|load| self.loads.contains(load)).collect();
        match (asked.is_empty(), self.is_about_htb_class()) {
            (true, true) => Ok(vec![Selected::HtbClass]),
            (true, false) if self.json.is_some() || !self.only.is_empty() || self.check_goals => {
                Ok(Selected::value_variants()
                    .iter()
                    .copied()
                    .filter(|&load| load != Selected::HtbClass)
                    .collect())
            }
            (true, false) => Ok(Selected::value_variants().to_vec()),
            (false, true) if !asked.contains(&Selected::HtbClass) => Err(Failure::usage(
                "--classes, --workers, --devices and --min-ratio are about --load htb-class, which is not asked for",
            )),
            (false, _) => Ok(asked),
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let loads = arguments.loads()?;
    let compared: Vec<Load> = loads
        .iter()
        .filter_map(|load| match load {
            Selected::Compared(load) => Some(*load),
            Selected::HtbClass => None,
        })
        .collect();
    let htb_class = loads.contains(&Selected::HtbClass).then(|| htb_class::plan(arguments));
    htb_class.as_ref().map_or(Ok(()), Plan::check).map_err(Failure::usage)?;
    let comparison = comparison::plan(arguments, compared)?;
    let json = Destination::open(arguments)?;
    if json.is_some() && htb_class.is_some() {
        return Err(Failure::usage("--json has no place for --load htb-class; measure it by itself"));
    }
    let busy = comparison::busy();
    isolation::enter()?;
    let runtime = runtime()?;
    let stop = Stop::default();
    runtime.block_on(async { stop_on_signal(&stop, "what is attached will be detached") })?;
    let devices = runtime.block_on(async {
        let devices = isolation::create_devices(htb_class.as_ref().map_or(1, Plan::devices_needed)).await?;
        check_htb(devices[0]).await.map(|()| devices)
    })?;
    let mut exit = Exit::Pass;
    if !comparison.loads.is_empty() {
        exit = comparison::run(arguments, &comparison, devices[0], &stop, busy, json)?;
    }
    if let Some(plan) = htb_class.filter(|_| exit != Exit::Interrupted) {
        let ratio = runtime.block_on(htb_class::measure(arguments, &plan, &devices, &stop))?;
        if ratio != Exit::Pass {
            exit = ratio;
        }
    }
    Ok(exit)
}

/// The process that runs the loads: speaks with the one that started it, by standard input and output.
pub(super) fn serve(arguments: &LoadArguments) -> Result<Exit, Failure> {
    overhead::serve(arguments.device)
        .map(|()| Exit::Pass)
        .map_err(|error| Failure::internal(format!("the load: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn loads(line: &str) -> Result<usize, Failure> {
        let words = std::iter::once("overhead").chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().arguments.loads().map(|loads| loads.len())
    }

    #[test]
    fn what_scripts_ask_for_stays_what_it_was() {
        for line in ["--classes 500", "--rounds 1 --min-ratio 0.9", "--workers 2 --devices 3"] {
            assert_eq!(loads(line).unwrap(), 1, "{line}");
        }
        assert_eq!(loads("").unwrap(), 6);
        assert_eq!(loads("--json").unwrap(), 5);
        assert_eq!(loads("--load change --load add").unwrap(), 2);
        assert_eq!(loads("--load htb-class --classes 5").unwrap(), 1);
        assert!(loads("--load change --classes 5").is_err());
    }
}
