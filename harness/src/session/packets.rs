//! Packets that flow while a load profile runs.

use std::sync::Arc;

use tc_adapter::{Device, Request};

use crate::exit::Failure;
use crate::isolation;
use crate::load_profile::TrafficPlan;
use crate::traffic::{Traffic, TrafficError, TrafficReport};
use crate::workload::{Source, Streams};

/// A profile's traffic, before it flows and while it does.
pub(super) struct Packets {
    plan: TrafficPlan,
    device: u32,
    streams: Arc<Streams>,
    /// With the changes of its classes before it.
    flowing: Option<(Traffic, u64)>,
}

impl Packets {
    /// On the first of the devices, which is up.
    pub(super) fn new(plan: TrafficPlan, devices: &[u32]) -> Self {
        let device = devices[0];
        let streams = Arc::new(Streams::new(device, plan.streams, plan.rate));
        Self { plan, device, streams, flowing: None }
    }

    /// What brings its classes about.
    pub(super) fn setup(&self) -> Vec<Request> {
        self.streams.setup()
    }

    /// The workers, who change its classes, too.
    pub(super) fn among(&self, sources: Vec<Box<dyn Source>>, seed: u64) -> Vec<Box<dyn Source>> {
        self.streams.among(sources, seed)
    }

    /// Classes that it adds to the workload's.
    pub(super) fn classes(&self) -> u64 {
        self.streams.classids().len() as u64
    }

    /// Packets flow from now on.
    pub(super) async fn start(&mut self) -> Result<(), Failure> {
        let peer = Device::by_name(&isolation::peer_name(0)).map_err(|error| unsent(&error))?.index;
        let (device, streams, rate) = (self.device, Arc::clone(&self.streams), self.plan.packets_per_second);
        // On a worker of the runtime: its threads are as punctual as that is, and the calling one stands back.
        let started =
            tokio::spawn(async move { Traffic::start(device, peer, streams.classids(), rate) }).await;
        let traffic =
            started.map_err(|_| unsent(&TrafficError::Panicked))?.map_err(|error| unsent(&error))?;
        self.flowing = Some((traffic, self.streams.changes()));
        Ok(())
    }

    /// What came of it. Waits up to two seconds for packets that are queued.
    pub(super) fn stop(mut self) -> Result<Option<TrafficReport>, Failure> {
        let Some((traffic, before)) = self.flowing.take() else { return Ok(None) };
        let changes = self.streams.changes() - before;
        let report = traffic.stop().map_err(|error| unsent(&error))?;
        Ok(Some(TrafficReport { class_changes: Some(changes), ..report }))
    }
}

fn unsent(error: &dyn std::fmt::Display) -> Failure {
    Failure::environment(format!("the profile's traffic: {error}"))
}
