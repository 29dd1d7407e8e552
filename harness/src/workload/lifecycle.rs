//! `lifecycle`: what a shaper does all day: subscribers come, change their rates, are looked at and go. A mix may add lists, filters,
//! and requests that the kernel is to refuse.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tc_adapter::filter::{U32, U32Key};
use tc_adapter::{Classifier, Filter, FilterName, Handle, Protocol, Request};

use super::parameters::random_class;
use super::{
    Ask, Mix, Operation, OperationKind, ROOT_QDISC, Scene, Socket, Source, class_place, root_qdiscs, share,
    worker_rng,
};
use crate::plan::Workload;

/// How far a worker's population may stray from its share before the choice between creating
/// and deleting is no longer left to chance.
const SLACK: f64 = 0.05;

/// Filters that a worker has at most.
const FILTERS: u16 = 4;

/// A filter's priority names it, so that workers can have filters of their own; those of a worker are next to each other.
const LAST_PRIO: u16 = 0xbfff;

/// No veth pair of a run has it: an interface index is positive, and they are given in ascending order.
const NO_DEVICE: u32 = i32::MAX.cast_unsigned();

/// One worker's classes, by index (see [`class_place`]).
struct Subscribers {
    devices: Vec<u32>,
    present: Vec<u64>,
    absent: Vec<u64>,
    lowest: usize,
    highest: usize,
    weights: Mix,
    /// Priorities of filters that stand, and of those that may be added.
    filters: Vec<u16>,
    free_prios: Vec<u16>,
    /// A class that only this worker could have, and never has.
    stranger: u64,
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
        population_max += share + slack + 1;
        sources.push(Box::new(Subscribers {
            devices: devices.to_vec(),
            lowest: usize::try_from(share.saturating_sub(slack)).unwrap_or(usize::MAX),
            highest: usize::try_from(share + slack).unwrap_or(usize::MAX),
            absent: indices(share..share + slack).collect(),
            stranger: (share + slack) * workers + index,
            filters: Vec::new(),
            free_prios: prios(worker),
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
        self.weights.drawn(self.rng.random_range(0..self.weights.total()))
    }

    /// Holds the population: at a bound, creating becomes deleting and the other way round; nothing is
    /// changed, read or deleted where nothing stands.
    fn hold(&self, drawn: OperationKind) -> OperationKind {
        match drawn {
            OperationKind::ClassCreate if self.present.len() >= self.highest => OperationKind::ClassDelete,
            OperationKind::ClassDelete if self.present.len() <= self.lowest => OperationKind::ClassCreate,
            OperationKind::FilterCreate if self.free_prios.is_empty() => OperationKind::FilterDelete,
            OperationKind::FilterDelete if self.filters.is_empty() => OperationKind::FilterCreate,
            _ if self.present.is_empty() => OperationKind::ClassCreate,
            drawn => drawn,
        }
    }
}

impl Subscribers {
    /// The place of one of these lists, and what is there.
    fn pick<T: Copy>(rng: &mut ChaCha8Rng, from: &[T]) -> (usize, T) {
        let position = rng.random_range(0..from.len());
        (position, from[position])
    }

    fn operation(&mut self, kind: OperationKind) -> (usize, Operation) {
        let from = if kind == OperationKind::ClassCreate { &self.absent } else { &self.present };
        let (position, class) = Self::pick(&mut self.rng, from);
        let (device, classid) = class_place(&self.devices, class);
        let stranger = class_place(&self.devices, self.stranger);
        let succeeds = |request| Operation::of(kind, request);
        let refused = |request, errno| Operation { kind, ask: Ask::Unchecked(request), expects: Some(errno) };
        let operation = match kind {
            OperationKind::ClassCreate => succeeds(create(&self.devices, class, &mut self.rng)),
            OperationKind::ClassChange => {
                let class = random_class(&mut self.rng);
                // Without a parent there is nothing for the adapter to verify: `tc class change dev D classid 1:a htb …`
                succeeds(Request::ChangeClass { device, parent: Handle::UNSPEC, classid, class })
            }
            OperationKind::ClassRead => succeeds(Request::GetClass { device, classid }),
            OperationKind::ClassDump | OperationKind::ClassDumpCold => {
                Operation { kind, ask: Ask::Classes { device, socket: Socket::of(kind) }, expects: None }
            }
            OperationKind::FilterDump | OperationKind::FilterDumpCold => {
                let (parent, socket) = (ROOT_QDISC, Socket::of(kind));
                Operation { kind, ask: Ask::Filters { device, parent, socket }, expects: None }
            }
            OperationKind::FilterCreate => {
                let (position, prio) = Self::pick(&mut self.rng, &self.free_prios);
                let (device, filter) = (self.devices[0], Box::new(filter(prio)));
                return (position, succeeds(Request::AddFilter { device, parent: ROOT_QDISC, filter }));
            }
            OperationKind::FilterDelete => {
                let (position, prio) = Self::pick(&mut self.rng, &self.filters);
                let (device, name) = (self.devices[0], Box::new(filters_of(prio)));
                return (position, succeeds(Request::DeleteFilter { device, parent: ROOT_QDISC, name }));
            }
            OperationKind::ErrorExists => refused(create(&self.devices, class, &mut self.rng), libc::EEXIST),
            OperationKind::ErrorMissing => {
                let ((device, classid), class) = (stranger, random_class(&mut self.rng));
                refused(Request::ChangeClass { device, parent: Handle::UNSPEC, classid, class }, libc::ENOENT)
            }
            OperationKind::ErrorInvalid => {
                // A class of another qdisc than its parent is: tc_ctl_tclass (net/sched/sch_api.c).
                let classid = Handle::new(ROOT_QDISC.major() + 1, classid.minor());
                let class = random_class(&mut self.rng);
                refused(Request::AddClass { device, parent: ROOT_QDISC, classid, class }, libc::EINVAL)
            }
            OperationKind::ErrorNoDevice => {
                let class = random_class(&mut self.rng);
                let request = Request::AddClass { device: NO_DEVICE, parent: ROOT_QDISC, classid, class };
                refused(request, libc::ENODEV)
            }
            OperationKind::ClassDelete | OperationKind::QdiscCreate | OperationKind::QdiscDelete => {
                Operation::of(OperationKind::ClassDelete, Request::DeleteClass { device, classid })
            }
        };
        (position, operation)
    }
}

impl Source for Subscribers {
    fn next(&mut self) -> Option<Operation> {
        let drawn = self.draw();
        let kind = self.hold(drawn);
        let (position, operation) = self.operation(kind);
        self.pending = Some((kind, position));
        Some(operation)
    }

    fn settle(&mut self, succeeded: bool) {
        match self.pending.take().filter(|_| succeeded) {
            Some((OperationKind::ClassCreate, position)) => {
                self.present.push(self.absent.swap_remove(position));
            }
            Some((OperationKind::ClassDelete, position)) => {
                self.absent.push(self.present.swap_remove(position));
            }
            Some((OperationKind::FilterCreate, position)) => {
                self.filters.push(self.free_prios.swap_remove(position));
            }
            Some((OperationKind::FilterDelete, position)) => {
                self.free_prios.push(self.filters.swap_remove(position));
            }
            _ => {}
        }
    }
}

/// The priorities that are a worker's own; none where there are too many workers.
fn prios(worker: u32) -> Vec<u16> {
    let first = u64::from(worker) * u64::from(FILTERS) + 1;
    (first..first + u64::from(FILTERS))
        .filter_map(|prio| u16::try_from(prio).ok())
        .filter(|prio| *prio <= LAST_PRIO)
        .collect()
}

/// `tc filter add dev D parent 1: protocol all prio P u32 match u32 0 0 classid 1:ffff`, a class that is not there: one that is could not
/// be deleted any more.
fn filter(prio: u16) -> Filter {
    let classifier = Classifier::U32(U32::matching(vec![U32Key::new(0, 0, 0)]));
    let classid = Handle::new(ROOT_QDISC.major(), u16::MAX);
    Filter { prio, classid, ..Filter::new(Protocol::ALL, classifier) }
}

/// `tc filter del dev D parent 1: prio P`
fn filters_of(prio: u16) -> FilterName {
    FilterName { prio, ..FilterName::default() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;
    use crate::plan::Load;
    use crate::workload::Kind;

    fn workload(weights: Mix) -> Workload {
        Workload {
            kind: Kind::Lifecycle,
            load: Load::Closed { duration: Duration::ZERO },
            workers: 3,
            classes: 100,
            weights,
        }
    }

    /// Plays the kernel: every request must make sense for what stands.
    fn play(weights: Mix, steps: usize) -> (usize, usize) {
        let mut scene = scene(&workload(weights), &[1, 2], 7);
        let mut kernel = HashSet::new();
        for request in scene.setup {
            if let Request::AddClass { device, classid, .. } = request {
                assert!(kernel.insert((device, classid)));
            }
        }
        assert_eq!(kernel.len(), 100);
        let mut filters = HashSet::new();
        let (mut least, mut most) = (kernel.len(), kernel.len());
        for step in 0..steps {
            let source = &mut scene.sources[step % 3];
            let operation = source.next().unwrap();
            let refused = operation.expects.is_some();
            match operation.ask {
                Ask::One(Request::AddClass { device, classid, .. }) => {
                    assert!(kernel.insert((device, classid)));
                }
                Ask::One(Request::DeleteClass { device, classid }) => {
                    assert!(kernel.remove(&(device, classid)));
                }
                Ask::One(
                    Request::ChangeClass { device, classid, .. } | Request::GetClass { device, classid },
                ) => {
                    assert!(kernel.contains(&(device, classid)));
                }
                Ask::One(Request::AddFilter { filter, .. }) => assert!(filters.insert(filter.prio)),
                Ask::One(Request::DeleteFilter { name, .. }) => assert!(filters.remove(&name.prio)),
                Ask::Unchecked(Request::ChangeClass { device, classid, .. }) => {
                    assert!(refused && !kernel.contains(&(device, classid)));
                }
                Ask::Unchecked(Request::AddClass { device, classid, .. }) => {
                    let possible = device != NO_DEVICE && classid.major() == ROOT_QDISC.major();
                    assert!(refused && (!possible || kernel.contains(&(device, classid))));
                }
                Ask::Classes { device, socket } | Ask::Filters { device, socket, .. } => {
                    assert!([1, 2].contains(&device));
                    assert_eq!(socket == Socket::Fresh, operation.kind.name().ends_with("-cold"));
                }
                other => panic!("{other:?}"),
            }
            source.settle(!refused);
            least = least.min(kernel.len());
            most = most.max(kernel.len());
        }
        assert!(most as u64 <= scene.population_max);
        (least, most)
    }

    #[test]
    fn the_population_stays_near_its_target() {
        let (least, most) = play(Mix::default(), 20_000);
        assert!(least >= 94 && most <= 106, "{least}..{most}");
    }

    #[test]
    fn one_sided_weights_do_not_run_out_of_classes() {
        play(Mix::of_classes(1, 0, 0, 0), 1_000);
        play(Mix::of_classes(0, 0, 0, 1), 1_000);
    }

    #[test]
    fn every_operation_makes_sense_for_what_stands() {
        let mix = "create=3,change=1,read=1,delete=3,dump=1,dump-cold=1,filter-create=3,filter-delete=2,filter-dump=1,filter-dump-cold=1,error-exists=1,\
                   error-missing=1,error-invalid=1,error-no-device=1";
        play(mix.parse().unwrap(), 20_000);
    }

    #[test]
    fn a_failed_request_leaves_the_books_as_they_were() {
        let mut scene = scene(&workload(Mix::of_classes(1, 0, 0, 0)), &[1], 7);
        let first = scene.sources[0].next().unwrap();
        scene.sources[0].settle(false);
        assert_eq!(first.kind, OperationKind::ClassCreate);
        for _ in 0..2 {
            scene.sources[0].next().unwrap();
            scene.sources[0].settle(true);
        }
    }
}
