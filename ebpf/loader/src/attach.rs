//! Attaching the probes, and reading them while they are.

use std::path::Path;

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
    programs::{ProgramError, ProgramFd, TracePoint},
};
use aya_log::EbpfLogger;
use ebpf_common::{
    PHASE_CALIBRATE, PHASE_RECORD, RequestEvent,
    tracepoint::{self, Field},
};

use crate::{
    bytes::{self, Control, ProbeCounters},
    calibration,
    counters::{self, Counters},
    error::{Error, Unavailable, one_line, with_causes},
    handshake,
    report::{AttachReport, ProbeKind, ProbeState},
    rtnl::RtnlLock,
    sampling::{SampleSet, Sampler},
    tracefs,
};

/// What to attach, and how large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Size of the ring buffer of events; bytes, a power of two and at least a page, else it is rounded up. It is mapped twice
    /// into this process, so it counts twice in its resident size. An event takes 72 bytes.
    pub ring_buffer_bytes: u32,
    /// Kernel stack samples a second and CPU; `None`: sampling is not prepared. The kernel's upper limit is
    /// `kernel.perf_event_max_sample_rate`.
    pub sample_hz: Option<u64>,
}

impl Default for Options {
    /// 4 MiB, which hold 160 ms of the fastest requests that one machine made (350,000 a second), and 999 Hz, which does not beat
    /// in step with timers.
    fn default() -> Self {
        Self { ring_buffer_bytes: 4 << 20, sample_hz: Some(999) }
    }
}

/// The attached probes. They follow the traffic-control requests which this process sends by `sendto(2)`, from any thread and in any
/// network namespace. Dropping them detaches everything.
pub struct Probes {
    // Dropped first: the programs and their links.
    ebpf: Ebpf,
    events: RingBuf<MapData>,
    /// How many one drain reads at most.
    max_events: u64,
    counters: PerCpuArray<MapData, ProbeCounters>,
    endpoints: Vec<ProgramFd>,
    /// What was counted before recording began.
    before: (ebpf_common::Counters, Option<u64>),
    control: Array<MapData, Control>,
    sampler: Result<Sampler, String>,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    report: AttachReport,
}

/// A probe on a tracepoint.
pub(crate) struct Tracepoint {
    pub(crate) program: &'static str,
    pub(crate) category: &'static str,
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [Field],
}

const ENTER: Tracepoint = Tracepoint {
    program: "enter_sendto",
    category: "syscalls",
    name: "sys_enter_sendto",
    fields: tracepoint::sys_enter_sendto::FIELDS,
};
const EXIT: Tracepoint = Tracepoint {
    program: "exit_sendto",
    category: "syscalls",
    name: "sys_exit_sendto",
    fields: tracepoint::sys_exit_sendto::FIELDS,
};
const CONTENTION_BEGIN: Tracepoint = Tracepoint {
    program: "begin_contention",
    category: "lock",
    name: "contention_begin",
    fields: tracepoint::contention_begin::FIELDS,
};
const CONTENTION_END: Tracepoint = Tracepoint {
    program: "end_contention",
    category: "lock",
    name: "contention_end",
    fields: tracepoint::contention_end::FIELDS,
};
const SWITCH: Tracepoint = Tracepoint {
    program: "switch",
    category: "sched",
    name: "sched_switch",
    fields: tracepoint::sched_switch::FIELDS,
};

/// All, in the order in which they are attached: what looks into requests first, then what opens and closes them.
pub(crate) const TRACEPOINTS: [Tracepoint; 5] = [CONTENTION_BEGIN, CONTENTION_END, SWITCH, EXIT, ENTER];

/// An event in the ring buffer, with the buffer's own header.
const EVENT_BYTES: u64 = size_of::<RequestEvent>() as u64 + 8;

/// The least that a ring buffer can have on most machines; a larger page only makes the limit of one drain too strict.
const PAGE: u64 = 4096;

/// The name under which sampling is reported.
pub(crate) const CPU_CLOCK: &str = "perf_event:cpu-clock";

impl Tracepoint {
    pub(crate) fn label(&self) -> String {
        format!("{}:{}", self.category, self.name)
    }

    /// Attaches the probe, or says why it cannot be.
    pub(crate) fn attach(&self, ebpf: &mut Ebpf, tracefs: &Path) -> Result<(), String> {
        if let Some(obstacle) = tracefs::obstacle(tracefs, self.category, self.name, self.fields) {
            return Err(obstacle);
        }
        let program =
            ebpf.program_mut(self.program).ok_or_else(|| Error::Missing(self.program).to_string())?;
        let program: &mut TracePoint = program.try_into().map_err(|error| one_line(&error))?;
        program.load().map_err(|error| one_line(&error))?;
        program.attach(self.category, self.name).map_err(|error| one_line(&error))?;
        Ok(())
    }
}

impl Probes {
    /// Attaches what this kernel can attach. Needs tracefs mounted, and the privileges of root or of `CAP_BPF` with `CAP_PERFMON`
    /// and a readable tracefs.
    ///
    /// May take half a second: if the address of RTNL is not readable, two threads contend for it in the current network
    /// namespace by asking for what cannot be.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when requests cannot be followed. A missing RTNL, off-CPU or sampling probe is no error: see
    /// [`Probes::report`].
    pub fn attach(options: &Options) -> Result<Self, Unavailable> {
        let tracefs = tracefs::root()?;
        let cookie = handshake::cookie();
        let mut ebpf = bytes::load(options.ring_buffer_bytes, cookie).map_err(|error| refused(&error))?;
        // Taken before anything is attached, so that no diagnostic is missed. The map must outlive the loading of the programs.
        let logger =
            EbpfLogger::init(&mut ebpf).inspect_err(|error| log::warn!("probe diagnostics: {error}")).ok();
        let mut probes: Vec<ProbeState> =
            TRACEPOINTS.iter().map(|point| state(point.label(), point.attach(&mut ebpf, &tracefs))).collect();
        let sampler = match options.sample_hz {
            Some(hz) => Sampler::prepare(&mut ebpf, hz).map_err(|error| error.to_string()),
            None => Err("not asked for".to_owned()),
        };
        probes.push(state(CPU_CLOCK.to_owned(), sampler.as_ref().map(|_| ()).map_err(Clone::clone)));
        probes.iter().filter(|probe| !probe.attached).for_each(|probe| {
            log::info!("{}: not attached: {}", probe.name, probe.reason.as_deref().unwrap_or_default());
        });
        let report = AttachReport { kind: ProbeKind::Tracepoint, probes, rtnl_lock: RtnlLock::NotMeasured };
        for point in [&ENTER, &EXIT] {
            if let Some(probe) =
                report.probes.iter().find(|probe| probe.name == point.label() && !probe.attached)
            {
                let reason = probe.reason.as_deref().unwrap_or("not attached");
                return Err(unavailable(format!("{}: {reason}", probe.name)));
            }
        }
        // No more than fit into the buffer at once, rounded up as the kernel does.
        let max_events = u64::from(options.ring_buffer_bytes).next_power_of_two().max(PAGE) / EVENT_BYTES;
        let mut probes = Self::assemble(ebpf, max_events, sampler, logger, report)
            .map_err(|error| unavailable(error.to_string()))?;
        probes.begin(cookie)?;
        Ok(probes)
    }

    fn assemble(
        mut ebpf: Ebpf,
        max_events: u64,
        sampler: Result<Sampler, String>,
        logger: Option<EbpfLogger<&'static dyn log::Log>>,
        report: AttachReport,
    ) -> Result<Self, Error> {
        let events = ebpf.take_map("EVENTS").ok_or(Error::Missing("EVENTS"))?;
        let events: RingBuf<MapData> = events.try_into()?;
        let counters = PerCpuArray::try_from(ebpf.take_map("COUNTERS").ok_or(Error::Missing("COUNTERS"))?)?;
        let control = Array::try_from(ebpf.take_map("CONTROL").ok_or(Error::Missing("CONTROL"))?)?;
        let endpoints = [&ENTER, &EXIT]
            .iter()
            .map(|point| {
                let program = ebpf.program(point.program).ok_or(Error::Missing(point.program))?;
                Ok(program.fd()?.try_clone().map_err(ProgramError::IOError)?)
            })
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(Self {
            ebpf,
            events,
            max_events,
            counters,
            endpoints,
            before: (ebpf_common::Counters::default(), None),
            control,
            sampler,
            logger,
            report,
        })
    }

    /// Handshake, then RTNL, then recording.
    fn begin(&mut self, cookie: u64) -> Result<(), Unavailable> {
        let failed = |error: Error| unavailable(error.to_string());
        // Fails as it is meant to.
        let _ = handshake::call(cookie);
        let mut control = self.control().map_err(failed)?;
        if control.target_tgid == 0 {
            return Err(unavailable(
                "the probe on sys_enter_sendto is attached and does not fire".to_owned(),
            ));
        }
        if self.report.measures_rtnl_wait() {
            self.report.rtnl_lock = match RtnlLock::from_symbols() {
                Some(found) => found,
                None => self.calibrate(&mut control).map_err(failed)?,
            };
        }
        control.rtnl_lock = self.report.rtnl_lock.address();
        control.phase = PHASE_RECORD;
        self.set_control(control).map_err(failed)?;
        self.rehearse()?;
        self.before =
            (counters::sum(&self.counters).map_err(|error| failed(error.into()))?, self.missed_runs());
        self.flush_diagnostics();
        Ok(())
    }

    /// Sends one harmless request and wants its event: that a probe is attached does not say that it works.
    fn rehearse(&mut self) -> Result<(), Unavailable> {
        let sent = calibration::ask_once().map_err(|error| {
            unavailable(format!("cannot open a netlink socket to try the probes: {error}"))
        })?;
        let mut seen = false;
        self.drain(|event| seen |= event.sequence == sent);
        if seen {
            return Ok(());
        }
        Err(unavailable(
            "the probes are attached and a request that was sent to try them gave no event".to_owned(),
        ))
    }

    fn calibrate(&mut self, control: &mut ebpf_common::Control) -> Result<RtnlLock, Error> {
        let map = self.ebpf.take_map("CALIBRATION").ok_or(Error::Missing("CALIBRATION"))?;
        let map: HashMap<MapData, u64, u64> = HashMap::try_from(map)?;
        control.phase = PHASE_CALIBRATE;
        self.set_control(*control)?;
        let waits = || map.iter().filter_map(Result::ok).collect::<Vec<(u64, u64)>>();
        Ok(match calibration::contend(|| waits().iter().map(|(_, count)| count).sum()) {
            Ok(()) => RtnlLock::from_waits(&waits()),
            Err(error) => RtnlLock::AnyMutex { reason: error.to_string() },
        })
    }

    fn control(&self) -> Result<ebpf_common::Control, Error> {
        Ok(self.control.get(&0, 0)?.0)
    }

    fn set_control(&mut self, control: ebpf_common::Control) -> Result<(), Error> {
        Ok(self.control.set(0, Control(control), 0)?)
    }

    /// What was attached, and what was not and why.
    pub fn report(&self) -> &AttachReport {
        &self.report
    }

    /// Hands each event that is ready to `each` and returns their number. Does not block, and ends even when events come as
    /// fast as they are read. To be called on a timer, every 5 ms under load.
    pub fn drain(&mut self, mut each: impl FnMut(&RequestEvent)) -> u64 {
        let mut read = 0;
        while read < self.max_events {
            let Some(item) = self.events.next() else { break };
            read += 1;
            if item.len() != size_of::<RequestEvent>() {
                // The object is embedded and the layout asserted: only a programming mistake comes here.
                log::error!("an event of {} bytes was skipped", item.len());
                continue;
            }
            // SAFETY: as many bytes as the event has, all of which the probe wrote; any bytes are valid integers.
            each(&unsafe { item.as_ptr().cast::<RequestEvent>().read_unaligned() });
        }
        read
    }

    /// What the probes counted since they were attached.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] when the kernel does not show the counters.
    pub fn counters(&self) -> Result<Counters, Error> {
        let sum = counters::sum(&self.counters)?;
        let (before, missed_before) = self.before;
        Ok(Counters {
            emitted: sum.emitted.saturating_sub(before.emitted),
            lost_ring_full: sum.lost_ring_full.saturating_sub(before.lost_ring_full),
            lost_slot: sum.lost_slot.saturating_sub(before.lost_slot),
            lost_header: sum.lost_header.saturating_sub(before.lost_header),
            unmatched: sum.unmatched.saturating_sub(before.unmatched),
            missed_runs: self
                .missed_runs()
                .zip(missed_before)
                .map(|(now, before)| now.saturating_sub(before)),
        })
    }

    fn missed_runs(&self) -> Option<u64> {
        self.endpoints.iter().map(counters::missed_runs).sum()
    }

    /// Starts sampling the kernel stacks of this process.
    ///
    /// # Errors
    ///
    /// [`Error::Sampling`] when it was not asked for, cannot be done here, or is running; [`Error::Program`] when a CPU refuses.
    pub fn start_sampling(&mut self) -> Result<(), Error> {
        let before = counters::sum(&self.counters)?;
        let sampler = self.sampler.as_mut().map_err(|reason| Error::Sampling(reason.clone()))?;
        sampler.start(&mut self.ebpf, before)
    }

    /// Stops sampling and returns what was seen since it was started.
    ///
    /// # Errors
    ///
    /// [`Error::Sampling`] when it is not running; [`Error::Map`] when the kernel does not show the stacks.
    pub fn stop_sampling(&mut self) -> Result<SampleSet, Error> {
        let sampler = self.sampler.as_mut().map_err(|reason| Error::Sampling(reason.clone()))?;
        let before = sampler.stop(&mut self.ebpf)?;
        let after = counters::sum(&self.counters)?;
        sampler.collect(before, after)
    }

    /// Turns the probes' own diagnostics into records of the `log` crate. Does not block.
    pub fn flush_diagnostics(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }
}

fn state(name: String, outcome: Result<(), String>) -> ProbeState {
    ProbeState { name, attached: outcome.is_ok(), reason: outcome.err() }
}

fn unavailable(reason: String) -> Unavailable {
    let advice = reason.contains("Operation not permitted").then(|| "run it as root".to_owned());
    Unavailable { reason, advice }
}

pub(crate) fn refused(error: &aya::EbpfError) -> Unavailable {
    unavailable(format!("the probes' maps cannot be created: {}", with_causes(error)))
}
