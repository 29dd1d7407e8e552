//! One request, cut into phases.

use ebpf_loader::{RequestEvent, Section};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Monotonic};
use crate::report::model::{Holder, SlowRequest};
use crate::workload::OperationKind;

/// A part of a request's time. In the order in which they come; waits of both kinds and work alternate within the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[repr(usize)]
pub enum Phase {
    /// From when it was due until its worker began with it. None in a closed loop.
    ScheduleLag,
    /// Validating and encoding it, and where its parent has to be looked up, that.
    Encode,
    /// In the adapter's queue, until the system call that sent its packet began.
    Queue,
    /// From there to where the probes see its begin: the entry of the system call, and with fexit and kprobes the buffer's way to
    /// rtnetlink and the messages before it in its packet.
    Entry,
    /// Waiting for RTNL, spinning or asleep.
    RtnlWait,
    /// At work in the kernel.
    OnCpu,
    /// Off the CPU in the kernel for another reason than RTNL: RCU, memory, preemption.
    OffCpu,
    /// From its end in the kernel until its caller had the answer: the return of the system call, reading the answer, waking the caller.
    Reply,
}

/// How many phases there are.
pub(super) const PHASES: usize = 8;

impl Phase {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; PHASES] = [
        Self::ScheduleLag,
        Self::Encode,
        Self::Queue,
        Self::Entry,
        Self::RtnlWait,
        Self::OnCpu,
        Self::OffCpu,
        Self::Reply,
    ];

    /// The name in results and budgets.
    pub fn name(self) -> &'static str {
        match self {
            Self::ScheduleLag => "schedule_lag",
            Self::Encode => "encode",
            Self::Queue => "queue",
            Self::Entry => "entry",
            Self::RtnlWait => "rtnl_wait",
            Self::OnCpu => "on_cpu",
            Self::OffCpu => "off_cpu",
            Self::Reply => "reply",
        }
    }

    /// As people say it.
    pub fn words(self) -> &'static str {
        match self {
            Self::ScheduleLag => "schedule lag",
            Self::Encode => "encoding",
            Self::Queue => "adapter queue",
            Self::Entry => "entry into the kernel",
            Self::RtnlWait => "RTNL wait",
            Self::OnCpu => "on CPU in the kernel",
            Self::OffCpu => "off CPU in the kernel",
            Self::Reply => "reply",
        }
    }
}

/// Which of the kernel's phases the attached probes tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Waits for RTNL.
    pub rtnl_wait: bool,
    /// Time off the CPU.
    pub off_cpu: bool,
}

/// A request's phases; ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// What it was to its caller.
    pub operation: OperationKind,
    /// The number under which it was sent.
    pub sequence: u32,
    /// When it was due; ns of `CLOCK_MONOTONIC`.
    pub due_ns: u64,
    /// From when it was due until its caller had the answer.
    pub total_ns: u64,
    phases_ns: [Option<u64>; PHASES],
    /// The kernel's side as the probes told it, unless that was lost.
    pub event: Option<RequestEvent>,
}

impl Trace {
    /// Cuts a request at the moments that are known.
    pub fn new(call: &Call, event: Option<&RequestEvent>, measured: Measured, clock: &Monotonic) -> Self {
        let since = |later: std::time::Instant, earlier| {
            u64::try_from(later.saturating_duration_since(earlier).as_nanos()).unwrap_or(u64::MAX)
        };
        let mut phases_ns = [None; PHASES];
        let mut set = |phase: Phase, nanos| phases_ns[phase as usize] = Some(nanos);
        set(Phase::ScheduleLag, since(call.start, call.due));
        set(Phase::Encode, since(call.timing.encoded, call.start));
        set(Phase::Queue, since(call.timing.sent, call.timing.encoded));
        match event {
            Some(event) => {
                let end_ns = event.start_ns.saturating_add(event.total_ns);
                set(Phase::Entry, event.start_ns.saturating_sub(clock.nanos(call.timing.sent)));
                // Without probes on the waits for RTNL, what was slept for it counts as off the CPU.
                if measured.rtnl_wait {
                    set(Phase::RtnlWait, event.rtnl_wait_ns);
                }
                if measured.rtnl_wait && measured.off_cpu {
                    set(Phase::OffCpu, event.off_cpu_ns);
                    set(Phase::OnCpu, event.on_cpu_ns());
                }
                set(Phase::Reply, clock.nanos(call.done).saturating_sub(end_ns));
            }
            None => set(Phase::Reply, since(call.done, call.timing.returned)),
        }
        Self {
            operation: call.operation,
            sequence: call.sequence,
            due_ns: clock.nanos(call.due),
            total_ns: since(call.done, call.due),
            phases_ns,
            event: event.copied(),
        }
    }

    /// A phase's time; ns. `None` where it was not measured.
    pub fn phase(&self, phase: Phase) -> Option<u64> {
        self.phases_ns[phase as usize]
    }

    /// What no phase covers; ns.
    pub fn unattributed_ns(&self) -> u64 {
        self.total_ns.saturating_sub(self.phases_ns.iter().flatten().sum())
    }
}

impl From<&Trace> for SlowRequest {
    fn from(trace: &Trace) -> Self {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let event = trace.event.as_ref();
        Self {
            operation: trace.operation.name().to_owned(),
            sequence: trace.sequence,
            due_ns: trace.due_ns,
            total_us: micros(trace.total_ns),
            phases_us: Phase::ALL
                .into_iter()
                .filter_map(|phase| Some((phase, micros(trace.phase(phase)?))))
                .collect(),
            unattributed_us: micros(trace.unattributed_ns()),
            tid: event.map(|event| event.tid),
            cpu: event.map(|event| event.cpu),
            handler_us: event.and_then(|event| event.section(Section::Handler)).map(micros),
            rtnl_hold_us: event.and_then(RequestEvent::rtnl_hold).map(micros),
            rcu_us: event.and_then(|event| event.section(Section::Rcu)).map(micros),
            off_cpu_switches: trace.phase(Phase::OffCpu).and(event).map(|event| event.off_cpu_switches),
            holder: event
                .filter(|event| event.holder_tid != 0)
                .map(|event| Holder { comm: event.holder_name().to_owned(), pid: event.holder_tgid }),
            stacks: Vec::new(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, Instant};

    use tc_adapter::Timing;

    use super::*;

    /// Due, 10 µs late, 2 encoding, 3 waiting, sent for 100, 5 to the answer, 4 to the caller.
    pub(crate) fn call(sequence: u32) -> Call {
        let due = Instant::now();
        let after = |micros| due + Duration::from_micros(micros);
        let timing =
            Timing { encoded: after(12), sent: after(15), returned: after(115), answered: after(120) };
        let operation = OperationKind::ClassCreate;
        Call { operation, sequence, due, start: after(10), timing, done: after(124) }
    }

    const ALL: Measured = Measured { rtnl_wait: true, off_cpu: true };

    fn micros(trace: &Trace) -> [Option<u64>; PHASES] {
        Phase::ALL.map(|phase| trace.phase(phase).map(|nanos| nanos / 1_000))
    }

    fn event(call: &Call, clock: &Monotonic) -> RequestEvent {
        RequestEvent {
            start_ns: clock.nanos(call.timing.sent) + 7_000,
            total_ns: 90_000,
            rtnl_wait_ns: 40_000,
            off_cpu_ns: 20_000,
            ..RequestEvent::default()
        }
    }

    #[test]
    fn phases_add_up() {
        let (call, clock) = (call(1), Monotonic::new().unwrap());
        let trace = Trace::new(&call, Some(&event(&call, &clock)), ALL, &clock);
        assert_eq!(micros(&trace), [10, 2, 3, 7, 40, 30, 20, 12].map(Some));
        assert_eq!((trace.total_ns, trace.unattributed_ns()), (124_000, 0));
    }

    #[test]
    fn what_no_probe_saw_is_unattributed() {
        let (call, clock) = (call(1), Monotonic::new().unwrap());
        let event = event(&call, &clock);
        let lost = Trace::new(&call, None, ALL, &clock);
        assert_eq!(micros(&lost), [Some(10), Some(2), Some(3), None, None, None, None, Some(9)]);
        assert_eq!(lost.unattributed_ns(), 100_000, "the system call");
        let blind = Trace::new(&call, Some(&event), Measured { rtnl_wait: true, off_cpu: false }, &clock);
        assert_eq!(blind.unattributed_ns(), 50_000);
        let blinder = Trace::new(&call, Some(&event), Measured { rtnl_wait: false, off_cpu: true }, &clock);
        assert_eq!((blinder.phase(Phase::OffCpu), blinder.unattributed_ns()), (None, 90_000));
    }

    #[test]
    fn each_phase_is_in_its_place() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, index);
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
        }
    }
}
