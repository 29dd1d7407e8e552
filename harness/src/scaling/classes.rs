//! `--to`: rounds of fills → curves.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ebpf_loader::SampleSet;

use super::figures::{self, Window, stage};
use super::fill::{self, Measured, Round};
use super::functions::{Sampled, growing, name};
use super::model::{Functions, Series, Stage};
use super::observer::Observer;
use super::plan::{Classes, Operation};
use super::{Measurement, Watcher};
use crate::exit::Failure;
use crate::load::Stop;
use crate::stats::growth::Law;
use crate::stats::judgement::{Judgement, Samples, judge};

/// Measures each number of shards in turn.
pub(super) fn measure(
    plan: &Classes,
    devices: &[u32],
    observer: Option<&Observer>,
    stop: &Stop,
    watcher: &dyn Watcher,
) -> Result<Measurement, Failure> {
    let deadline = Instant::now() + plan.limit;
    let mut measurement = Measurement::default();
    for &shards in &plan.shards {
        if stop.is_set() {
            break;
        }
        let devices = &devices[..shards as usize];
        let rounds = rounds(plan, shards, devices, observer, stop, watcher, deadline, &mut measurement)?;
        for &operation in &plan.operations {
            measurement.series.extend(series(plan, shards, operation, &rounds, observer.is_some()));
        }
    }
    Ok(measurement)
}

/// Whole rounds; of the first also a part.
#[expect(clippy::too_many_arguments, reason = "one call, and all that a round needs")]
fn rounds(
    plan: &Classes,
    shards: u32,
    devices: &[u32],
    observer: Option<&Observer>,
    stop: &Stop,
    watcher: &dyn Watcher,
    deadline: Instant,
    measurement: &mut Measurement,
) -> Result<Vec<Round>, Failure> {
    let mut rounds: Vec<Round> = Vec::new();
    let mut longest = Duration::ZERO;
    for number in 1..=plan.rounds {
        let out_of_time = !rounds.is_empty() && Instant::now() + longest > deadline;
        if stop.is_set() || out_of_time {
            measurement.ended_early(stop, &format!("{} of {} rounds", rounds.len(), plan.rounds));
            break;
        }
        let begun = Instant::now();
        let seed = plan.seed.wrapping_add(u64::from(number));
        let last = plan.sizes.last().copied().unwrap_or_default();
        let progress = |size: u64| {
            watcher.says(&format!(
                "{shards} device{}, round {number} of {}: {size} of {last} classes",
                if shards == 1 { "" } else { "s" },
                plan.rounds
            ));
        };
        let round = fill::round(plan, devices, seed, observer, stop, deadline, progress)?;
        longest = longest.max(begun.elapsed());
        if round.complete {
            rounds.push(round);
        } else {
            let reached = round.measured.iter().map(|measured| measured.n).fold(0.0, f64::max);
            measurement.ended_early(
                stop,
                &format!("round {number} of {} came to {reached:.0} classes", plan.rounds),
            );
            // A part of a later round would give the small sizes more rounds than the large ones.
            if rounds.is_empty() {
                rounds.push(round);
            }
            break;
        }
    }
    Ok(rounds)
}

/// `None` where nothing was measured.
fn series(
    plan: &Classes,
    shards: u32,
    operation: Operation,
    rounds: &[Round],
    watched: bool,
) -> Option<Series> {
    let by_round: Vec<Vec<&Measured>> = rounds
        .iter()
        .map(|round| round.measured.iter().filter(|measured| measured.operation == operation).collect())
        .collect();
    let count = by_round.first()?.len();
    let mut stages: Vec<Stage> = Vec::new();
    let mut sampled: Vec<Sampled> = Vec::new();
    for index in 0..count {
        let here: Vec<&Measured> = by_round.iter().filter_map(|round| round.get(index).copied()).collect();
        let windows: Vec<&Window> = here.iter().map(|measured| &measured.window).collect();
        let Some(stage) = stage(here[0].n, &windows) else { continue };
        let sets: Vec<SampleSet> = here.iter().filter_map(|measured| measured.samples.clone()).collect();
        sampled.push(Sampled { n: stage.n, operations: stage.operations, sets });
        stages.push(stage);
    }
    let growth: BTreeMap<String, Judgement> = judged(&stages, &by_round, plan.seed)
        .map(|judgement| ("latency_p50_us".to_owned(), judgement))
        .into_iter()
        .collect();
    let functions = functions(&sampled, &growth, watched);
    let (functions, absent) = match functions {
        Ok(functions) => (Some(functions), None),
        Err(reason) => (None, Some(reason)),
    };
    Some(Series { operation, shards, stages, growth, functions, functions_absent_because: absent })
}

fn judged(stages: &[Stage], by_round: &[Vec<&Measured>], seed: u64) -> Option<Judgement> {
    let rounds = by_round
        .iter()
        .map(|round| round.iter().filter_map(|measured| figures::latency(&measured.window, 0.5)).collect())
        // A stage in which everything failed would shift the others.
        .filter(|round: &Vec<f64>| round.len() == stages.len())
        .collect();
    judge(&Samples { sizes: stages.iter().map(|stage| stage.n).collect(), rounds }, seed)
}

fn functions(
    sampled: &[Sampled],
    growth: &BTreeMap<String, Judgement>,
    watched: bool,
) -> Result<Functions, String> {
    let grows = |judgement: &Judgement| judgement.curve.law != Law::Constant && judgement.relative_rise > 0.0;
    if !growth.values().any(grows) {
        return Err("nothing grows".into());
    }
    if !watched {
        return Err("no probes are attached".into());
    }
    if sampled.iter().all(|stage| stage.sets.is_empty()) {
        return Err("kernel stacks cannot be sampled here: see `qdiscope doctor`".into());
    }
    growing(&name(sampled)?)
}
