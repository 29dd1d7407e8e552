//! Load: when requests are sent. The schedule is pure; the drivers keep to it.

mod alarm;
mod closed;
mod open;
mod pacer;
mod punctual;
mod ramp;
mod schedule;
mod users;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tc_adapter::{Answer, Checks, Client, Connection, Error};

pub use alarm::Alarm;
pub use closed::{Until, closed};
pub use open::open;
pub use punctual::be_prompt;
pub use ramp::Ramp;
pub use schedule::{Arrivals, Schedule};
pub use users::{Think, Users, users};

use crate::attribution::{Call, Calls};
use crate::record::Recorder;
use crate::workload::{Ask, Operation, Socket, Source};

/// Set once, by a signal: everybody stops after the request that is on its way.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks everybody to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the workers share.
#[derive(Clone)]
pub struct Crew {
    /// The client under load.
    pub client: Client,
    /// Where outcomes go; `None` while warming up.
    pub recorder: Option<Arc<Recorder>>,
    /// Where the requests' moments go, if anybody joins them with the kernel's.
    pub calls: Option<Arc<Calls>>,
    /// Ends it early.
    pub stop: Stop,
}

/// What came of a drive.
pub struct Driven {
    /// The workers' sources, for the next phase.
    pub sources: Vec<Box<dyn Source>>,
    /// Requests that were due and never sent.
    pub unsent: u64,
}

impl Crew {
    /// Keeps that a worker who was free began at `now` with what was due at `due`.
    fn began(&self, worker: usize, due: Instant, now: Instant) {
        if let Some(recorder) = &self.recorder {
            recorder.lagged(worker, now.saturating_duration_since(due));
        }
    }

    /// Sends one operation and keeps its outcome, with the latency from `since`.
    async fn perform(&self, worker: usize, source: &mut dyn Source, operation: &Operation, since: Instant) {
        let start = Instant::now();
        let outcome = self.ask(&operation.ask).await;
        let now = Instant::now();
        source.settle(outcome.is_ok());
        let Some(recorder) = &self.recorder else { return };
        match (outcome, operation.expects) {
            (Ok(answer), None) => {
                recorder.succeeded(worker, operation.kind, now - since, now);
                if let Some((calls, answer)) = self.calls.as_ref().zip(answer)
                    && let Some(timing) = answer.timing
                {
                    let (operation, sequence) = (operation.kind, answer.sequence);
                    calls.push(
                        worker,
                        Call { operation, sequence, due: since, start, timing: *timing, done: now },
                    );
                }
            }
            (Ok(_), Some(errno)) => recorder.unrefused(worker, errno, now),
            (Err(error), Some(errno)) if error.errno() == Some(errno) => {
                recorder.refused(worker, operation.kind, &error, now - since, now);
            }
            (Err(error), _) => recorder.failed(worker, &error, now),
        }
    }

    /// The answer, which a list does not have.
    async fn ask(&self, ask: &Ask) -> Result<Option<Answer>, Error> {
        match ask {
            Ask::One(request) => self.client.request_with(request, self.client.checks()).await.map(Some),
            Ask::Unchecked(request) => self.client.request_with(request, Checks::NONE).await.map(Some),
            Ask::Classes { device, socket: Socket::Shared } => {
                self.client.classes(*device).await.map(|_| None)
            }
            Ask::Filters { device, parent, socket: Socket::Shared } => {
                self.client.filters(*device, *parent).await.map(|_| None)
            }
            Ask::Classes { device, socket: Socket::Fresh } => {
                self.afresh(|connection| connection.classes(*device).map(drop)).map(|()| None)
            }
            Ask::Filters { device, parent, socket: Socket::Fresh } => {
                self.afresh(|connection| connection.filters(*device, *parent).map(drop)).map(|()| None)
            }
        }
    }

    /// Asks on a socket of its own, from opening to closing it. It blocks its thread meanwhile, as a list on the shared socket does, but
    /// keeps nobody else from asking.
    fn afresh(&self, ask: impl FnOnce(&mut Connection) -> Result<(), Error>) -> Result<(), Error> {
        let mut connection = Connection::connect()?;
        let port_id = connection.port_id();
        if let Some(calls) = &self.calls {
            calls.opened(port_id);
        }
        let answer = ask(&mut connection);
        drop(connection);
        if let Some(calls) = &self.calls {
            calls.closed(port_id);
        }
        answer
    }
}
