//! What a run is to do, as data.

use std::num::NonZeroU16;
use std::time::Duration;

use crate::load::Schedule;
use crate::report::model::Mode;
use crate::workload::{Kind, Mix};

/// Workloads in order, and what they share.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Run one after another.
    pub workloads: Vec<Workload>,
    /// Veth devices that carry HTB.
    pub devices: u32,
    /// Seed of every random choice.
    pub seed: u64,
    /// Operations of each workload that are sent before measuring begins.
    pub warmup: u64,
    /// How many requests that wait at the same time may travel in one system call.
    pub messages_per_packet: NonZeroU16,
}

/// HTB minors are 16 bits; 1 is the first that a class can have.
pub(crate) const MOST_CLASSES_A_DEVICE: u64 = 0xffff;

impl Plan {
    /// Refuses what no kernel could do, in words.
    pub fn check(&self) -> Result<(), String> {
        for workload in &self.workloads {
            if let Load::Open { rate, duration } = workload.load
                && Schedule::new(rate, duration).count() == 0
            {
                return Err(format!(
                    "a rate of {rate} a second for {duration:?} is no request at all: raise either"
                ));
            }
            let workers = u64::from(workload.workers);
            let most = match workload.kind {
                Kind::HtbQdisc => 0,
                // Each worker's share is rounded up, that of the warm-up too.
                Kind::HtbClass => workload.classes.saturating_add(self.warmup).saturating_add(2 * workers),
                // lifecycle strays by a twentieth, and each worker by one class at least.
                Kind::Lifecycle => {
                    workload.classes.saturating_add(workload.classes / 20).saturating_add(2 * workers)
                }
            };
            if most.div_ceil(u64::from(self.devices)) > MOST_CLASSES_A_DEVICE {
                return Err(format!(
                    "{} classes do not fit on {} devices: HTB has {MOST_CLASSES_A_DEVICE} minors a qdisc; \
                     use more --devices or fewer classes",
                    workload.classes, self.devices
                ));
            }
        }
        Ok(())
    }

    /// How many devices carry `workload`. `htb-qdisc` gives each worker one of its own at least: two workers on one
    /// device would only refuse each other's requests.
    pub fn devices_of(&self, workload: &Workload) -> u32 {
        match workload.kind {
            Kind::HtbQdisc => self.devices.max(workload.workers),
            Kind::HtbClass | Kind::Lifecycle => self.devices,
        }
    }

    /// How many devices the whole plan needs.
    pub fn devices_needed(&self) -> u32 {
        self.workloads.iter().map(|workload| self.devices_of(workload)).max().unwrap_or(self.devices)
    }
}

/// One workload under one load.
#[derive(Debug, Clone)]
pub struct Workload {
    /// What is asked of the kernel.
    pub kind: Kind,
    /// How it is offered.
    pub load: Load,
    /// Concurrent callers, at least one.
    pub workers: u32,
    /// `htb-class`: classes a round creates. `lifecycle`: classes held in the kernel.
    pub classes: u64,
    /// `lifecycle`: how often each operation is chosen.
    pub weights: Mix,
}

/// How requests are offered, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// Each worker sends when its last request was answered.
    Closed {
        /// At least this long. `htb-class` repeats whole rounds until it is reached.
        duration: Duration,
    },
    /// On a schedule.
    Open {
        /// Operations per second, positive and finite.
        rate: f64,
        /// Length of the schedule.
        duration: Duration,
    },
}

impl Load {
    /// The mode's name in results.
    pub fn mode(self) -> Mode {
        match self {
            Self::Closed { .. } => Mode::Closed,
            Self::Open { .. } => Mode::Open,
        }
    }

    /// How long it is to run.
    pub fn duration(self) -> Duration {
        match self {
            Self::Closed { duration } | Self::Open { duration, .. } => duration,
        }
    }

    /// The offered rate, where one is offered.
    pub fn rate(self) -> Option<f64> {
        match self {
            Self::Closed { .. } => None,
            Self::Open { rate, .. } => Some(rate),
        }
    }
}
