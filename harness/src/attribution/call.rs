//! A request as its caller saw it.

use std::sync::{Mutex, PoisonError};
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
pub struct Calls(Vec<Mutex<Vec<Call>>>);

impl Calls {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Mutex::default()).collect())
    }

    /// Puts a call of `worker` there.
    pub fn push(&self, worker: usize, call: Call) {
        self.0[worker].lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }

    /// Takes what is there.
    pub fn take(&self, mut each: impl FnMut(Call)) {
        for worker in &self.0 {
            let taken = std::mem::take(&mut *worker.lock().unwrap_or_else(PoisonError::into_inner));
            taken.into_iter().for_each(&mut each);
        }
    }
}
