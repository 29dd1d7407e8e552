//! Classes that packets flow through while a workload goes on around them, and on them.
//!
//! They stand for subscribers who stay: they are there from the beginning to the end, and are changed in turn. Those that come and go are
//! the workload's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tc_adapter::{Handle, HtbClass, Rate, Request};

use super::{Ask, Operation, OperationKind, ROOT_QDISC, Source, random_class, worker_rng};

/// Every so many changes of a worker is one of a class that packets flow through.
const EVERY: u64 = 4;

/// The greatest minor of theirs: a workload's classes begin at 1, and 1:ffff is the class that its filters name and that nobody has.
const LAST_MINOR: u16 = 0xfffe;

/// Keeps its draws apart from those of a workload's workers, of whom there are far fewer.
const STREAM: u32 = 1 << 31;

/// The classes of some streams, on one device.
#[derive(Debug)]
pub struct Streams {
    device: u32,
    classids: Vec<Handle>,
    rate: Rate,
    changes: AtomicU64,
}

impl Streams {
    /// So many classes, `1:fffe` and downwards, none ever narrower than `rate`, on `device` (its interface index).
    pub fn new(device: u32, count: u16, rate: Rate) -> Self {
        let minors = (0..count.min(LAST_MINOR)).map(|turn| LAST_MINOR - turn);
        let classids = minors.map(|minor| Handle::new(ROOT_QDISC.major(), minor)).collect();
        Self { device, classids, rate, changes: AtomicU64::new(0) }
    }

    /// The classes.
    pub fn classids(&self) -> &[Handle] {
        &self.classids
    }

    /// How often they were changed so far.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Requests that bring them about: `tc class add dev D parent 1: classid 1:fffe htb rate R`, and so on.
    pub fn setup(&self) -> Vec<Request> {
        let mut class = HtbClass::new(self.rate);
        class.quantum = Some(1_514);
        let add = |&classid| Request::AddClass {
            device: self.device,
            parent: ROOT_QDISC,
            classid,
            class: class.clone(),
        };
        self.classids.iter().map(add).collect()
    }

    /// The same workers, of whose changes every fourth is one of a class of these.
    pub fn among(self: &Arc<Self>, sources: Vec<Box<dyn Source>>, seed: u64) -> Vec<Box<dyn Source>> {
        if self.classids.is_empty() {
            return sources;
        }
        (0..)
            .zip(sources)
            .map(|(worker, inner)| {
                let rng = worker_rng(seed, STREAM | worker);
                let among = Among { inner, streams: Arc::clone(self), seen: 0, ours: false, rng };
                Box::new(among) as Box<dyn Source>
            })
            .collect()
    }

    /// `tc class change dev D classid 1:fffe htb rate … ceil … prio … quantum …`, of one of them. Its burst is what follows from its rate, so
    /// that a class that is to be narrow is.
    fn change(&self, rng: &mut ChaCha8Rng) -> Request {
        let classid = self.classids[rng.random_range(0..self.classids.len())];
        let wider = |rate: Rate, rng: &mut ChaCha8Rng| {
            let bits = rate.bits_per_second() as f64 * rng.random_range(1.0..2.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "positive, and saturates"
            )]
            let wider = Rate::from_bits_per_second(bits as u64).unwrap_or(rate);
            // Rounding must not make it narrower.
            if wider.bytes_per_second() < rate.bytes_per_second() { rate } else { wider }
        };
        let mut class = random_class(rng);
        class.rate = wider(self.rate, rng);
        class.ceil = wider(class.rate, rng);
        (class.burst, class.cburst) = (None, None);
        Request::ChangeClass { device: self.device, parent: Handle::UNSPEC, classid, class }
    }
}

/// A worker that changes those classes, too.
struct Among {
    inner: Box<dyn Source>,
    streams: Arc<Streams>,
    /// Changes so far.
    seen: u64,
    /// Whether the operation last yielded is of a class that packets flow through.
    ours: bool,
    rng: ChaCha8Rng,
}

impl Source for Among {
    fn next(&mut self) -> Option<Operation> {
        let operation = self.inner.next()?;
        self.ours = false;
        if operation.kind != OperationKind::ClassChange {
            return Some(operation);
        }
        self.seen += 1;
        self.ours = self.seen.is_multiple_of(EVERY);
        let ask = if self.ours { Ask::One(self.streams.change(&mut self.rng)) } else { operation.ask };
        Some(Operation { ask, ..operation })
    }

    fn settle(&mut self, succeeded: bool) {
        if self.ours && succeeded {
            self.streams.changes.fetch_add(1, Ordering::Relaxed);
        }
        // A change leaves a worker's books as they are, whatever class it was of.
        self.inner.settle(succeeded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load_profile::LoadProfile;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn they_are_changed_and_never_narrower_nor_taken_away() {
        let text = "schema_version = 1\nname = \"x\"\ndevices = 2\npopulation = 40\n\
                    [[stage]]\nduration = \"1s\"\nexecutor = \"closed\"\nusers = 3";
        let profile = LoadProfile::parse(text).unwrap();
        let scene = profile.scene(&[7, 8]).unwrap();
        let streams = Arc::new(Streams::new(7, 3, rate("10mbit")));
        let names: Vec<_> = streams.classids().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["1:fffe", "1:fffd", "1:fffc"]);
        let setup = streams.setup();
        assert_eq!(setup.len(), 3);
        for request in &setup {
            request.validate().unwrap();
        }
        let mut sources = streams.among(scene.sources, 1);
        let (mut changes, mut ours) = (0_u64, 0_u64);
        for step in 0..30_000 {
            let source = &mut sources[step % 3];
            let operation = source.next().unwrap();
            changes += u64::from(operation.kind == OperationKind::ClassChange);
            match operation.ask {
                Ask::One(ref request @ Request::ChangeClass { device, classid, ref class, .. })
                    if streams.classids().contains(&classid) =>
                {
                    ours += 1;
                    request.validate().unwrap();
                    assert_eq!((device, operation.kind), (7, OperationKind::ClassChange));
                    assert!(class.rate.bytes_per_second() >= rate("10mbit").bytes_per_second());
                    assert!(class.ceil.bytes_per_second() >= class.rate.bytes_per_second());
                }
                Ask::One(
                    Request::AddClass { classid, .. }
                    | Request::DeleteClass { classid, .. }
                    | Request::ChangeClass { classid, .. },
                ) => assert!(!streams.classids().contains(&classid), "{classid} is not the workload's"),
                _ => {}
            }
            source.settle(true);
        }
        assert_eq!(streams.changes(), ours);
        // Each of three workers is at most three changes short of its next turn.
        assert!(ours <= changes / 4 && ours + 3 > changes / 4, "{ours} of {changes}");
    }

    #[test]
    fn a_change_that_failed_is_none() {
        struct Changes;
        impl Source for Changes {
            fn next(&mut self) -> Option<Operation> {
                Some(Operation::of(
                    OperationKind::ClassChange,
                    Request::GetClass { device: 1, classid: Handle::new(1, 1) },
                ))
            }
            fn settle(&mut self, _: bool) {}
        }
        let streams = Arc::new(Streams::new(1, 1, rate("1mbit")));
        let mut sources = streams.among(vec![Box::new(Changes)], 1);
        for succeeded in [false, true] {
            for _ in 0..EVERY {
                sources[0].next();
                sources[0].settle(succeeded);
            }
        }
        assert_eq!(streams.changes(), 1);
    }
}
