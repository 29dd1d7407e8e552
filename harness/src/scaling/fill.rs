//! The measurement against the number of classes: fill, measure, fill on.

use std::time::Instant;

use ebpf_loader::SampleSet;
use tc_adapter::{Connection, Request};

use super::figures::{Phases, Window};
use super::observer::Observer;
use super::plan::{Classes, Operation};
use super::tree::{Tree, caller};
use crate::exit::Failure;
use crate::load::Stop;

/// What a size gave, over the operations.
pub(super) struct Measured {
    /// How many classes stood, on average.
    pub(super) n: f64,
    pub(super) operation: Operation,
    pub(super) window: Window,
    /// Kernel stacks, where they are sampled.
    pub(super) samples: Option<SampleSet>,
}

/// One round: all sizes on fresh qdiscs.
pub(super) struct Round {
    pub(super) measured: Vec<Measured>,
    /// Neither a signal nor the time limit came before its end.
    pub(super) complete: bool,
}

/// Fills `devices` and measures at each size. Adds and deletes even out, so that a stage ends as it began.
pub(super) fn round(
    plan: &Classes,
    devices: &[u32],
    seed: u64,
    observer: Option<&Observer>,
    stop: &Stop,
    deadline: Instant,
    progress: impl Fn(u64),
) -> Result<Round, Failure> {
    let mut tree = Tree::plant(devices, seed)?;
    let mut caller = caller()?;
    let mut round = Round { measured: Vec::new(), complete: true };
    warm_up(&mut tree, &mut caller)?;
    for &size in &plan.sizes {
        // The adds of a stage lead to its size, so that the largest is not exceeded.
        let samples = u64::from(plan.samples).min(size);
        tree.fill(size - samples, stop, deadline)?;
        if stop.is_set() || Instant::now() >= deadline {
            round.complete = false;
            break;
        }
        progress(size);
        let standing = tree.standing();
        let numbers = standing..standing + samples;
        let adds: Vec<Request> = numbers.clone().map(|index| tree.add(index)).collect();
        let deletes: Vec<Request> = numbers.rev().map(|index| tree.delete(index)).collect();
        let meanwhile = standing as f64 + (samples as f64 - 1.0) / 2.0;
        let mut stage = Stage { caller: &mut caller, observer, stop, round: &mut round };
        stage.measure(Operation::Add, &adds, meanwhile, plan.operations.contains(&Operation::Add))?;
        if plan.operations.contains(&Operation::Change) {
            let changes: Vec<Request> = (0..plan.samples).map(|_| tree.change(size)).collect();
            stage.measure(Operation::Change, &changes, size as f64, true)?;
        }
        stage.measure(
            Operation::Delete,
            &deletes,
            meanwhile + 1.0,
            plan.operations.contains(&Operation::Delete),
        )?;
        if stop.is_set() {
            round.complete = false;
            break;
        }
    }
    tree.fell()?;
    Ok(round)
}

/// The first requests of a young process are slower than the later ones.
fn warm_up(tree: &mut Tree<'_>, caller: &mut Connection) -> Result<(), Failure> {
    const OPERATIONS: u64 = 50;
    for index in 0..OPERATIONS {
        for request in [tree.add(index), tree.delete(index)] {
            caller.request(&request).map_err(|error| super::tree::unprepared(&error))?;
        }
    }
    Ok(())
}

struct Stage<'a> {
    caller: &'a mut Connection,
    observer: Option<&'a Observer>,
    stop: &'a Stop,
    round: &'a mut Round,
}

impl Stage<'_> {
    /// Sends them one after the other. What is not asked for has to be sent all the same, for the next stage's sake.
    fn measure(
        &mut self,
        operation: Operation,
        requests: &[Request],
        n: f64,
        asked: bool,
    ) -> Result<(), Failure> {
        if asked && let Some(observer) = self.observer {
            observer.begin([self.caller.port_id()], true)?;
        }
        let mut window = Window { latencies: Vec::with_capacity(requests.len()), ..Window::default() };
        let start = Instant::now();
        let mut last = start;
        for request in requests {
            let outcome = self.caller.request(request);
            let now = Instant::now();
            match outcome {
                Ok(_) => window.latencies.push(u64::try_from((now - last).as_nanos()).unwrap_or(u64::MAX)),
                Err(_) => window.errors += 1,
            }
            last = now;
            if self.stop.is_set() {
                break;
            }
        }
        window.elapsed = last - start;
        if asked {
            let seen = self
                .observer
                .map(|observer| Ok::<_, Failure>((observer, observer.end(true)?)))
                .transpose()?;
            let (kernel, samples) = match seen {
                Some((observer, seen)) => {
                    let (wait, off) = (observer.measures_rtnl_wait, observer.measures_off_cpu);
                    (Some(Phases::of(&seen.events, wait, off)), seen.samples)
                }
                None => (None, None),
            };
            window.kernel = kernel;
            // Half a sample is none.
            if self.stop.is_set() {
                return Ok(());
            }
            self.round.measured.push(Measured { n, operation, window, samples });
        }
        Ok(())
    }
}
