//! `qdiscope capacity`.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use comfy_table::Cell;

use super::bench::read_budget;
use super::{print, runtime, stop_on_signal};
use crate::budget::{Budget, judge};
use crate::capacity::{Answer, Capacity, Limit, Search, Trial};
use crate::duration;
use crate::environment::Before;
use crate::exit::{Exit, Failure};
use crate::isolation;
use crate::load::{Arrivals, Ramp, Stop};
use crate::load_profile::{Executor, LoadProfile, Stage};
use crate::memory;
use crate::probes::{self, Choice};
use crate::report::model::{RunResources, RunResult, SCHEMA_VERSION, State, WorkloadResult};
use crate::report::terminal::{micros, right, table};
use crate::report::words::told;
use crate::session::{Second, Session, Watcher, check_htb};
use crate::workload::Mix;

pub(super) const AFTER_HELP: &str = "Exit codes:\n    0  found\n    1  internal error\n    2  usage\n    3  this environment cannot run it\n    \
     4  not even the lowest rate holds the budget\n    6  inconclusive: this machine cannot offer more, or the lowest rate cannot be judged\n  \
     130  interrupted";

/// Offers rates in an open loop, in a network namespace of its own, and looks for the highest that holds the budget: doubling, then
/// bisection, then the rate that was found again.
#[derive(Args)]
pub(super) struct Arguments {
    /// The first rate, operations per second
    #[arg(long, value_name = "OPS_PER_S", default_value_t = 500.0, value_parser = super::bench::parse_rate)]
    least: f64,
    /// Not above it
    #[arg(long, value_name = "OPS_PER_S", default_value_t = 1_000_000.0, value_parser = super::bench::parse_rate)]
    most: f64,
    /// How long each rate is offered
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse_or_seconds)]
    duration: Duration,
    /// How close the answer is to be, percent
    #[arg(long, value_name = "PERCENT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=50))]
    precision: u8,
    /// How often the rate must hold, all together
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    confirmations: u32,
    /// Requests on their way at a time, at most
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    users: u32,
    /// Requests follow each other as those of many independent callers do, with bursts, instead of evenly
    #[arg(long)]
    poisson: bool,
    /// Veth devices that carry HTB
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    devices: u32,
    /// Classes held in the kernel
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    population: u64,
    /// How often each operation is chosen
    #[arg(long, value_name = "NAME=N,…", default_value_t = Mix::default())]
    weights: Mix,
    /// Seed of every random choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Targets, as a file [default: built in, see README]. Those of an open loop count
    #[arg(long, value_name = "FILE")]
    budget: Option<PathBuf>,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

struct Silent;

impl Watcher for Silent {
    fn begins(&self, _: &Stage) {}
    fn second(&self, _: &Second, _: &WorkloadResult) -> Option<String> {
        None
    }
    fn ended(&self, _: &[WorkloadResult]) -> Result<(), Failure> {
        Ok(())
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if arguments.least > arguments.most {
        return Err(Failure::usage(format!(
            "--least {} is above --most {}",
            arguments.least, arguments.most
        )));
    }
    arguments.profile(arguments.least)?;
    let budget = read_budget(arguments.budget.as_deref())?;
    let before = Before::observe();
    isolation::enter()?;
    let found = runtime()?.block_on(search(arguments, &budget, &before))?;
    if arguments.json {
        let text = serde_json::to_string_pretty(&found)
            .map_err(|error| Failure::internal(format!("encode the result: {error}")))?;
        print(&(text + "\n"))?;
    } else {
        print(&render(&found))?;
    }
    Ok(match (found.limit, found.rate, found.trials.last().map(|trial| trial.state)) {
        (Limit::Interrupted, ..) => Exit::Interrupted,
        (Limit::Offer, ..) | (_, None, Some(State::Inconclusive)) => Exit::Inconclusive,
        (_, None, _) => Exit::BudgetViolated,
        (_, Some(_), _) => Exit::Pass,
    })
}

impl Arguments {
    fn profile(&self, rate: f64) -> Result<LoadProfile, Failure> {
        let arrivals = if self.poisson { Arrivals::Poisson } else { Arrivals::Constant };
        let stage = Stage {
            name: "offer".into(),
            start: Duration::ZERO,
            duration: self.duration,
            executor: Executor::Open { rate: Ramp::constant(rate), arrivals, users: self.users },
            judged: true,
        };
        let profile = LoadProfile {
            name: "capacity".into(),
            purpose: String::new(),
            seed: self.seed,
            devices: self.devices,
            warmup: 100,
            population: self.population,
            tree: None,
            mix: self.weights,
            stages: vec![stage],
            abort: None,
            disturbances: Vec::new(),
            traffic: None,
        };
        profile.check().map_err(Failure::usage)?;
        Ok(profile)
    }
}

async fn search(arguments: &Arguments, budget: &Budget, before: &Before) -> Result<Capacity, Failure> {
    let stop = Stop::default();
    stop_on_signal(&stop, "the search ends")?;
    let devices = isolation::create_devices(arguments.devices).await?;
    check_htb(devices[0]).await?;
    memory::give_back();
    let session =
        Session { devices: &devices, collector: None, stop: &stop, observer: &super::progress::Nothing };
    let precision = 1.0 + f64::from(arguments.precision) / 100.0;
    let mut search = Search::new(arguments.least, arguments.most, precision, arguments.confirmations);
    let mut trials: Vec<Trial> = Vec::new();
    while let Some(rate) = search.next_rate() {
        let profile = arguments.profile(rate)?;
        let (measured, _) = session.run_stages(&profile, &Silent).await?;
        if stop.is_set() {
            break;
        }
        let trial = judged(rate, budget, before, measured.workloads, measured.resources);
        let answer = if holds(trial.state) { Answer::Held } else { Answer::Broke };
        let _ = writeln!(std::io::stderr(), "{}", line(&trial));
        search.told(rate, answer);
        trials.push(trial);
    }
    let broke_at = search.broke_at();
    // What broke nearest to the answer.
    let why = trials
        .iter()
        .filter(|trial| {
            trial.state != State::Pass && broke_at.is_some_and(|rate| rate.total_cmp(&trial.rate).is_eq())
        })
        .map(|trial| trial.state)
        .next_back();
    let limit = match (stop.is_set(), why) {
        (true, _) => Limit::Interrupted,
        (false, None) => Limit::Asked,
        (false, Some(State::Inconclusive)) => Limit::Offer,
        (false, Some(_)) => Limit::Budget,
    };
    Ok(Capacity { rate: search.found(), broke_at, limit, trials })
}

/// A warning is told, and breaks nothing.
fn holds(state: State) -> bool {
    matches!(state, State::Pass | State::Warning)
}

fn judged(
    rate: f64,
    budget: &Budget,
    before: &Before,
    workloads: Vec<WorkloadResult>,
    resources: RunResources,
) -> Trial {
    let run = RunResult {
        schema_version: SCHEMA_VERSION,
        run_id: String::new(),
        started_at: String::new(),
        qdiscope_version: env!("CARGO_PKG_VERSION").into(),
        verdict: State::Inconclusive,
        interrupted: false,
        settings: crate::report::model::Settings::default(),
        environment: before.finish(probes::off(Choice::Off.name())),
        profile: None,
        workloads,
        resources,
        budget: Vec::new(),
        not_judged: Vec::new(),
        explanations: Vec::new(),
        traffic: None,
        artifacts: std::collections::BTreeMap::new(),
    };
    let judged = judge(budget, &run);
    let first = judged.judgements.iter().find(|judgement| judgement.state == judged.verdict);
    let reason = first.filter(|judgement| !holds(judgement.state)).map(|judgement| {
        let told = match judgement.state {
            State::Inconclusive => format!("{} cannot be judged", judgement.metric),
            _ => told(judgement),
        };
        judgement.reason.as_ref().map_or(told.clone(), |reason| format!("{told}: {reason}"))
    });
    let workload = run.workloads.into_iter().next();
    Trial {
        rate,
        achieved: workload.as_ref().and_then(|workload| workload.throughput_ops_per_s.mean),
        latency_us: workload.as_ref().and_then(|workload| workload.latency_all_us),
        schedule_lag_us: workload.as_ref().and_then(|workload| workload.schedule_lag_us),
        state: judged.verdict,
        reason,
    }
}

fn line(trial: &Trial) -> String {
    let reason = trial.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("{:.0}/s: {}{reason}", trial.rate, trial.state)
}

fn render(found: &Capacity) -> String {
    let mut rows =
        table(&["offered/s", "achieved/s", "p50 µs", "p95 µs", "p99 µs", "lag p99 µs", "state"], 0);
    for trial in &found.trials {
        let latency = |pick: fn(&crate::report::model::Percentiles) -> f64| {
            right(trial.latency_us.as_ref().map_or_else(|| "–".into(), |latency| micros(pick(latency))))
        };
        rows.add_row(vec![
            right(format!("{:.0}", trial.rate)),
            right(trial.achieved.map_or_else(|| "–".into(), |rate| format!("{rate:.0}"))),
            latency(|latency| latency.p50),
            latency(|latency| latency.p95),
            latency(|latency| latency.p99),
            right(trial.schedule_lag_us.as_ref().map_or_else(|| "–".into(), |lag| micros(lag.p99))),
            Cell::new(trial.state),
        ]);
    }
    let rate = found.rate.map_or_else(|| "none".to_owned(), |rate| format!("{rate:.0} operations a second"));
    let limit = match (found.limit, found.broke_at) {
        (Limit::Budget, Some(rate)) => format!("the budget is violated at {rate:.0}"),
        (Limit::Offer, Some(rate)) => {
            format!(
                "this machine cannot offer {rate:.0} well enough to judge it: what the kernel holds may be more"
            )
        }
        (Limit::Interrupted, _) => "interrupted".into(),
        _ => "more was not asked for".into(),
    };
    let reason = found.trials.iter().rev().find_map(|trial| {
        (found.broke_at? - trial.rate).abs().lt(&f64::EPSILON).then_some(trial.reason.as_deref())?
    });
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("{rows}\ncapacity: {rate}; {limit}{reason}\n")
}
