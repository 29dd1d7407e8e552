//! The kernel's side of a workload: events from the probes, by message type.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::unix::thread::JoinHandleExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ebpf_loader::{Found, Probes, RequestEvent, SampleSet, Seen};
use nix::time::{ClockId, clock_gettime};
use tc_adapter::MessageType;

use super::Phases;
use crate::attribution::{Anatomy, Call, Calls, Holders, Join, Kernel, Measured, Monotonic, Trace};
use crate::probes::frames;
use crate::profile::{Frames, Gathered};
use crate::report::model::{KernelPhases, RtnlWaits};

/// How often the ring buffer is emptied. A reader that sleeps in poll until it is woken costs the load
/// three times its speed: the kernel then sends an interrupt for each event.
const DRAIN_EVERY: Duration = Duration::from_millis(5);

/// The attach point of kernel stack sampling, as the loader's report names it.
const SAMPLER: &str = "perf_event:cpu-clock";

/// What a workload's requests are.
const MEASURED_TYPES: [MessageType; 8] = [
    MessageType::NewQdisc,
    MessageType::DelQdisc,
    MessageType::NewClass,
    MessageType::DelClass,
    MessageType::GetClass,
    MessageType::NewFilter,
    MessageType::DelFilter,
    MessageType::GetFilter,
];

/// How stacks are gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stacks {
    /// Samples a second, on each CPU, of who runs.
    pub hz: u64,
    /// From when on a request is slow; ns from end to end.
    pub slow_ns: u64,
}

impl Stacks {
    fn gathered(self) -> Gathered {
        Gathered::new(self.hz, self.slow_ns)
    }
}

/// The requests that count: those of one socket after a given sequence number, and those on sockets that a request of theirs has opened for
/// itself ([`Calls::opened`]).
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
#[derive(Default)]
pub struct KernelFigures {
    /// The requests from end to end.
    pub anatomy: Anatomy,
    /// Where threads were, if that was asked for.
    pub gathered: Option<Gathered>,
    /// Whether threads that ran were sampled.
    pub sampled: bool,
    /// By the message type's name, e.g. `RTM_NEWTCLASS`.
    pub phases: BTreeMap<String, KernelPhases>,
    /// Requests reported, over all types.
    pub seen: u64,
    /// At most so many requests were lost, by the probes' own counters.
    pub lost_at_most: u64,
    /// Behind whom requests waited for RTNL, where the probes tell.
    pub rtnl_waits: Option<RtnlWaits>,
}

/// Which phases the attached probes tell apart; the others are absent, not zero.
#[derive(Clone, Copy)]
struct Measures {
    system_calls: bool,
    holders: bool,
    phases: Measured,
}

impl Measures {
    fn of(probes: &Probes) -> Self {
        let report = probes.report();
        Self {
            system_calls: !report.kind.tells_messages_apart(),
            holders: report.tells_holders(),
            phases: Measured { rtnl_wait: report.measures_rtnl_wait(), off_cpu: report.measures_off_cpu() },
        }
    }
}

struct State {
    probes: Probes,
    window: Option<Window>,
    by_type: BTreeMap<u16, Phases>,
    holders: Holders,
    /// Where the callers' side of the window's requests comes from.
    calls: Option<Arc<Calls>>,
    join: Join,
    anatomy: Anatomy,
    clock: Option<Monotonic>,
    /// Where threads were, if that is asked for.
    gathered: Option<Gathered>,
    stacks: Option<Stacks>,
    lost_before: u64,
    /// Nobody reads.
    paused: bool,
}

impl State {
    fn drain(&mut self) {
        if self.paused {
            return;
        }
        let measured = Measures::of(&self.probes).phases;
        let Self { probes, window, by_type, holders, calls, join, anatomy, clock, gathered, .. } = self;
        // Their last events are in the ring buffer now.
        let closed = calls.as_ref().map(|calls| calls.take_closed()).unwrap_or_default();
        let mut whole = |call: &Call, kernel: Kernel, gathered: &mut Option<Gathered>| {
            if let Some(clock) = clock {
                let trace = Trace::new(call, Some(&kernel.event), measured, clock);
                if let Some(gathered) = gathered {
                    gathered.request(trace.total_ns, &kernel.samples, None);
                }
                anatomy.record(&trace, kernel.samples);
            }
        };
        if let (Some(calls), Some(window)) = (&*calls, *window) {
            calls.take(|call| {
                if let Some((call, kernel)) = join.call(window.port_id, call) {
                    whole(&call, kernel, gathered);
                }
            });
        }
        probes.drain_all(|found| {
            match found {
                Found::Sample(sample) => {
                    if let Some(gathered) = gathered.as_mut().filter(|_| window.is_some()) {
                        gathered.sample(sample);
                    }
                }
                Found::Request(Seen { event, .. }) => {
                    let samples = gathered.as_mut().map(|gathered| gathered.take(event)).unwrap_or_default();
                    if window.is_some_and(|window| window.holds(event)) {
                        by_type.entry(event.message_type).or_insert_with(Phases::new).record(event);
                        holders.record(event);
                        let kernel = Kernel { event: *event, samples };
                        if calls.is_some()
                            && let Some((call, kernel)) = join.event(kernel)
                        {
                            whole(&call, kernel, gathered);
                        }
                    } else if window.is_some()
                        && calls.as_ref().is_some_and(|calls| calls.has_opened(event.port_id))
                    {
                        // A list, which has no moments of its caller's to be joined with.
                        by_type.entry(event.message_type).or_insert_with(Phases::new).record(event);
                        holders.record(event);
                    }
                }
            }
            ControlFlow::Continue(())
        });
        probes.flush_diagnostics();
        if let Some(calls) = calls.as_ref().filter(|_| !closed.is_empty()) {
            calls.forget(&closed);
        }
    }

    /// Requests of which no event came: their time in the kernel is not known.
    fn end_of_window(&mut self) {
        let measured = Measures::of(&self.probes).phases;
        for call in self.join.end() {
            if let Some(clock) = &self.clock {
                self.anatomy.record(&Trace::new(&call, None, measured, clock), Vec::new());
            }
        }
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
    /// Starts reading. `stacks`: where threads are is gathered, for which the probes must have been attached with
    /// [`ebpf_loader::Options::stacks`].
    pub fn start(probes: Probes, stacks: Option<Stacks>) -> std::io::Result<Self> {
        let state = State {
            probes,
            window: None,
            by_type: BTreeMap::new(),
            holders: Holders::default(),
            calls: None,
            join: Join::default(),
            anatomy: Anatomy::default(),
            clock: Monotonic::new(),
            gathered: stacks.map(Stacks::gathered),
            stacks,
            lost_before: 0,
            paused: false,
        };
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
        state.holders = Holders::default();
        state.join = Join::default();
        state.anatomy = Anatomy::default();
        state.gathered = state.stacks.map(Stacks::gathered);
        state.window = None;
        state.calls = None;
        state.lost_before = state.lost()?;
        Ok(())
    }

    /// Counts the requests of `window` from now on, on top of those of earlier windows, which have all been answered. `calls` is where
    /// their callers put what they saw, if it is to be joined.
    pub fn watch(&self, window: Window, calls: Option<Arc<Calls>>) {
        let mut state = lock(&self.state);
        state.drain();
        state.end_of_window();
        state.window = Some(window);
        state.calls = calls;
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
        if !state.samples() {
            return Ok(None);
        }
        // What the timers have seen until now belongs to this window.
        state.drain();
        let samples = state.probes.stop_sampling()?;
        Ok(state.stacks.is_none().then_some(samples))
    }

    /// This process's id in the initial PID namespace.
    pub fn this_process(&self) -> u32 {
        lock(&self.state).probes.this_process()
    }

    /// The frames of all that was gathered.
    pub fn frames<'a>(&self, gathered: impl IntoIterator<Item = &'a Gathered>) -> Frames {
        frames(gathered, &lock(&self.state).probes)
    }

    /// The figures since [`Self::begin`]. All requests have been answered by now, so all events are there.
    pub fn figures(&self) -> Result<KernelFigures, ebpf_loader::Error> {
        let mut state = lock(&self.state);
        state.drain();
        state.end_of_window();
        let measures = Measures::of(&state.probes);
        let phases = state
            .by_type
            .iter()
            .filter_map(|(&message_type, phases)| {
                Some((type_name(message_type), phases.figures(measures.phases, measures.system_calls)?))
            })
            .collect();
        let seen = state.by_type.values().map(Phases::count).sum();
        Ok(KernelFigures {
            anatomy: std::mem::take(&mut state.anatomy),
            gathered: state.gathered.take().map(|mut gathered| {
                gathered.finish();
                gathered
            }),
            sampled: state.samples(),
            phases,
            seen,
            lost_at_most: state.lost()?.saturating_sub(state.lost_before),
            rtnl_waits: measures.holders.then(|| state.holders.summary()).flatten(),
        })
    }

    /// Keeps the reader from reading, or lets it go on: how a full ring buffer is made.
    pub fn pause(&self, paused: bool) {
        lock(&self.state).paused = paused;
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
