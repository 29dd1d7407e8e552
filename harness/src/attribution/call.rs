//! A request as its caller saw it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tc_adapter::Timing;

use crate::workload::OperationKind;

/// The moments of an answered request.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// What it was to its caller.
    pub operation: OperationKind,
    /// The number under which it was sent.
    pub sequence: u32,
    /// When it was due: its intended start in an open loop, else its start.
    pub due: Instant,
    /// When its worker began with it.
    pub start: Instant,
    /// In the adapter.
    pub timing: Timing,
    /// When its worker had the answer.
    pub done: Instant,
}

/// Where the workers put their calls, until they are joined. Each worker has a place of its own, whose lock nobody else wants but once
/// every few milliseconds.
#[derive(Debug)]
pub struct Calls {
    by_worker: Vec<Mutex<Vec<Call>>>,
    sockets: Mutex<Sockets>,
}

/// Port ids of sockets that requests have opened for themselves.
#[derive(Debug, Default)]
struct Sockets {
    /// How many requests use the number: the kernel gives it anew when it is free (`netlink_autobind` in `net/netlink/af_netlink.c`).
    used: HashMap<u32, u32>,
    /// Of these, the sockets that are closed, and whose events may not have been read yet.
    closed: Vec<u32>,
}

impl Calls {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        Self { by_worker: (0..workers).map(|_| Mutex::default()).collect(), sockets: Mutex::default() }
    }

    /// Puts a call of `worker` there.
    pub fn push(&self, worker: usize, call: Call) {
        self.by_worker[worker].lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }

    /// Takes what is there.
    pub fn take(&self, mut each: impl FnMut(Call)) {
        for worker in &self.by_worker {
            let taken = std::mem::take(&mut *worker.lock().unwrap_or_else(PoisonError::into_inner));
            taken.into_iter().for_each(&mut each);
        }
    }

    /// A request is about to be sent on a socket of its own: the kernel's side of it is one of these calls', too.
    pub fn opened(&self, port_id: u32) {
        *self.sockets().used.entry(port_id).or_default() += 1;
    }

    /// It was answered, so that the kernel's side of it can be read, and the socket is closed.
    pub fn closed(&self, port_id: u32) {
        self.sockets().closed.push(port_id);
    }

    /// Whether a socket is one of those.
    pub fn has_opened(&self, port_id: u32) -> bool {
        self.sockets().used.contains_key(&port_id)
    }

    /// Sockets that were closed since the last time. To be taken *before* the kernel's events are read, and forgotten afterwards.
    pub fn take_closed(&self) -> Vec<u32> {
        std::mem::take(&mut self.sockets().closed)
    }

    /// All events of these were read.
    pub fn forget(&self, closed: &[u32]) {
        let mut sockets = self.sockets();
        for port_id in closed {
            if let Some(uses) = sockets.used.get_mut(port_id) {
                *uses -= 1;
                if *uses == 0 {
                    sockets.used.remove(port_id);
                }
            }
        }
    }

    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_known_until_its_events_were_read() {
        let calls = Calls::new(1);
        calls.opened(7);
        assert!(calls.has_opened(7) && !calls.has_opened(8));
        assert!(calls.take_closed().is_empty(), "it is still open");
        calls.closed(7);
        let closed = calls.take_closed();
        assert_eq!(closed, [7]);
        assert!(calls.has_opened(7), "its events may be read now");
        // The kernel gives the number to the next one before they are.
        calls.opened(7);
        calls.forget(&closed);
        assert!(calls.has_opened(7), "this is the next one's");
        calls.closed(7);
        calls.forget(&calls.take_closed());
        assert!(!calls.has_opened(7));
        assert!(calls.sockets().used.is_empty() && calls.sockets().closed.is_empty(), "nothing piles up");
    }
}
