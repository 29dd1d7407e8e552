//! `--workers`: how much callers at once bring, each a thread with a socket of its own, which is what contends for RTNL.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tc_adapter::{Connection, Request};

use super::figures::{self, Phases, Window, stage};
use super::model::{Series, Stage};
use super::observer::Observer;
use super::plan::{Operation, Workers};
use super::tree::{Tree, caller};
use super::{Measurement, Watcher};
use crate::exit::Failure;
use crate::load::Stop;
use crate::stats::judgement::{Samples, judge};

/// What one number of workers gave in one round, by operation.
type Windows = BTreeMap<Operation, Window>;

/// Measures every number of workers in each round, in an order drawn anew, so that a machine that gets slower does not look like
/// contention.
pub(super) fn measure(
    plan: &Workers,
    devices: &[u32],
    observer: Option<&Observer>,
    stop: &Stop,
    watcher: &dyn Watcher,
) -> Result<Measurement, Failure> {
    let deadline = Instant::now() + plan.limit;
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut measurement = Measurement::default();
    let mut tree = Tree::plant(devices, plan.seed)?;
    tree.fill(plan.population, stop, deadline)?;
    let mut rounds: Vec<BTreeMap<u64, Windows>> = Vec::new();
    'rounds: for number in 1..=plan.rounds {
        let mut order = plan.sizes.clone();
        order.shuffle(&mut rng);
        let mut round = BTreeMap::new();
        for workers in order {
            if stop.is_set() || Instant::now() >= deadline {
                measurement.ended_early(stop, &format!("{} of {} rounds", rounds.len(), plan.rounds));
                // Of the first round what there is.
                if rounds.is_empty() {
                    rounds.push(round);
                }
                break 'rounds;
            }
            watcher.says(&format!("round {number} of {}: {workers} workers", plan.rounds));
            let windows = window(plan, &mut tree, workers, observer, stop)?;
            if !stop.is_set() {
                round.insert(workers, windows);
            }
        }
        rounds.push(round);
    }
    tree.fell()?;
    for &operation in &plan.operations {
        measurement.series.extend(series(plan, operation, &rounds));
    }
    Ok(measurement)
}

/// One number of workers, as long as the plan says.
fn window(
    plan: &Workers,
    tree: &mut Tree<'_>,
    workers: u64,
    observer: Option<&Observer>,
    stop: &Stop,
) -> Result<Windows, Failure> {
    let crew = (0..workers)
        .map(|worker| {
            // Behind the population: nobody else's.
            let number = plan.population + worker;
            let (add, delete) = (tree.add(number), tree.delete(number));
            let changes = (0..64).map(|_| tree.change(plan.population)).collect();
            Ok(Worker { connection: caller()?, add, delete, changes, windows: Windows::new() })
        })
        .collect::<Result<Vec<Worker>, Failure>>()?;
    if let Some(observer) = observer {
        observer.begin(crew.iter().map(|worker| worker.connection.port_id()), false)?;
    }
    let crew = at_once(crew, |worker| worker.work(plan, stop))?;
    let mut windows = Windows::new();
    for worker in crew {
        for (operation, part) in worker.windows {
            let window = windows.entry(operation).or_default();
            window.latencies.extend(part.latencies);
            window.errors += part.errors;
            window.elapsed = window.elapsed.max(part.elapsed);
        }
    }
    if let Some(observer) = observer {
        let seen = observer.end(false)?;
        for (operation, window) in &mut windows {
            let events: Vec<_> = seen
                .events
                .iter()
                .filter(|event| (event.message_type == DELETE) == (*operation == Operation::Delete))
                .copied()
                .collect();
            let (wait, off) = (observer.measures_rtnl_wait, observer.measures_off_cpu);
            window.kernel = Some(Phases::of(&events, wait, off));
        }
    }
    Ok(windows)
}

/// Runs `work` on a thread for each, all at once.
fn at_once(crew: Vec<Worker>, work: impl Fn(&mut Worker) + Sync) -> Result<Vec<Worker>, Failure> {
    let workers = crew.len();
    thread::scope(|scope| {
        let mut gates = Vec::new();
        let mut handles = Vec::new();
        for mut worker in crew {
            let (gate, begin) = channel::<()>();
            let work = &work;
            let thread =
                thread::Builder::new().name("qdiscope-caller".into()).spawn_scoped(scope, move || {
                    // Without a gate: another thread could not be started.
                    if begin.recv().is_ok() {
                        work(&mut worker);
                    }
                    worker
                });
            // On failure the gates are dropped, which ends those that wait.
            handles.push(thread.map_err(|error| {
                Failure::environment(format!("start {workers} threads: {error}; give fewer --workers"))
            })?);
            gates.push(gate);
        }
        for gate in &gates {
            // It waits for it.
            let _ = gate.send(());
        }
        let join = |handle: thread::ScopedJoinHandle<'_, Worker>| {
            handle.join().map_err(|_| Failure::internal("a caller panicked"))
        };
        handles.into_iter().map(join).collect()
    })
}

/// A figure of a window.
type Metric = fn(&Window) -> Option<f64>;

const DELETE: u16 = tc_adapter::MessageType::DelClass.value();

struct Worker {
    connection: Connection,
    add: Request,
    delete: Request,
    changes: Vec<Request>,
    windows: Windows,
}

impl Worker {
    fn work(&mut self, plan: &Workers, stop: &Stop) {
        let changes = plan.operations.contains(&Operation::Change);
        let cycle: Vec<(Operation, Request)> = if changes {
            self.changes.drain(..).map(|request| (Operation::Change, request)).collect()
        } else {
            vec![(Operation::Add, self.add.clone()), (Operation::Delete, self.delete.clone())]
        };
        let start = Instant::now();
        let mut last = start;
        // Whole cycles, so that a class that was added is deleted again.
        while last - start < plan.window && !stop.is_set() {
            for (operation, request) in &cycle {
                let outcome = self.connection.request(request);
                let now = Instant::now();
                let window = self.windows.entry(*operation).or_default();
                match outcome {
                    Ok(_) => {
                        window.latencies.push(u64::try_from((now - last).as_nanos()).unwrap_or(u64::MAX));
                    }
                    Err(_) => window.errors += 1,
                }
                last = now;
            }
        }
        for window in self.windows.values_mut() {
            window.elapsed = last - start;
        }
    }
}

fn series(plan: &Workers, operation: Operation, rounds: &[BTreeMap<u64, Windows>]) -> Option<Series> {
    let at = |round: &'_ BTreeMap<u64, Windows>, workers: u64| -> Option<Window> {
        round.get(&workers)?.get(&operation).cloned()
    };
    let mut stages: Vec<Stage> = Vec::new();
    for &workers in &plan.sizes {
        let windows: Vec<Window> = rounds.iter().filter_map(|round| at(round, workers)).collect();
        stages.extend(stage(workers as f64, &windows.iter().collect::<Vec<_>>()));
    }
    (!stages.is_empty()).then_some(())?;
    let metrics: [(&str, Metric); 4] = [
        ("latency_p50_us", |window| figures::latency(window, 0.5)),
        ("latency_mean_us", figures::mean),
        ("latency_p99_us", |window| figures::latency(window, 0.99)),
        ("ops_per_s", figures::throughput),
    ];
    let mut growth = BTreeMap::new();
    for (metric, of) in metrics {
        let rounds = rounds
            .iter()
            .map(|round| {
                stages.iter().filter_map(|stage| of(&at(round, workers(stage))?)).collect::<Vec<f64>>()
            })
            .filter(|round| round.len() == stages.len())
            .collect();
        let samples = Samples { sizes: stages.iter().map(|stage| stage.n).collect(), rounds };
        growth.extend(judge(&samples, plan.seed).map(|judgement| (metric.to_owned(), judgement)));
    }
    let reason = "what grows with the workers is waiting, which samples of the CPU do not show".to_owned();
    Some(Series {
        operation,
        shards: plan.shards,
        stages,
        growth,
        functions: None,
        functions_absent_because: Some(reason),
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was a number of workers")]
fn workers(stage: &Stage) -> u64 {
    stage.n as u64
}
