//! The attached probes, and reading them.

use std::ops::ControlFlow;

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray},
    programs::ProgramFd,
};
use aya_log::EbpfLogger;
use ebpf_common::{
    Detail, FOLLOW_EVERYONE, FOLLOW_FAMILIES, FOLLOW_ONE, FOLLOWED_PROCESSES, Offsets, PHASE_CALIBRATE,
    PHASE_RECORD, RequestEvent, SampleEvent, Settings, TARGET_BY_SETTINGS,
};

use crate::{
    attach::{self, Attached},
    attach_points::Wanted,
    bytes::{Control, ProbeCounters},
    calibration,
    counters::{self, Counters},
    error::{Error, Unavailable},
    events::{Event, Events},
    kind::ProbeKind,
    rehearsal::{self, REQUESTS, Truth, Verdict},
    report::{AttachReport, ProbeState},
    requests::{RTM_DELTCLASS, Socket},
    rtnl::RtnlLock,
    sampling::{SampleSet, Sampler},
    structures,
};

/// What to attach, and how large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The kind to attach; `None`: the first in order of preference that works here.
    pub kind: Option<ProbeKind>,
    /// Whose requests are followed.
    pub follow: Follow,
    /// Whether the parts of a request are told apart (handler, qdisc, RCU, holding RTNL). Each costs two probes a request. Tracepoints
    /// cannot.
    pub in_parts: bool,
    /// Whether each request comes with what it was about, for [`Probes::drain_detailed`]: message, kind, sender, the kernel's verdict.
    pub details: bool,
    /// Size of the ring buffer of events; bytes, a power of two and at least a page, else it is rounded up. It is mapped twice
    /// into this process, so it counts twice in its resident size. An event takes 144 bytes, with details 208.
    pub ring_buffer_bytes: u32,
    /// Kernel stack samples a second and CPU; `None`: sampling is not prepared. The kernel's upper limit is
    /// `kernel.perf_event_max_sample_rate`.
    pub sample_hz: Option<u64>,
    /// Whether a timer's samples and each wait (off the CPU, for RTNL) come by themselves, with the stacks in the kernel and in user mode,
    /// for [`Probes::drain_all`]. Else a timer's kernel stacks are counted, for [`Probes::stop_sampling`]. A wait costs two walks
    /// through a stack then, some microseconds.
    pub stacks: bool,
}

impl Default for Options {
    /// This process, 4 MiB, which hold 80 ms of the fastest requests that one machine made (350,000 a second), and 999 Hz, which
    /// does not beat in step with timers.
    fn default() -> Self {
        Self {
            kind: None,
            follow: Follow::ThisProcess,
            in_parts: true,
            details: false,
            ring_buffer_bytes: 4 << 20,
            sample_hz: Some(999),
            stacks: false,
        }
    }
}

/// Whose requests are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Those of the process that attaches the probes.
    ThisProcess,
    /// Those of another, by its id in the initial PID namespace.
    Process(u32),
    /// Those of the processes that [`Probes::follow`] names, and of all that they start from then on, until they end. Needs BTF.
    Families,
    /// Those of every process.
    Everyone,
}

impl Follow {
    fn setting(self) -> u32 {
        match self {
            Self::ThisProcess | Self::Process(_) => FOLLOW_ONE,
            Self::Families => FOLLOW_FAMILIES,
            Self::Everyone => FOLLOW_EVERYONE,
        }
    }
}

/// A request as [`Probes::drain_detailed`] shows it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// When, how long, and where it waited.
    pub event: &'a RequestEvent,
    /// What the kernel said in words.
    pub ext_ack: Option<&'a str>,
    /// What it was about; `None` where [`Options::details`] did not ask for it.
    pub detail: Option<&'a Detail>,
}

/// What [`Probes::drain_all`] finds.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// A request has ended.
    Request(Seen<'a>),
    /// A thread was looked at.
    Sample(&'a SampleEvent),
}

/// The attached probes. They follow the traffic-control requests of the processes that [`Options::follow`] says, from any thread and
/// in any network namespace. Dropping them detaches everything.
pub struct Probes {
    // Dropped first: the programs and their links.
    ebpf: Ebpf,
    events: Events,
    counters: PerCpuArray<MapData, ProbeCounters>,
    endpoints: Vec<ProgramFd>,
    /// What was counted before recording began.
    before: (ebpf_common::Counters, Option<u64>),
    control: Array<MapData, Control>,
    followed: HashMap<MapData, u32, u8>,
    this_process: u32,
    sampler: Result<Sampler, String>,
    /// Samples come one by one.
    stacks: bool,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    report: AttachReport,
}

/// The name under which sampling is reported.
pub(crate) const CPU_CLOCK: &str = "perf_event:cpu-clock";

/// Why a kind was not attached.
enum Failure {
    Unavailable(Unavailable),
    /// It would be, but what BTF says of the kernel's structures is wrong.
    WrongStructures(String),
}

impl From<Unavailable> for Failure {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Unavailable(Unavailable::because(error.to_string()))
    }
}

impl Probes {
    /// Attaches the kind that is asked for, or the first in order of preference that attaches and fires. Needs tracefs mounted, and
    /// the privileges of root or of `CAP_BPF` with `CAP_PERFMON` and a readable tracefs.
    ///
    /// May take half a second: if the address of RTNL is not readable, two threads contend for it in the current network
    /// namespace by asking for what cannot be.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when requests cannot be followed. A missing RTNL, off-CPU or sampling probe is no error: see
    /// [`Probes::report`].
    pub fn attach(options: &Options) -> Result<Self, Unavailable> {
        let mut offsets = structures::offsets();
        let mut passed_over = Vec::new();
        let kinds = match &options.kind {
            Some(kind) => std::slice::from_ref(kind),
            None => &ProbeKind::IN_ORDER_OF_PREFERENCE,
        };
        for &kind in kinds {
            let attached = match Self::attach_kind(kind, options, &offsets) {
                Err(Failure::WrongStructures(reason)) => {
                    offsets = Err(reason);
                    Self::attach_kind(kind, options, &offsets)
                }
                outcome => outcome,
            };
            let unavailable = match attached {
                Ok(mut probes) => {
                    probes.report.passed_over = passed_over;
                    return Ok(probes);
                }
                Err(Failure::Unavailable(unavailable)) => unavailable,
                Err(Failure::WrongStructures(reason)) => Unavailable::because(reason),
            };
            if options.kind.is_some() {
                return Err(unavailable);
            }
            log::info!("{kind} probes: {unavailable}");
            passed_over.push((kind, unavailable));
        }
        Err(none_of(&passed_over))
    }

    fn attach_kind(
        kind: ProbeKind,
        options: &Options,
        offsets: &Result<Offsets, String>,
    ) -> Result<Self, Failure> {
        let cookie = rehearsal::cookie();
        let known = offsets.as_ref().copied().unwrap_or(Offsets::NONE);
        let follow = options.follow;
        let births = [known.task_pid, known.task_tgid];
        if follow == Follow::Families && births.contains(&Offsets::UNKNOWN) {
            let reason = offsets.as_ref().err().map_or("BTF does not describe processes", String::as_str);
            return Err(Unavailable::because(format!(
                "what a process starts cannot be followed: {reason}; every process can"
            ))
            .into());
        }
        let settings = Settings {
            follow: follow.setting(),
            details: options.details.into(),
            stacks: options.stacks.into(),
        };
        let mut ebpf = attach::load(options.ring_buffer_bytes, cookie, known, settings)?;
        // Taken before anything is attached, so that no diagnostic is missed. The map must outlive the loading of the programs.
        let logger =
            EbpfLogger::init(&mut ebpf).inspect_err(|error| log::warn!("probe diagnostics: {error}")).ok();
        let Attached { mut ebpf, mut probes, endpoints } = attach::attach(
            ebpf,
            kind,
            Wanted {
                in_parts: options.in_parts,
                births: follow == Follow::Families,
                deaths: matches!(follow, Follow::Families | Follow::Everyone),
            },
        )?;
        let sampler = match options.sample_hz {
            Some(hz) => Sampler::prepare(&mut ebpf, hz).map_err(|error| error.to_string()),
            None => Err("not asked for".to_owned()),
        };
        probes.push(ProbeState {
            name: CPU_CLOCK.to_owned(),
            attached: sampler.is_ok(),
            reason: sampler.as_ref().err().cloned(),
        });
        let report = AttachReport {
            kind,
            passed_over: Vec::new(),
            probes,
            rtnl_lock: RtnlLock::NotMeasured,
            structures: offsets.clone(),
        };
        let events = map(&mut ebpf, "EVENTS")?.try_into().map_err(Error::from)?;
        let mut probes = Self {
            events: Events::new(events, options.ring_buffer_bytes),
            counters: PerCpuArray::try_from(map(&mut ebpf, "COUNTERS")?).map_err(Error::from)?,
            control: Array::try_from(map(&mut ebpf, "CONTROL")?).map_err(Error::from)?,
            followed: HashMap::try_from(map(&mut ebpf, "FOLLOWED")?).map_err(Error::from)?,
            this_process: 0,
            ebpf,
            endpoints,
            before: (ebpf_common::Counters::default(), None),
            sampler,
            stacks: options.stacks,
            logger,
            report,
        };
        probes.begin(options.follow, cookie, known)?;
        for probe in probes.report.probes.iter().filter(|probe| !probe.attached) {
            log::info!("{}: not attached: {}", probe.name, probe.reason.as_deref().unwrap_or_default());
        }
        Ok(probes)
    }

    /// Handshake, then RTNL, then a rehearsal, then recording.
    fn begin(&mut self, follow: Follow, cookie: ebpf_common::Cookie, known: Offsets) -> Result<(), Failure> {
        let no_socket = |error: std::io::Error| {
            Unavailable::because(format!("cannot open a netlink socket to try the probes: {error}"))
        };
        let socket = Socket::open().map_err(no_socket)?;
        socket.ask(RTM_DELTCLASS, cookie);
        let mut control = self.control()?;
        if control.target_tgid == 0 {
            let probe = self.report.probes.first().map_or("a probe", |probe| probe.name.as_str());
            return Err(Unavailable::because(format!("{probe} is attached and does not fire")).into());
        }
        self.this_process = control.target_tgid;
        if self.report.measures_rtnl_wait() {
            self.report.rtnl_lock = match RtnlLock::from_symbols() {
                Some(found) => found,
                None => self.calibrate(&mut control)?,
            };
        }
        control.rtnl_lock = self.report.rtnl_lock.address();
        control.phase = PHASE_RECORD;
        self.set_control(control)?;
        let verdicts =
            REQUESTS.map(|(message_type, _)| socket.ask(message_type, ebpf_common::Cookie::default()));
        let mut seen = Vec::new();
        self.events.drain(|event| {
            if let Event::Request(event, _, detail) = event {
                seen.push((*event, detail.copied()));
            }
            ControlFlow::Continue(())
        });
        let truth = Truth {
            port_id: (known.skb_portid != Offsets::UNKNOWN)
                .then(|| socket.port_id().map_err(no_socket))
                .transpose()?,
            verdict: verdicts[0],
            netns: rehearsal::own_netns(),
        };
        match rehearsal::judge(&seen, &truth) {
            Verdict::Works => rehearsal::mark_silent(
                &mut self.report.probes,
                &seen.iter().map(|(event, _)| *event).collect::<Vec<_>>(),
            ),
            Verdict::Fails(reason) => return Err(Unavailable::because(reason).into()),
            Verdict::WrongStructures(reason) => return Err(Failure::WrongStructures(reason)),
        }
        match follow {
            Follow::ThisProcess => {}
            Follow::Process(tgid) => control.target_tgid = tgid,
            Follow::Families | Follow::Everyone => control.target_tgid = TARGET_BY_SETTINGS,
        }
        if follow != Follow::ThisProcess {
            self.set_control(control)?;
        }
        self.before = (counters::sum(&self.counters).map_err(Error::from)?, self.missed_runs());
        self.flush_diagnostics();
        Ok(())
    }

    fn calibrate(&mut self, control: &mut ebpf_common::Control) -> Result<RtnlLock, Error> {
        let map: HashMap<MapData, u64, u64> = HashMap::try_from(map(&mut self.ebpf, "CALIBRATION")?)?;
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

    /// Hands each request that is ready to `each`, with the text that the kernel gave to it, if any, and returns their number. Does not
    /// block, and ends even when events come as fast as they are read. To be called on a timer, every 5 ms under load.
    pub fn drain(&mut self, each: impl FnMut(&RequestEvent, Option<&str>)) -> u64 {
        let mut each = each;
        self.events.drain(|event| {
            if let Event::Request(event, text, _) = event {
                each(event, text);
            }
            ControlFlow::Continue(())
        })
    }

    /// As [`Probes::drain`], with what each request was about, and until `each` has enough.
    pub fn drain_detailed(&mut self, mut each: impl FnMut(Seen<'_>) -> ControlFlow<()>) -> u64 {
        self.drain_all(|found| match found {
            Found::Request(seen) => each(seen),
            Found::Sample(_) => ControlFlow::Continue(()),
        })
    }

    /// As [`Probes::drain_detailed`], with the samples that [`Options::stacks`] asks for. Those of a request come before it.
    pub fn drain_all(&mut self, mut each: impl FnMut(Found<'_>) -> ControlFlow<()>) -> u64 {
        self.events.drain(|event| match event {
            Event::Request(event, ext_ack, detail) => each(Found::Request(Seen { event, ext_ack, detail })),
            Event::Sample(sample) => each(Found::Sample(sample)),
        })
    }

    /// The stack of this number in a [`SampleEvent`]: return addresses, leaf first. Each stays until the probes are detached. Empty:
    /// there is none, or it could not be kept.
    ///
    /// # Errors
    ///
    /// [`Error::Sampling`] when sampling was not prepared; [`Error::Map`] when the kernel does not show it.
    pub fn stack(&self, number: i32) -> Result<Vec<u64>, Error> {
        let sampler = self.sampler.as_ref().map_err(|reason| Error::Sampling(reason.clone()))?;
        sampler.stack(number)
    }

    /// This process's id in the initial PID namespace.
    pub fn this_process(&self) -> u32 {
        self.this_process
    }

    /// Follows a process, by its id in the initial PID namespace, and whatever it starts from now on: with [`Follow::Families`]. What
    /// a child does is followed from its first instruction.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] when too many are followed already, or with another [`Follow`].
    pub fn follow(&mut self, process: u32) -> Result<(), Error> {
        Ok(self.followed.insert(process, 0, 0)?)
    }

    /// Follows a process no longer; what it has started is still followed.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] when it was not followed.
    pub fn unfollow(&mut self, process: u32) -> Result<(), Error> {
        Ok(self.followed.remove(&process)?)
    }

    /// The processes that are followed with [`Follow::Families`] and have not ended.
    pub fn followed(&self) -> Vec<u32> {
        // A key that vanishes meanwhile makes the kernel begin anew: so each is named once, and there is an end to it.
        let keys = self.followed.keys().take(FOLLOWED_PROCESSES as usize);
        let mut processes: Vec<u32> = keys.filter_map(Result::ok).collect();
        processes.sort_unstable();
        processes.dedup();
        processes
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
            lost_ext_acks: sum.lost_ext_acks.saturating_sub(before.lost_ext_acks),
            unmatched: sum.unmatched.saturating_sub(before.unmatched),
            lost_processes: sum.lost_processes.saturating_sub(before.lost_processes),
            lost_samples: sum.samples_lost.saturating_sub(before.samples_lost)
                + sum.lost_waits.saturating_sub(before.lost_waits),
            missed_runs: self
                .missed_runs()
                .zip(missed_before)
                .map(|(now, before)| now.saturating_sub(before)),
        })
    }

    fn missed_runs(&self) -> Option<u64> {
        self.endpoints.iter().map(counters::missed_runs).sum()
    }

    /// Starts sampling the kernel stacks of the followed process.
    ///
    /// # Errors
    ///
    /// [`Error::Sampling`] when it was not asked for, cannot be done here, or is running; [`Error::Program`] when a CPU refuses.
    pub fn start_sampling(&mut self) -> Result<(), Error> {
        let before = counters::sum(&self.counters)?;
        let sampler = self.sampler.as_mut().map_err(|reason| Error::Sampling(reason.clone()))?;
        sampler.start(&mut self.ebpf, before)
    }

    /// Stops sampling and returns what was seen since it was started; nothing with [`Options::stacks`], which hands samples over as they
    /// come.
    ///
    /// # Errors
    ///
    /// [`Error::Sampling`] when it is not running; [`Error::Map`] when the kernel does not show the stacks.
    pub fn stop_sampling(&mut self) -> Result<SampleSet, Error> {
        let sampler = self.sampler.as_mut().map_err(|reason| Error::Sampling(reason.clone()))?;
        let before = sampler.stop(&mut self.ebpf)?;
        if self.stacks {
            // They came one by one, and their stacks may still be asked for.
            return Ok(SampleSet { hz: sampler.hz(), ..SampleSet::default() });
        }
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

fn map(ebpf: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, Error> {
    ebpf.take_map(name).ok_or(Error::Missing(name))
}

/// Why no kind could be attached, in one line. The last kind is the least demanding: what helps it is the advice.
fn none_of(passed_over: &[(ProbeKind, Unavailable)]) -> Unavailable {
    let reasons: Vec<_> =
        passed_over.iter().map(|(kind, unavailable)| format!("{kind}: {}", unavailable.reason)).collect();
    let advice = passed_over.last().and_then(|(_, unavailable)| unavailable.advice.clone());
    Unavailable { reason: reasons.join("; "), advice }
}
