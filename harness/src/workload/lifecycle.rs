//! `lifecycle`: what a shaper does all day: subscribers come, change their rates, are looked at and go.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tc_adapter::{Handle, Request};

use super::parameters::random_class;
use super::{
    Operation, OperationKind, ROOT_QDISC, Scene, Source, Weights, class_place, root_qdiscs, share, worker_rng,
};
use crate::plan::Workload;

/// How far a worker's population may stray from its share before the choice between creating
/// and deleting is no longer left to chance.
const SLACK: f64 = 0.05;

/// One worker's classes, by index (see [`class_place`]).
struct Subscribers {
    devices: Vec<u32>,
    present: Vec<u64>,
    absent: Vec<u64>,
    lowest: usize,
    highest: usize,
    weights: Weights,
    rng: ChaCha8Rng,
    /// The operation last yielded, to be settled.
    pending: Option<(OperationKind, usize)>,
}

pub(super) fn scene(workload: &Workload, devices: &[u32], seed: u64) -> Scene {
    let workers = u64::from(workload.workers);
    let mut setup: Vec<Request> = root_qdiscs(devices).collect();
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    let mut population_max = 0;
    for worker in 0..workload.workers {
        let index = u64::from(worker);
        let share = share(workload.classes, workers, index);
        let slack = slack(share);
        let indices = |range: std::ops::Range<u64>| range.map(move |turn| turn * workers + index);
        let mut rng = worker_rng(seed, worker);
        let present: Vec<u64> = indices(0..share).collect();
        setup.extend(present.iter().map(|&class| create(devices, class, &mut rng)));
        population_max += share + slack;
        sources.push(Box::new(Subscribers {
            devices: devices.to_vec(),
            lowest: usize::try_from(share.saturating_sub(slack)).unwrap_or(usize::MAX),
            highest: usize::try_from(share + slack).unwrap_or(usize::MAX),
            absent: indices(share..share + slack).collect(),
            present,
            weights: workload.weights,
            rng,
            pending: None,
        }));
    }
    Scene { setup, sources, population_max }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a twentieth of a population")]
fn slack(share: u64) -> u64 {
    ((share as f64 * SLACK).ceil() as u64).max(1)
}

fn create(devices: &[u32], class: u64, rng: &mut ChaCha8Rng) -> Request {
    let (device, classid) = class_place(devices, class);
    Request::AddClass { device, parent: ROOT_QDISC, classid, class: random_class(rng) }
}

impl Subscribers {
    fn draw(&mut self) -> OperationKind {
        let mut ticket = self.rng.random_range(0..self.weights.total());
        let choices = [
            (OperationKind::ClassCreate, self.weights.create),
            (OperationKind::ClassChange, self.weights.change),
            (OperationKind::ClassRead, self.weights.read),
        ];
        for (kind, weight) in choices {
            if ticket < u64::from(weight) {
                return kind;
            }
            ticket -= u64::from(weight);
        }
        OperationKind::ClassDelete
    }

    /// Holds the population: at a bound, creating becomes deleting and the other way round; nothing is
    /// changed, read or deleted where nothing stands.
    fn hold(&self, drawn: OperationKind) -> OperationKind {
        match drawn {
            OperationKind::ClassCreate if self.present.len() >= self.highest => OperationKind::ClassDelete,
            OperationKind::ClassDelete if self.present.len() <= self.lowest => OperationKind::ClassCreate,
            _ if self.present.is_empty() => OperationKind::ClassCreate,
            drawn => drawn,
        }
    }
}

impl Source for Subscribers {
    fn next(&mut self) -> Option<Operation> {
        let drawn = self.draw();
        let kind = self.hold(drawn);
        let from = if kind == OperationKind::ClassCreate { &self.absent } else { &self.present };
        let position = self.rng.random_range(0..from.len());
        let class = from[position];
        let (device, classid) = class_place(&self.devices, class);
        let request = match kind {
            OperationKind::ClassCreate => create(&self.devices, class, &mut self.rng),
            OperationKind::ClassChange => {
                let class = random_class(&mut self.rng);
                // Without a parent there is nothing for the adapter to verify: `tc class change dev D classid 1:a htb …`
                Request::ChangeClass { device, parent: Handle::UNSPEC, classid, class }
            }
            OperationKind::ClassRead => Request::GetClass { device, classid },
            _ => Request::DeleteClass { device, classid },
        };
        self.pending = Some((kind, position));
        Some(Operation { kind, request })
    }

    fn settle(&mut self, succeeded: bool) {
        match self.pending.take() {
            Some((OperationKind::ClassCreate, position)) if succeeded => {
                self.present.push(self.absent.swap_remove(position));
            }
            Some((OperationKind::ClassDelete, position)) if succeeded => {
                self.absent.push(self.present.swap_remove(position));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;
    use crate::plan::Load;
    use crate::workload::Kind;

    fn workload(weights: Weights) -> Workload {
        Workload {
            kind: Kind::Lifecycle,
            load: Load::Closed { duration: Duration::ZERO },
            workers: 3,
            classes: 100,
            weights,
        }
    }

    /// Plays the kernel: every request must make sense for what stands.
    fn play(weights: Weights, steps: usize) -> (usize, usize) {
        let mut scene = scene(&workload(weights), &[1, 2], 7);
        let mut kernel = HashSet::new();
        for request in scene.setup {
            if let Request::AddClass { device, classid, .. } = request {
                assert!(kernel.insert((device, classid)));
            }
        }
        assert_eq!(kernel.len(), 100);
        let (mut least, mut most) = (kernel.len(), kernel.len());
        for step in 0..steps {
            let source = &mut scene.sources[step % 3];
            match source.next().unwrap().request {
                Request::AddClass { device, classid, .. } => assert!(kernel.insert((device, classid))),
                Request::DeleteClass { device, classid } => assert!(kernel.remove(&(device, classid))),
                Request::ChangeClass { device, classid, .. } | Request::GetClass { device, classid } => {
                    assert!(kernel.contains(&(device, classid)));
                }
                other => panic!("{other:?}"),
            }
            source.settle(true);
            least = least.min(kernel.len());
            most = most.max(kernel.len());
        }
        assert!(most as u64 <= scene.population_max);
        (least, most)
    }

    #[test]
    fn the_population_stays_near_its_target() {
        let (least, most) = play(Weights::default(), 20_000);
        assert!(least >= 94 && most <= 106, "{least}..{most}");
    }

    #[test]
    fn one_sided_weights_do_not_run_out_of_classes() {
        play(Weights { create: 1, change: 0, read: 0, delete: 0 }, 1_000);
        play(Weights { create: 0, change: 0, read: 0, delete: 1 }, 1_000);
    }

    #[test]
    fn a_failed_request_leaves_the_books_as_they_were() {
        let mut scene = scene(&workload(Weights { create: 1, change: 0, read: 0, delete: 0 }), &[1], 7);
        let first = scene.sources[0].next().unwrap();
        scene.sources[0].settle(false);
        assert_eq!(first.kind, OperationKind::ClassCreate);
        for _ in 0..2 {
            scene.sources[0].next().unwrap();
            scene.sources[0].settle(true);
        }
    }
}
