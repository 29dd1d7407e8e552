//! `htb-class`: workers fill the qdiscs of all devices with classes at once.

use rand_chacha::ChaCha8Rng;
use tc_adapter::Request;

use super::parameters::random_class;
use super::{
    Operation, OperationKind, ROOT_QDISC, Scene, Source, class_place, root_qdiscs, share, worker_rng,
};
use crate::plan::Workload;

struct Classes {
    devices: Vec<u32>,
    next: u64,
    step: u64,
    end: u64,
    rng: ChaCha8Rng,
}

/// The warm-up's classes come on top: `workload.classes` are measured.
///
/// Warm-up and measurement each deal their operations to the workers from the first one on, so each worker has a share of both.
pub(super) fn scene(workload: &Workload, devices: &[u32], seed: u64, warmup: u64) -> Scene {
    let step = u64::from(workload.workers);
    let sources = (0..workload.workers)
        .map(|worker| {
            let worker_index = u64::from(worker);
            let share = |all| share(all, step, worker_index);
            Box::new(Classes {
                devices: devices.to_vec(),
                next: worker_index,
                step,
                end: worker_index + (share(warmup) + share(workload.classes)) * step,
                rng: worker_rng(seed, worker),
            }) as Box<dyn Source>
        })
        .collect();
    let population_max = workload.classes + warmup;
    Scene { setup: root_qdiscs(devices).collect(), sources, population_max }
}

impl Source for Classes {
    fn next(&mut self) -> Option<Operation> {
        if self.next >= self.end {
            return None;
        }
        let (device, classid) = class_place(&self.devices, self.next);
        self.next += self.step;
        let class = random_class(&mut self.rng);
        let request = Request::AddClass { device, parent: ROOT_QDISC, classid, class };
        Some(Operation::of(OperationKind::ClassCreate, request))
    }

    fn settle(&mut self, _succeeded: bool) {}
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;
    use crate::plan::Load;
    use crate::workload::{Ask, Kind, Mix};

    /// 100 % 8 workers took a class each from the first four, and 1001 % 8 one from the first.
    #[test]
    fn each_worker_has_what_the_schedule_asks_of_it() {
        let workload = Workload {
            kind: Kind::HtbClass,
            load: Load::Open { rate: 1_001.0, duration: Duration::from_secs(1) },
            workers: 8,
            classes: 1_001,
            weights: Mix::default(),
        };
        for (worker, mut source) in scene(&workload, &[5], 1, 100).sources.into_iter().enumerate() {
            let asked = (0..100).chain(0..1_001).filter(|index| index % 8 == worker).count();
            assert_eq!(std::iter::from_fn(|| source.next()).count(), asked, "worker {worker}");
        }
    }

    #[test]
    fn all_workers_together_create_each_class_once_evenly_over_the_devices() {
        let workload = Workload {
            kind: Kind::HtbClass,
            load: Load::Closed { duration: Duration::ZERO },
            workers: 3,
            classes: 90,
            weights: Mix::default(),
        };
        let mut seen = HashSet::new();
        for mut source in scene(&workload, &[5, 6, 7, 8], 1, 10).sources {
            while let Some(operation) = source.next() {
                let Ask::One(Request::AddClass { device, classid, .. }) = operation.ask else { panic!() };
                assert!(seen.insert((device, classid)));
                source.settle(true);
            }
        }
        assert_eq!(seen.len(), 100);
        for device in [5, 6, 7, 8] {
            assert_eq!(seen.iter().filter(|place| place.0 == device).count(), 25);
        }
    }
}
