//! Hierarchies are sent parents first, in whatever order they were submitted. Pure.
//!
//! Only what adds (or replaces) classes and adds qdiscs is moved, and only where that can turn a failure into a success and nothing
//! else: among the requests for one device, between two that take something away. Those that name the same class, or hang
//! something on the same class, keep their order.

use std::collections::HashMap;

use crate::handle::Handle;
use crate::message::MessageType;
use crate::packet::{Act, Subject};
use crate::request::Request;

/// What the order depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    operation: MessageType,
    act: Act,
    device: u32,
    handle: Handle,
    parent: Handle,
}

impl From<&Request> for Step {
    fn from(request: &Request) -> Self {
        Self {
            operation: request.message_type(),
            act: request.act(),
            device: request.device(),
            handle: request.handle(),
            parent: request.parent(),
        }
    }
}

impl From<&Subject> for Step {
    fn from(subject: &Subject) -> Self {
        let Subject { operation, act, device, handle, parent, .. } = *subject;
        Self { operation, act, device, handle, parent }
    }
}

impl Step {
    fn makes_class(&self) -> bool {
        self.operation == MessageType::NewClass && matches!(self.act, Act::Add | Act::Replace)
    }

    fn makes_qdisc(&self) -> bool {
        self.operation == MessageType::NewQdisc && self.act == Act::Add
    }

    fn is_filter(&self) -> bool {
        matches!(self.operation, MessageType::NewFilter | MessageType::GetFilter)
    }

    /// Whether what comes after it must not come before it.
    fn is_barrier(&self) -> bool {
        match self.operation {
            MessageType::DelClass | MessageType::DelQdisc | MessageType::DelFilter => true,
            MessageType::NewQdisc => self.act != Act::Add,
            _ => false,
        }
    }

    /// The parent, where it is a class.
    fn parent_class(&self) -> Option<Handle> {
        let hangs = self.makes_class() || self.makes_qdisc() || self.is_filter();
        // The major of ingress, clsact and their hooks, and of the root, is ffff.
        Some(self.parent).filter(|parent| hangs && parent.major() != u16::MAX && parent.minor() != 0)
    }

    /// What it brings about, if anything.
    fn makes(&self) -> Option<Handle> {
        Some(self.handle).filter(|made| *made != Handle::UNSPEC && (self.makes_class() || self.makes_qdisc()))
    }

    /// The class and the qdisc that must be there before it.
    fn needs(&self) -> [Option<Handle>; 2] {
        let qdisc = if self.makes_class() {
            Some(self.handle.of_qdisc())
        } else if self.is_filter() {
            Some(self.parent.of_qdisc())
        } else {
            None
        };
        [self.parent_class(), qdisc]
    }

    /// In which respects it keeps its place among others: the class that it is about, and where it hangs something.
    fn keys(&self) -> [Option<Key>; 2] {
        let class = matches!(self.operation, MessageType::NewClass | MessageType::GetClass);
        let under = if self.makes_qdisc() {
            Some(self.parent)
        } else {
            self.parent_class().filter(|_| self.makes_class())
        };
        [Some(Key::Class(self.handle)).filter(|_| class), under.map(Key::Under)]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Class(Handle),
    Under(Handle),
}

/// The requests for one device between two barriers.
type Run = (u32, u32);

#[derive(Clone, Copy, Debug, Default)]
struct Edges {
    /// Comes not after it.
    after: [Option<usize>; 2],
    /// Makes what it needs, and comes before it.
    needs: [Option<usize>; 2],
}

/// The order in which to send the steps, where it is another one than theirs.
pub(crate) fn parents_first<T>(items: &[T]) -> Option<Vec<usize>>
where
    for<'a> Step: From<&'a T>,
{
    let is_tree = |step: Step| step.makes_qdisc() || step.parent_class().is_some();
    if items.len() < 2 || !items.iter().any(|item| is_tree(Step::from(item))) {
        return None;
    }
    let steps: Vec<Step> = items.iter().map(Step::from).collect();
    let runs = runs(&steps);
    let edges = edges(&steps, &runs);
    let mut late: HashMap<Run, u32> = edges
        .iter()
        .enumerate()
        .filter(|(index, edges)| edges.needs.iter().flatten().any(|maker| maker > index))
        .map(|(index, _)| (runs[index], 0))
        .collect();
    if late.is_empty() {
        return None;
    }
    let mut levels = levels(&edges);
    for (index, step) in steps.iter().enumerate() {
        match late.get_mut(&runs[index]) {
            None => levels[index] = 0,
            // A filter comes after all that came before it: it may point to any of the classes.
            Some(highest) if step.is_filter() => {
                *highest = levels[index].max(*highest);
                levels[index] = *highest;
            }
            Some(highest) => *highest = levels[index].max(*highest),
        }
    }
    let mut order: Vec<usize> = (0..steps.len()).collect();
    // Devices are independent of each other.
    order.sort_by_key(|&index| (runs[index].1, levels[index]));
    Some(order)
}

/// The run of each step; a barrier has one of its own.
fn runs(steps: &[Step]) -> Vec<Run> {
    let mut counts: HashMap<u32, u32> = HashMap::new();
    let run = |step: &Step| {
        let count = counts.entry(step.device).or_default();
        if !step.is_barrier() {
            return (step.device, *count);
        }
        *count += 2;
        (step.device, *count - 1)
    };
    steps.iter().map(run).collect()
}

fn edges(steps: &[Step], runs: &[Run]) -> Vec<Edges> {
    let mut makers: HashMap<(Run, Handle), usize> = HashMap::new();
    for (index, (step, run)) in steps.iter().zip(runs).enumerate() {
        if let Some(made) = step.makes() {
            makers.entry((*run, made)).or_insert(index);
        }
    }
    let mut last: HashMap<(Run, Key), usize> = HashMap::new();
    steps
        .iter()
        .zip(runs)
        .enumerate()
        .map(|(index, (step, run))| Edges {
            after: step.keys().map(|key| key.and_then(|key| last.insert((*run, key), index))),
            needs: step
                .needs()
                .map(|needed| makers.get(&(*run, needed?)).copied().filter(|maker| *maker != index)),
        })
        .collect()
}

/// How many that are needed come one before the other. In a circle, one of its edges does not count.
fn levels(edges: &[Edges]) -> Vec<u32> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut states = vec![State::New; edges.len()];
    let mut levels = vec![0; edges.len()];
    let mut stack = Vec::new();
    for start in 0..edges.len() {
        stack.push(start);
        while let Some(&index) = stack.last() {
            let Edges { after, needs } = edges[index];
            if states[index] == State::New {
                states[index] = State::Open;
                let before = after.into_iter().chain(needs).flatten();
                stack.extend(before.filter(|&other| states[other] == State::New));
                continue;
            }
            stack.pop();
            // It may be on the stack for several.
            if states[index] == State::Open {
                states[index] = State::Done;
                let above =
                    |other: usize, step| if states[other] == State::Done { levels[other] + step } else { 0 };
                let after = after.into_iter().flatten().map(|other| above(other, 0));
                let needs = needs.into_iter().flatten().map(|other| above(other, 1));
                levels[index] = after.chain(needs).max().unwrap_or(0);
            }
        }
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use crate::htb::{HtbClass, HtbQdisc};
    use proptest::prelude::*;

    const QDISC: Handle = Handle::qdisc(1);

    fn class(minor: u16) -> Handle {
        Handle::new(1, minor)
    }

    fn settings() -> HtbClass {
        HtbClass::new("8mbit".parse().unwrap())
    }

    fn on(device: u32, parent: Handle, minor: u16) -> Request {
        Request::AddClass { device, parent, classid: class(minor), class: settings() }
    }

    fn add(parent: Handle, minor: u16) -> Request {
        on(1, parent, minor)
    }

    fn replace(parent: Handle, minor: u16) -> Request {
        Request::ReplaceClass { device: 1, parent, classid: class(minor), class: settings() }
    }

    fn change(minor: u16) -> Request {
        let (parent, classid) = (Handle::UNSPEC, class(minor));
        Request::ChangeClass { device: 1, parent, classid, class: settings() }
    }

    fn delete(minor: u16) -> Request {
        Request::DeleteClass { device: 1, classid: class(minor) }
    }

    fn qdisc(parent: Handle, major: u16) -> Request {
        let (handle, qdisc) = (Handle::qdisc(major), HtbQdisc::new().into());
        Request::AddQdisc { device: 1, parent, handle, qdisc }
    }

    fn filter(parent: Handle) -> Request {
        let filter: Filter = serde_json::from_str(r#"{"kind": "fw", "handle": 1}"#).unwrap();
        Request::AddFilter { device: 1, parent, filter: Box::new(filter) }
    }

    fn order(requests: &[Request]) -> Vec<usize> {
        parents_first(requests).unwrap_or_else(|| (0..requests.len()).collect())
    }

    #[test]
    fn what_is_in_order_stays_as_it_is() {
        for requests in [
            vec![],
            vec![add(class(1), 2)],
            vec![change(3), change(1), change(2)],
            vec![add(QDISC, 2), add(QDISC, 1), delete(1)],
            // Depth first, and under classes that are there already.
            vec![qdisc(Handle::ROOT, 1), add(QDISC, 1), add(class(1), 2), add(class(9), 3), add(class(1), 4)],
        ] {
            assert_eq!(parents_first(&requests), None, "{requests:?}");
        }
    }

    #[test]
    fn a_tree_upside_down_is_turned() {
        let requests = [
            filter(class(1)),
            qdisc(class(3), 3),
            Request::AddClass {
                device: 1,
                parent: Handle::qdisc(3),
                classid: Handle::new(3, 1),
                class: settings(),
            },
            add(class(2), 3),
            replace(class(1), 2),
            add(QDISC, 1),
            add(QDISC, 4),
            qdisc(Handle::ROOT, 1),
        ];
        assert_eq!(order(&requests), [7, 5, 6, 0, 4, 3, 1, 2]);
    }

    #[test]
    fn what_takes_away_is_not_passed() {
        for barrier in [
            delete(1),
            Request::DeleteQdisc { device: 1, parent: Handle::ROOT, handle: QDISC },
            Request::ReplaceQdisc {
                device: 1,
                parent: class(5),
                handle: QDISC,
                qdisc: HtbQdisc::new().into(),
            },
        ] {
            assert_eq!(parents_first(&[add(class(1), 2), barrier.clone(), add(QDISC, 1)]), None);
            // Each side for itself, and other devices anyway.
            let requests = [
                add(class(1), 2),
                add(QDISC, 1),
                on(2, class(1), 2),
                barrier,
                add(class(3), 4),
                add(QDISC, 3),
                on(2, QDISC, 1),
            ];
            let order = order(&requests);
            let at = |index| order.iter().position(|other| *other == index).unwrap();
            assert!(
                [(1, 0), (0, 3), (3, 5), (5, 4), (6, 2)].into_iter().all(|(a, b)| at(a) < at(b)),
                "{order:?}"
            );
        }
    }

    #[test]
    fn requests_for_the_same_class_or_place_keep_their_order() {
        for (requests, expected) in [
            // It is changed before it is replaced, with the last settings winning.
            (vec![add(class(1), 2), change(1), replace(QDISC, 1), replace(QDISC, 1)], vec![1, 2, 3, 0]),
            // Of two that want the same place the first gets it.
            (
                vec![
                    Request::AddClass {
                        device: 1,
                        parent: Handle::qdisc(2),
                        classid: Handle::new(2, 1),
                        class: settings(),
                    },
                    qdisc(Handle::ROOT, 1),
                    qdisc(Handle::ROOT, 2),
                ],
                vec![1, 2, 0],
            ),
            // A qdisc in a class, and then a child of that class, which would destroy it.
            (vec![add(class(2), 3), qdisc(class(1), 5), add(class(1), 2), add(QDISC, 1)], vec![3, 1, 2, 0]),
            // A filter stays behind the classes that it may point to.
            (vec![add(class(1), 2), filter(QDISC), add(QDISC, 1)], vec![2, 0, 1]),
        ] {
            assert_eq!(order(&requests), expected, "{requests:?}");
        }
    }

    #[test]
    fn circles_end() {
        for requests in [
            vec![add(class(2), 1), add(class(1), 2)],
            vec![add(class(1), 1), add(class(1), 2)],
            vec![add(class(2), 1), add(class(3), 2), add(class(1), 3), add(class(3), 4), qdisc(class(4), 1)],
        ] {
            let mut order = order(&requests);
            order.sort_unstable();
            assert_eq!(order, (0..requests.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let chain: Vec<_> = (2..=u16::MAX).rev().map(|minor| add(class(minor - 1), minor)).collect();
        assert_eq!(order(&chain), (0..chain.len()).rev().collect::<Vec<_>>());
    }

    prop_compose! {
        /// A forest: each class under an earlier one, or (index 0) under the qdisc, in any order.
        fn forests()(parents in prop::collection::vec(any::<prop::sample::Index>(), 1..60))(
            forest in Just((1..).zip(&parents).map(|(minor, parent)| (minor, parent.index(usize::from(minor)))).collect::<Vec<_>>()).prop_shuffle(),
        ) -> Vec<(u16, u16)> {
            forest.into_iter().map(|(minor, parent)| (minor, u16::try_from(parent).unwrap())).collect()
        }
    }

    proptest! {
        #[test]
        fn parents_come_first(forest in forests(), replaces: bool) {
            let requests: Vec<_> = forest
                .iter()
                .map(|&(minor, parent)| if replaces { replace(class(parent), minor) } else { add(class(parent), minor) })
                .collect();
            let order = order(&requests);
            let mut made = std::collections::HashSet::from([0]);
            for index in order {
                let (minor, parent) = forest[index];
                prop_assert!(made.contains(&parent), "{minor} before {parent}");
                prop_assert!(made.insert(minor));
            }
            prop_assert_eq!(made.len(), forest.len() + 1);
        }
    }
}
