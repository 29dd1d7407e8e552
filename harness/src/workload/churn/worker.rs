//! One worker, and those of the subscribers that are its own.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tc_adapter::{Handle, HtbClass, Rate, Request};

use super::estate::Subscriber;
use crate::workload::{Ask, Mix, Operation, OperationKind, Socket, Source};

/// One in so many subscribers of a worker may be away at a time; one at least.
const AWAY: usize = 20;

/// A change leaves so much of what the file says, in hundredths.
const SHARES: std::ops::RangeInclusive<u64> = 10..=100;

/// A subscriber on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// A worker's subscribers, those that stand and those that do not.
pub(super) struct Worker {
    /// With how many of the requests that bring it have been carried out.
    subscribers: Vec<(Subscriber, usize)>,
    /// Those that stand, all of each.
    present: Vec<usize>,
    /// Those of which something, or all, is missing.
    absent: Vec<usize>,
    lowest: usize,
    weights: Mix,
    rng: ChaCha8Rng,
    /// Who is joining or leaving, request after request: its place in `absent` or `present`.
    under_way: Option<(Way, usize)>,
    /// How many of the requests that bring it will have been carried out when the operation last yielded succeeds.
    pending: Option<usize>,
}

impl Worker {
    /// All subscribers stand.
    pub(super) fn new(subscribers: Vec<Subscriber>, weights: Mix, rng: ChaCha8Rng) -> Self {
        let all = subscribers.len();
        let subscribers: Vec<_> = subscribers
            .into_iter()
            .map(|subscriber| {
                let whole = subscriber.whole();
                (subscriber, whole)
            })
            .collect();
        Self {
            subscribers,
            present: (0..all).collect(),
            absent: Vec::new(),
            lowest: all - all.div_ceil(AWAY),
            weights,
            rng,
            under_way: None,
            pending: None,
        }
    }

    /// Holds the population: when nobody is away joining becomes leaving, when enough are it becomes joining, and where nobody stands
    /// there is nothing to change or to read.
    fn hold(&self, drawn: OperationKind) -> OperationKind {
        match drawn {
            OperationKind::ClassCreate if self.absent.is_empty() => OperationKind::ClassDelete,
            OperationKind::ClassDelete if self.present.len() <= self.lowest => OperationKind::ClassCreate,
            _ if self.present.is_empty() => OperationKind::ClassCreate,
            drawn => drawn,
        }
    }

    /// The next request of who is under way; `None`, and nobody is any more, where that one has nothing left to do.
    fn step(&mut self) -> Option<Operation> {
        let (way, place) = self.under_way?;
        let list = if way == Way::In { &self.absent } else { &self.present };
        let (subscriber, standing) = &self.subscribers[list[place]];
        let (operation, after) = match way {
            Way::In => (subscriber.join(*standing)?.clone(), standing + 1),
            Way::Out => {
                let (operation, undoes) = subscriber.leave(*standing)?;
                (operation, standing - undoes)
            }
        };
        self.pending = Some(after);
        Some(operation)
    }

    /// An operation that leaves everybody where they are.
    fn look(&mut self, kind: OperationKind) -> Operation {
        let place = self.rng.random_range(0..self.present.len());
        let (Subscriber { device, classid, class, most, filtered_at, .. }, _) =
            &self.subscribers[self.present[place]];
        let (device, classid, parent) = (*device, *classid, *filtered_at);
        let ask = match kind {
            OperationKind::ClassChange => {
                // Without a parent there is nothing for the adapter to verify.
                let parent = Handle::UNSPEC;
                let to = |class| Request::ChangeClass { device, parent, classid, class };
                let change = to(shared(class, *most, self.rng.random_range(SHARES)));
                // At a tenth of its rate the file's burst may take longer than HTB can count.
                Ask::One(if change.validate().is_ok() { change } else { to(class.clone()) })
            }
            OperationKind::ClassDump | OperationKind::ClassDumpCold => {
                Ask::Classes { device, socket: Socket::of(kind) }
            }
            OperationKind::FilterDump | OperationKind::FilterDumpCold => {
                Ask::Filters { device, parent, socket: Socket::of(kind) }
            }
            _ => Ask::One(Request::GetClass { device, classid }),
        };
        Operation { kind, ask, expects: None }
    }
}

impl Source for Worker {
    fn next(&mut self) -> Option<Operation> {
        if self.subscribers.is_empty() {
            return None;
        }
        if self.under_way.is_none() {
            let drawn = self.weights.drawn(self.rng.random_range(0..self.weights.total()));
            let (way, list) = match self.hold(drawn) {
                OperationKind::ClassCreate => (Way::In, &self.absent),
                OperationKind::ClassDelete => (Way::Out, &self.present),
                kind => return Some(self.look(kind)),
            };
            self.under_way = Some((way, self.rng.random_range(0..list.len())));
        }
        self.step()
    }

    /// A refusal ends a way where it is. Who was leaving, and has lost something, is one who may join again.
    fn settle(&mut self, succeeded: bool) {
        let Some(((way, place), after)) = self.under_way.zip(self.pending.take()) else { return };
        let index = if way == Way::In { self.absent[place] } else { self.present[place] };
        let (subscriber, standing) = &mut self.subscribers[index];
        if succeeded {
            *standing = after;
        }
        let whole = *standing == subscriber.whole();
        let arrived = if way == Way::In { whole } else { *standing == 0 };
        if succeeded && !arrived {
            return;
        }
        self.under_way = None;
        match way {
            Way::In if whole => self.present.push(self.absent.swap_remove(place)),
            Way::Out if !whole => self.absent.push(self.present.swap_remove(place)),
            Way::In | Way::Out => {}
        }
    }
}

/// A class with so many hundredths of its rate and its ceil, and neither above `most`.
fn shared(class: &HtbClass, most: Option<Rate>, hundredths: u64) -> HtbClass {
    let share = |rate: Rate| {
        let bytes = u128::from(rate.bytes_per_second()) * u128::from(hundredths) / 100;
        let shared = u64::try_from(bytes).ok().and_then(|bytes| Rate::from_bytes_per_second(bytes).ok());
        // Of a byte per second there is no half.
        let shared = shared.unwrap_or(rate);
        most.map_or(shared, |most| shared.min(most))
    };
    let rate = share(class.rate);
    HtbClass { rate, ceil: share(class.ceil).max(rate), ..class.clone() }
}
