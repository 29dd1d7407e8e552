//! Load profiles: how much load, of what, for how long, as data. `smoke`, `baseline`, `stress`, `spike` and `endurance` are built in.

mod built_in;
mod file;
mod traffic;
mod tree;

use std::time::Duration;

pub use built_in::{BUILT_IN, BuiltIn};
pub use file::ParseError;
pub use traffic::TrafficPlan;
pub use tree::ProfileTree;

use crate::disturb::Disturbance;
use crate::duration::Span;
use crate::load::{Arrivals, Ramp, Schedule, Think};
use crate::plan::{Load, MOST_CLASSES_A_DEVICE, Workload};
use crate::report::model::StageSettings;
use crate::workload::{Kind, Mix, Scene, scene};

/// Minutes of it, on any machine.
const MOST_WARMUP: u64 = 10_000_000;

/// A load profile.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadProfile {
    /// What it is called.
    pub name: String,
    /// What it is for, in a line.
    pub purpose: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// Veth devices that carry HTB: with a tree, as many as it has, and 0 until it was read.
    pub devices: u32,
    /// Operations that are sent before measuring begins.
    pub warmup: u64,
    /// Classes held in the kernel: with a tree, its HTB classes.
    pub population: u64,
    /// What subscribers come and go on; without one, classes directly under a root qdisc.
    pub tree: Option<ProfileTree>,
    /// How often each operation is chosen.
    pub mix: Mix,
    /// In the order of their time; they do not overlap.
    pub stages: Vec<Stage>,
    /// When it is given up.
    pub abort: Option<Abort>,
    /// What stands in its way, on purpose.
    pub disturbances: Vec<Disturbance>,
    /// Packets that flow meanwhile.
    pub traffic: Option<TrafficPlan>,
}

/// A part of a profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// What it is called.
    pub name: String,
    /// When it begins, after the profile's beginning.
    pub start: Duration,
    /// How long it is.
    pub duration: Duration,
    /// How requests are offered.
    pub executor: Executor,
    /// Whether targets apply to it.
    pub judged: bool,
}

/// How requests are offered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Executor {
    /// Virtual users, each of whom sends when its last request was answered and it has thought.
    Closed {
        /// So many.
        users: Ramp,
        /// Between requests.
        think: Think,
    },
    /// Requests at a rate, whether or not they are answered.
    Open {
        /// Operations per second.
        rate: Ramp,
        /// How they follow each other.
        arrivals: Arrivals,
        /// Requests that may be on their way at a time; those beyond wait, which counts as their latency.
        users: u32,
    },
}

/// When a run is given up: a target was violated for so long, over all of the stage so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort {
    /// How long a violation may last.
    pub grace: Duration,
}

impl LoadProfile {
    /// Refuses what no kernel could do, in words.
    pub fn check(&self) -> Result<(), String> {
        let users = u64::from(self.most_users());
        if let Some(tree) = &self.tree {
            tree.check(users, self.mix)?;
        } else if self.most_classes().div_ceil(u64::from(self.devices)) > MOST_CLASSES_A_DEVICE {
            return Err(format!(
                "population = {}: with {users} users it does not fit on {} devices: HTB has {MOST_CLASSES_A_DEVICE} minors a qdisc",
                self.population, self.devices
            ));
        }
        if self.tree.is_some() && self.traffic.is_some() {
            return Err("traffic flows through classes of its own, for which a tree has no place: leave [traffic] or `tree` out".into());
        }
        if self.warmup > MOST_WARMUP {
            return Err(format!("warmup = {}: give {MOST_WARMUP} operations at most", self.warmup));
        }
        if let Some(traffic) = self.traffic {
            let streams = u64::from(traffic.streams);
            // And the class that filters name and that nobody has.
            let most = self.most_classes();
            if most.div_ceil(u64::from(self.devices)) + streams + 1 > MOST_CLASSES_A_DEVICE {
                return Err(format!(
                    "traffic: streams = {streams}: with population = {} on {} devices there are not as many minors left",
                    self.population, self.devices
                ));
            }
        }
        for disturbance in &self.disturbances {
            disturbance.check().map_err(|error| error.to_string())?;
            if disturbance.at() >= self.length() {
                return Err(format!(
                    "disturbance {}: at {} it comes too late: the last stage ends at {}",
                    disturbance.kind(),
                    Span(disturbance.at()),
                    Span(self.length())
                ));
            }
            if let Disturbance::DeviceGone { device, .. } = disturbance
                && *device >= self.devices as usize
            {
                return Err(format!(
                    "disturbance device-gone: device = {device}: they are 0 to {}",
                    self.devices - 1
                ));
            }
        }
        Ok(())
    }

    /// HTB classes that there may be without a tree: each user strays by a twentieth of its own, by one at least, and knows one that it never has.
    fn most_classes(&self) -> u64 {
        let users = u64::from(self.most_users());
        self.population.saturating_add(self.population / 20).saturating_add(3 * users)
    }

    /// With all times multiplied: to see in a tenth of the time that it works. Rates and think times stay.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        for stage in &mut self.stages {
            stage.start = stage.start.mul_f64(factor);
            stage.duration = stage.duration.mul_f64(factor);
        }
        if let Some(abort) = &mut self.abort {
            abort.grace = abort.grace.mul_f64(factor);
        }
        self.disturbances =
            self.disturbances.into_iter().map(|disturbance| disturbance.scaled(factor)).collect();
        self
    }

    /// When its last stage ends, after its beginning.
    pub fn length(&self) -> Duration {
        self.stages.last().map_or(Duration::ZERO, |stage| stage.start + stage.duration)
    }

    /// The most users of any stage.
    pub fn most_users(&self) -> u32 {
        self.stages.iter().map(|stage| stage.executor.most_users()).max().unwrap_or(1)
    }

    /// What works on the kernel over all stages: classes, or subscribers, for the most users that there will be. `devices` are interface
    /// indices, as many as [`LoadProfile::devices`] says.
    ///
    /// # Errors
    ///
    /// Why it cannot be, of a tree that was not checked ([`LoadProfile::with_tree`]).
    pub fn scene(&self, devices: &[u32]) -> Result<Scene, String> {
        if let Some(tree) = &self.tree {
            return tree.scene(devices, self.most_users(), self.mix, self.seed);
        }
        let workload = self.workload_with(Load::Closed { duration: self.length() }, self.most_users());
        Ok(scene(&workload, devices, self.seed, self.warmup))
    }

    /// A stage, as results show it.
    pub fn workload(&self, stage: &Stage) -> Workload {
        let duration = stage.duration;
        let load = match stage.executor {
            Executor::Closed { .. } => Load::Closed { duration },
            Executor::Open { rate, .. } => {
                let seconds = duration.as_secs_f64();
                Load::Open { rate: rate.integral(seconds, seconds) / seconds, duration }
            }
        };
        self.workload_with(load, stage.executor.most_users())
    }

    fn workload_with(&self, load: Load, workers: u32) -> Workload {
        Workload { kind: Kind::Lifecycle, load, workers, classes: self.population, weights: self.mix }
    }
}

impl Executor {
    /// The most users at a time.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole numbers from files of u32"
    )]
    pub fn most_users(self) -> u32 {
        match self {
            Self::Closed { users, .. } => users.most() as u32,
            Self::Open { users, .. } => users,
        }
    }
}

impl Stage {
    /// The schedule of an open loop.
    pub fn schedule(&self, seed: u64) -> Option<Schedule> {
        match self.executor {
            Executor::Open { rate, arrivals, .. } => {
                Some(Schedule::staged(rate, arrivals, seed, self.duration))
            }
            Executor::Closed { .. } => None,
        }
    }

    /// What a result says of it.
    pub fn settings(&self) -> StageSettings {
        let settings = StageSettings {
            name: self.name.clone(),
            start_seconds: self.start.as_secs_f64(),
            judged: self.judged,
            users: [0.0; 2],
            rate: None,
            arrivals: None,
            burst: None,
            think_time_us: None,
            think_time: None,
        };
        match self.executor {
            Executor::Closed { users, think } => {
                let (name, mean) = match think {
                    Think::None => ("none", Duration::ZERO),
                    Think::Constant(time) => ("constant", time),
                    Think::Exponential(mean) => ("exponential", mean),
                };
                StageSettings {
                    users: [users.from, users.to],
                    think_time_us: Some(mean.as_secs_f64() * 1e6),
                    think_time: Some(name.into()),
                    ..settings
                }
            }
            Executor::Open { rate, arrivals, users } => StageSettings {
                users: [f64::from(users); 2],
                rate: Some([rate.from, rate.to]),
                arrivals: Some(arrivals.name().into()),
                burst: arrivals.burst(),
                ..settings
            },
        }
    }
}
