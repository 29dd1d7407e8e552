//! How latency grows: with the classes of a qdisc, or with the callers at once.
//!
//! [`plan`] says at which sizes, `classes` and `workers` measure there, `figures` sums up, [`crate::stats`] judges which law
//! holds, `functions` says which kernel function grows, `findings` puts it into sentences, and `table` and `chart` draw it. All
//! but the measuring is a function of a [`model::Scaling`], which is what is saved.
//!
//! **Architecture invariant:** a sentence says what was measured, and a size between two measured ones at most. Nothing is
//! extrapolated.

mod chart;
mod classes;
mod figures;
mod fill;
mod findings;
mod folder;
mod functions;
pub mod model;
mod observer;
pub mod plan;
mod table;
mod tree;
mod workers;

pub use chart::{svg, terminal};
pub use folder::Folder;
pub use table::render;

use self::model::Series;
use self::plan::{Classes, Workers};
use crate::exit::Failure;
use crate::load::Stop;
use crate::probes::Choice;
use crate::report::model::Probes;

/// What is to be measured.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Against the number of classes.
    Classes(Classes),
    /// Against the number of callers.
    Workers(Workers),
}

impl Plan {
    /// Devices that carry HTB.
    pub fn devices_needed(&self) -> u32 {
        match self {
            Self::Classes(plan) => plan.shards.iter().copied().max().unwrap_or(1),
            Self::Workers(plan) => plan.shards,
        }
    }
}

/// Is told how far it has come.
pub trait Watcher {
    /// One line.
    fn says(&self, text: &str);
}

/// What was measured.
#[derive(Debug, Default)]
pub struct Measurement {
    /// The curves.
    pub series: Vec<Series>,
    /// What was left out.
    pub remarks: Vec<String>,
    /// Whether it was.
    pub incomplete: bool,
}

impl Measurement {
    fn ended_early(&mut self, stop: &Stop, what: &str) {
        self.incomplete = true;
        self.remarks.push(if stop.is_set() {
            format!("Interrupted: {what}.")
        } else {
            format!("The time limit came first: {what}; --budget-seconds gives more.")
        });
    }
}

/// Measures on `devices`, and says what watched.
pub fn measure(
    plan: &Plan,
    devices: &[u32],
    probes: Choice,
    stop: &Stop,
    watcher: &dyn Watcher,
) -> Result<(Measurement, Probes), Failure> {
    let (observer, report) = observer::attach(probes)?;
    let measurement = match plan {
        Plan::Classes(plan) => classes::measure(plan, devices, observer.as_ref(), stop, watcher),
        Plan::Workers(plan) => workers::measure(plan, devices, observer.as_ref(), stop, watcher),
    }?;
    Ok((measurement, report))
}

/// Puts the figures into sentences.
pub use findings::findings;
