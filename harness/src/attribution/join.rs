//! Both sides of a request find each other.

use std::collections::{HashMap, VecDeque};

use ebpf_loader::{RequestEvent, SampleEvent};

use super::Call;

/// What names a request: the socket's port id and the request's sequence number.
pub type Key = (u32, u32);

/// The kernel's side of a request, with the samples of its thread where those were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kernel {
    /// As the probes told it.
    pub event: RequestEvent,
    /// In the order of their times.
    pub samples: Vec<SampleEvent>,
}

/// Halves that wait for their other half. Whichever comes last completes a request.
#[derive(Debug, Default)]
pub struct Join {
    calls: HashMap<Key, Call>,
    events: HashMap<Key, Kernel>,
    /// Events as they came, to find the oldest. Those that were joined meanwhile are forgotten from time to time.
    order: VecDeque<Key>,
}

/// Events that wait at most. A request that fails is no call, and its event would wait for ever; all others are joined within
/// milliseconds.
const MOST_EVENTS: usize = 1 << 16;

/// So many are not worth looking for.
const FEW: usize = 256;

impl Join {
    /// The caller's side.
    pub fn call(&mut self, port_id: u32, call: Call) -> Option<(Call, Kernel)> {
        let key = (port_id, call.sequence);
        if let Some(event) = self.events.remove(&key) {
            return Some((call, event));
        }
        self.calls.insert(key, call);
        None
    }

    /// The kernel's side.
    pub fn event(&mut self, kernel: Kernel) -> Option<(Call, Kernel)> {
        let key = (kernel.event.port_id, kernel.event.sequence);
        if let Some(call) = self.calls.remove(&key) {
            return Some((call, kernel));
        }
        if self.order.len() > 2 * self.events.len() + FEW {
            self.order.retain(|key| self.events.contains_key(key));
        }
        while self.order.len() >= MOST_EVENTS {
            if let Some(oldest) = self.order.pop_front() {
                self.events.remove(&oldest);
            }
        }
        self.events.insert(key, kernel);
        self.order.push_back(key);
        None
    }

    /// Calls of which the probes told nothing: their events were lost. Whatever else waits is forgotten.
    pub fn end(&mut self) -> Vec<Call> {
        self.events.clear();
        self.order.clear();
        self.calls.drain().map(|(_, call)| call).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::phase::tests::call;

    fn event(port_id: u32, sequence: u32) -> Kernel {
        let event = RequestEvent { port_id, sequence, ..RequestEvent::default() };
        Kernel { event, samples: Vec::new() }
    }

    #[test]
    fn whichever_side_comes_last_completes_the_request_once() {
        let mut join = Join::default();
        assert!(join.event(event(9, 1)).is_none());
        assert!(join.call(9, call(2)).is_none());
        assert_eq!(join.event(event(9, 2)).unwrap().0.sequence, 2);
        assert_eq!(join.call(9, call(1)).unwrap().1.event.sequence, 1);
        assert!(join.event(event(9, 1)).is_none(), "once");
    }

    #[test]
    fn what_was_joined_is_not_remembered() {
        let mut join = Join::default();
        assert!(join.event(event(9, 1)).is_none(), "of one that nobody will ask for");
        for sequence in 2..10_000 {
            assert!(join.event(event(9, sequence)).is_none());
            assert!(join.call(9, call(sequence)).is_some());
            assert!(join.order.len() <= FEW + 4, "{}", join.order.len());
        }
        assert_eq!((join.events.len(), join.calls.len()), (1, 0));
    }

    #[test]
    fn another_sockets_request_is_another_request() {
        let mut join = Join::default();
        assert!(join.event(event(8, 1)).is_none());
        assert!(join.call(9, call(1)).is_none());
        assert_eq!(join.end().len(), 1);
        assert!(join.call(8, call(1)).is_none(), "forgotten");
    }

    #[test]
    fn events_that_nobody_wants_do_not_pile_up() {
        let mut join = Join::default();
        for sequence in 0..2 * u32::try_from(MOST_EVENTS).unwrap() {
            join.event(event(9, sequence));
        }
        assert_eq!((join.events.len(), join.order.len()), (MOST_EVENTS, MOST_EVENTS));
        assert!(join.call(9, call(0)).is_none());
        assert!(join.call(9, call(2 * u32::try_from(MOST_EVENTS).unwrap() - 1)).is_some());
    }
}
