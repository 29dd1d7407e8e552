//! The kernel's side of a window: every request's event, and samples of kernel stacks.
//!
//! `record::KernelCollector` follows one socket and keeps histograms; here each worker has a socket of its own, and phases are
//! joined with the size at which they were seen.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ebpf_loader::{Options, Probes, RequestEvent, SampleSet};
use tc_adapter::MessageType;

use crate::exit::Failure;
use crate::probes::{Choice, describe, off};
use crate::report::model;

/// As in `record`: a reader that sleeps until it is woken costs the load three times its speed.
const DRAIN_EVERY: Duration = Duration::from_millis(5);

/// The attach point of kernel stack sampling, as the loader's report names it.
const SAMPLER: &str = "perf_event:cpu-clock";

/// Ten times as often as `bench`, for a window is over in a tenth of a second. A prime, so as not to march in step with timers.
const SAMPLE_HZ: u64 = 1_999;

/// What adds, changes and deletes classes. The adapter may ask for a class besides.
const MEASURED: [u16; 2] = [MessageType::NewClass.value(), MessageType::DelClass.value()];

/// Owns the probes, and reads them on a thread of its own.
pub(super) struct Observer {
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    reader: Option<thread::JoinHandle<()>>,
    pub(super) measures_rtnl_wait: bool,
    pub(super) measures_off_cpu: bool,
    samples: bool,
}

struct State {
    probes: Probes,
    /// Whose requests are kept; none between windows.
    ports: HashSet<u32>,
    events: Vec<RequestEvent>,
}

/// What was seen of a window.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) events: Vec<RequestEvent>,
    /// Kernel stacks, where they can be sampled.
    pub(super) samples: Option<SampleSet>,
}

/// The observer if there is one, and what the result says of it.
pub(super) fn attach(choice: Choice) -> Result<(Option<Observer>, model::Probes), Failure> {
    if choice == Choice::Off {
        return Ok((None, off("--probes off")));
    }
    let options =
        Options { kind: choice.kind(), in_parts: false, sample_hz: Some(SAMPLE_HZ), ..Options::default() };
    match Probes::attach(&options) {
        Ok(probes) => {
            let report = describe(&probes, choice);
            Ok((Some(Observer::start(probes)?), report))
        }
        Err(unavailable) if choice == Choice::Auto => Ok((None, off(&unavailable.to_string()))),
        Err(unavailable) => Err(Failure::environment(format!("--probes {}: {unavailable}", choice.name()))),
    }
}

impl Observer {
    fn start(probes: Probes) -> Result<Self, Failure> {
        let report = probes.report();
        let (measures_rtnl_wait, measures_off_cpu) = (report.measures_rtnl_wait(), report.measures_off_cpu());
        let samples = report.attached(SAMPLER);
        let state = State { probes, ports: HashSet::new(), events: Vec::new() };
        let (state, stop) = (Arc::new(Mutex::new(state)), Arc::new(AtomicBool::new(false)));
        let reader = thread::Builder::new()
            .name("qdiscope-events".into())
            .spawn({
                let (state, stop) = (Arc::clone(&state), Arc::clone(&stop));
                move || {
                    while !stop.load(Ordering::Relaxed) {
                        lock(&state).drain();
                        thread::sleep(DRAIN_EVERY);
                    }
                }
            })
            .map_err(|error| Failure::internal(format!("start the event reader: {error}")))?;
        Ok(Self { state, stop, reader: Some(reader), measures_rtnl_wait, measures_off_cpu, samples })
    }

    /// From now on the requests of these sockets count.
    pub(super) fn begin(&self, ports: impl IntoIterator<Item = u32>, stacks: bool) -> Result<(), Failure> {
        let mut state = lock(&self.state);
        state.drain();
        state.ports = ports.into_iter().collect();
        if stacks && self.samples {
            state.probes.start_sampling().map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// What was seen since. All requests have been answered, so all events are there.
    pub(super) fn end(&self, stacks: bool) -> Result<Seen, Failure> {
        let mut state = lock(&self.state);
        let samples = if stacks && self.samples {
            Some(state.probes.stop_sampling().map_err(|error| failed(&error))?)
        } else {
            None
        };
        state.drain();
        state.ports.clear();
        Ok(Seen { events: std::mem::take(&mut state.events), samples })
    }
}

impl State {
    fn drain(&mut self) {
        let Self { probes, ports, events, .. } = self;
        probes.drain(|event, _| {
            if ports.contains(&event.port_id) && MEASURED.contains(&event.message_type) {
                events.push(*event);
            }
        });
        probes.flush_diagnostics();
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(error: &ebpf_loader::Error) -> Failure {
    Failure::internal(format!("read the probes: {error}; --probes off runs without them"))
}
