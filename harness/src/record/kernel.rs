//! The kernel's side of a workload: events from the probes, by message type.

use std::collections::BTreeMap;
use std::os::unix::thread::JoinHandleExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ebpf_loader::{Probes, RequestEvent, SampleSet};
use hdrhistogram::Histogram;
use nix::time::{ClockId, clock_gettime};
use tc_adapter::MessageType;

use super::{nanoseconds, percentiles, record};
use crate::report::model::KernelPhases;

/// How often the ring buffer is emptied. A reader that sleeps in poll until it is woken costs the load
/// three times its speed: the kernel then sends an interrupt for each event.
const DRAIN_EVERY: Duration = Duration::from_millis(5);

/// The attach point of kernel stack sampling, as the loader's report names it.
const SAMPLER: &str = "perf_event:cpu-clock";

/// What a workload's requests are.
const MEASURED_TYPES: [MessageType; 5] = [
    MessageType::NewQdisc,
    MessageType::DelQdisc,
    MessageType::NewClass,
    MessageType::DelClass,
    MessageType::GetClass,
];

/// The requests that count: those of one socket after a given sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The socket's netlink port id.
    pub port_id: u32,
    /// The last sequence number before the window.
    pub after_sequence: u32,
}

impl Window {
    fn holds(self, event: &RequestEvent) -> bool {
        // Sequence numbers wrap; half the circle lies ahead.
        let ahead = event.sequence.wrapping_sub(self.after_sequence);
        event.port_id == self.port_id && ahead != 0 && ahead < u32::MAX / 2
    }
}

/// Where requests of each message type spent their time.
#[derive(Debug, Clone, Default)]
pub struct KernelFigures {
    /// By the message type's name, e.g. `RTM_NEWTCLASS`.
    pub phases: BTreeMap<String, KernelPhases>,
    /// Requests reported, over all types.
    pub seen: u64,
    /// At most so many requests were lost, by the probes' own counters.
    pub lost_at_most: u64,
}

/// Which phases the attached probes tell apart; the others are absent, not zero.
#[derive(Clone, Copy)]
struct Measures {
    rtnl_wait: bool,
    off_cpu: bool,
}

impl Measures {
    fn of(probes: &Probes) -> Self {
        let report = probes.report();
        Self { rtnl_wait: report.measures_rtnl_wait(), off_cpu: report.measures_off_cpu() }
    }
}

struct Phases {
    syscall: Histogram<u64>,
    rtnl_wait: Histogram<u64>,
    off_cpu: Histogram<u64>,
    on_cpu: Histogram<u64>,
}

impl Phases {
    fn new() -> Self {
        Self {
            syscall: nanoseconds(),
            rtnl_wait: nanoseconds(),
            off_cpu: nanoseconds(),
            on_cpu: nanoseconds(),
        }
    }

    fn record(&mut self, event: &RequestEvent) {
        let on_cpu = event.syscall_ns.saturating_sub(event.rtnl_wait_ns).saturating_sub(event.off_cpu_ns);
        record(&mut self.syscall, event.syscall_ns);
        record(&mut self.rtnl_wait, event.rtnl_wait_ns);
        record(&mut self.off_cpu, event.off_cpu_ns);
        record(&mut self.on_cpu, on_cpu);
    }

    fn figures(&self, measures: Measures) -> Option<KernelPhases> {
        let if_measured = |measured: bool, histogram| if measured { percentiles(histogram) } else { None };
        Some(KernelPhases {
            syscall: percentiles(&self.syscall)?,
            rtnl_wait: if_measured(measures.rtnl_wait, &self.rtnl_wait),
            // Without the RTNL wait, sleeping for RTNL is off CPU and the probes count it there.
            off_cpu: if_measured(measures.off_cpu, &self.off_cpu),
            on_cpu: if_measured(measures.rtnl_wait && measures.off_cpu, &self.on_cpu),
        })
    }
}

struct State {
    probes: Probes,
    window: Option<Window>,
    by_type: BTreeMap<u16, Phases>,
    lost_before: u64,
}

impl State {
    fn drain(&mut self) {
        let Self { probes, window, by_type, .. } = self;
        probes.drain(|event| {
            if window.is_some_and(|window| window.holds(event)) {
                by_type.entry(event.message_type).or_insert_with(Phases::new).record(event);
            }
        });
        probes.flush_diagnostics();
    }

    fn samples(&self) -> bool {
        self.probes.report().attached(SAMPLER)
    }

    fn lost(&self) -> Result<u64, ebpf_loader::Error> {
        self.probes.counters().map(|counters| counters.lost())
    }
}

/// Owns the probes and reads their events on a thread of its own.
pub struct KernelCollector {
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl KernelCollector {
    /// Starts reading.
    pub fn start(probes: Probes) -> std::io::Result<Self> {
        let state = State { probes, window: None, by_type: BTreeMap::new(), lost_before: 0 };
        let state = Arc::new(Mutex::new(state));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("qdiscope-events".into()).spawn({
            let (state, stop) = (Arc::clone(&state), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    lock(&state).drain();
                    thread::sleep(DRAIN_EVERY);
                }
            }
        })?;
        Ok(Self { state, stop, thread: Some(thread) })
    }

    /// Forgets what was seen, and begins a workload.
    pub fn begin(&self) -> Result<(), ebpf_loader::Error> {
        let mut state = lock(&self.state);
        state.drain();
        state.by_type.clear();
        state.window = None;
        state.lost_before = state.lost()?;
        Ok(())
    }

    /// Counts the requests of `window` from now on, on top of those of earlier windows, which have all been answered.
    pub fn watch(&self, window: Window) {
        let mut state = lock(&self.state);
        state.drain();
        state.window = Some(window);
    }

    /// Takes sampled kernel stacks from now on, where this kernel lets them be taken: requests can be followed
    /// without, and the report says which of the two is attached.
    pub fn start_sampling(&self) -> Result<(), ebpf_loader::Error> {
        let mut state = lock(&self.state);
        if state.samples() { state.probes.start_sampling() } else { Ok(()) }
    }

    /// The kernel stacks sampled since [`Self::start_sampling`]; `None` where they cannot be.
    pub fn stop_sampling(&self) -> Result<Option<SampleSet>, ebpf_loader::Error> {
        let mut state = lock(&self.state);
        state.samples().then(|| state.probes.stop_sampling()).transpose()
    }

    /// The figures since [`Self::begin`]. All requests have been answered by now, so all events are there.
    pub fn figures(&self) -> Result<KernelFigures, ebpf_loader::Error> {
        let mut state = lock(&self.state);
        state.drain();
        let measures = Measures::of(&state.probes);
        let phases = state
            .by_type
            .iter()
            .filter_map(|(&message_type, phases)| Some((type_name(message_type), phases.figures(measures)?)))
            .collect();
        let seen = state.by_type.values().map(|phases| phases.syscall.len()).sum();
        Ok(KernelFigures { phases, seen, lost_at_most: state.lost()?.saturating_sub(state.lost_before) })
    }

    /// Keeps everybody from reading events until it is dropped: how a full ring buffer is made.
    pub fn hold(&self) -> Held<'_> {
        Held { _state: lock(&self.state) }
    }

    /// CPU time that the reading thread has taken.
    pub fn reader_cpu(&self) -> Option<Duration> {
        let thread = self.thread.as_ref()?.as_pthread_t();
        let mut clock: libc::clockid_t = 0;
        // SAFETY: the thread has not been joined, so that its id is valid, and the place to write to is.
        let found = unsafe { libc::pthread_getcpuclockid(thread, &raw mut clock) };
        let time = (found == 0).then(|| clock_gettime(ClockId::from_raw(clock)).ok())??;
        Some(Duration::from(time))
    }
}

/// See [`KernelCollector::hold`].
pub struct Held<'a> {
    _state: MutexGuard<'a, State>,
}

impl Drop for KernelCollector {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn type_name(message_type: u16) -> String {
    MEASURED_TYPES
        .iter()
        .find(|known| known.value() == message_type)
        .map_or_else(|| format!("message type {message_type}"), ToString::to_string)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
